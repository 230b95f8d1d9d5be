package keyring

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

const rootSize = 32

// labelPrefix begins the info of every derivation. A change of what a label
// means takes another version.
const labelPrefix = "keywicket v1 "

// A rootKey is a root key with everything that is derived from it.
//
// It holds keys behind pointers alone: package fmt asks no Formatter about the
// unexported fields of a caller's struct, and for a verb that does not fit it
// follows one pointer, but never two.
type rootKey struct {
	redacted

	id      KeyID
	created time.Time // for people; the order in the file decides
	root    *[rootSize]byte
	seal    cipher.AEAD
	series  *series
	tags    *mac
	jitter  *mac
	audit   *[sha256.Size]byte
}

// newRootKey copies root and derives the rest.
func newRootKey(root *[rootSize]byte, created time.Time) (*rootKey, error) {
	r := &rootKey{
		created: created.UTC().Truncate(time.Second),
		root:    new([rootSize]byte), tags: newMAC(), jitter: newMAC(), audit: new([sha256.Size]byte),
	}
	copy(r.root[:], root[:])
	var seal [chacha20poly1305.KeySize]byte
	defer clear(seal[:])
	for label, key := range map[string][]byte{
		"id": r.id[:], "tag": r.tags.key[:], "seal": seal[:], "audit": r.audit[:], "jitter": r.jitter.key[:],
	} {
		if err := derive(key, root, label); err != nil {
			return nil, err
		}
	}
	var err error
	if r.seal, err = chacha20poly1305.NewX(seal[:]); err != nil {
		return nil, fmt.Errorf("set up XChaCha20-Poly1305: %w", err)
	}
	if r.series, err = newSeries(seal[:]); err != nil {
		return nil, err
	}
	return r, nil
}

// derive fills key with HKDF-SHA-256 (RFC 5869) of root, without a salt: root
// is uniformly random already (section 3.1).
func derive(key []byte, root *[rootSize]byte, label string) error {
	okm, err := hkdf.Key(sha256.New, root[:], nil, labelPrefix+label, len(key))
	if err != nil {
		return fmt.Errorf("derive the %s key: %w", label, err)
	}
	copy(key, okm)
	clear(okm)
	return nil
}

// A mac is HMAC-SHA-256 under one key. It keeps keyed states, so that a sum
// costs two blocks fewer and no allocation.
type mac struct {
	key    [sha256.Size]byte
	states sync.Pool // of *state
}

type state struct {
	hmac hash.Hash
	in   []byte // a copy of the input: what goes through hash.Hash escapes to the heap
	out  [sha256.Size]byte
}

// newMAC returns a mac whose key is set before the first sum.
func newMAC() *mac {
	m := new(mac)
	m.states.New = func() any { return &state{hmac: hmac.New(sha256.New, m.key[:])} }
	return m
}

func (m *mac) sum(in []byte) (out [sha256.Size]byte) {
	s := m.states.Get().(*state)
	s.in = append(s.in[:0], in...)
	s.hmac.Reset()
	s.hmac.Write(s.in)
	s.hmac.Sum(s.out[:0])
	out = s.out
	clear(s.in)
	clear(s.out[:])
	s.hmac.Reset()
	m.states.Put(s)
	return out
}
