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
type rootKey struct {
	redacted

	id      KeyID
	created time.Time // for people; the order in the file decides
	root    [rootSize]byte
	seal    cipher.AEAD
	tags    *mac
	jitter  *mac
	audit   [sha256.Size]byte
}

// newRootKey derives with HKDF-SHA-256 (RFC 5869) without a salt: the root is
// uniformly random already (section 3.1).
func newRootKey(root *[rootSize]byte, created time.Time) (*rootKey, error) {
	r := &rootKey{created: created.UTC().Truncate(time.Second), root: *root}
	derived := make(map[string][]byte)
	for label, size := range map[string]int{"id": len(r.id), "tag": sha256.Size, "seal": chacha20poly1305.KeySize, "audit": len(r.audit), "jitter": sha256.Size} {
		key, err := hkdf.Key(sha256.New, root[:], nil, labelPrefix+label, size)
		if err != nil {
			return nil, fmt.Errorf("derive the %s key: %w", label, err)
		}
		derived[label] = key
		defer clear(key)
	}
	seal, err := chacha20poly1305.NewX(derived["seal"])
	if err != nil {
		return nil, fmt.Errorf("set up XChaCha20-Poly1305: %w", err)
	}
	copy(r.id[:], derived["id"])
	copy(r.audit[:], derived["audit"])
	r.seal, r.tags, r.jitter = seal, newMAC(derived["tag"]), newMAC(derived["jitter"])
	return r, nil
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

func newMAC(key []byte) *mac {
	m := new(mac)
	copy(m.key[:], key)
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
