package keyring

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// A KeyID tells root keys apart, also those of different keyrings. It is
// derived from the root key and says nothing about it.
type KeyID [8]byte

// String returns the 16 hexadecimal digits of id.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A Keyring is one root key or more, in the order of the file: the oldest
// first, the newest last. It never changes and may be used from many
// goroutines. It prints as [keyring].
type Keyring struct {
	redacted

	keys []*rootKey // never empty
}

// New makes a Keyring of one fresh root key, created now.
func New(now time.Time) (*Keyring, error) {
	k, err := freshKey(now)
	if err != nil {
		return nil, err
	}
	return &Keyring{keys: []*rootKey{k}}, nil
}

// Rotate returns k with a fresh root key, created now, as the newest.
func (k *Keyring) Rotate(now time.Time) (*Keyring, error) {
	if len(k.keys) >= maxKeys {
		return nil, errors.New("the keyring is full: retire a key first")
	}
	fresh, err := freshKey(now)
	if err != nil {
		return nil, err
	}
	return &Keyring{keys: append(slices.Clone(k.keys), fresh)}, nil
}

// Retire returns k without the key called id. The newest cannot be retired.
// The caller has made sure that nothing sealed or tagged with it remains.
func (k *Keyring) Retire(id KeyID) (*Keyring, error) {
	if id == k.Newest() {
		return nil, errors.New("the newest key cannot be retired: rotate first")
	}
	if k.find(id) == nil {
		return nil, unknownKey(id)
	}
	return &Keyring{keys: slices.DeleteFunc(slices.Clone(k.keys), func(r *rootKey) bool { return r.id == id })}, nil
}

func freshKey(now time.Time) (*rootKey, error) {
	var root [rootSize]byte
	defer clear(root[:])
	rand.Read(root[:]) // never fails (crypto/rand since Go 1.24)
	return newRootKey(&root, now)
}

// Newest returns the id of the key that seals.
func (k *Keyring) Newest() KeyID { return k.newest().id }

// IDs returns the ids of all keys, the oldest first.
func (k *Keyring) IDs() []KeyID {
	ids := make([]KeyID, len(k.keys))
	for i, r := range k.keys {
		ids[i] = r.id
	}
	return ids
}

// Tag returns the first 16 octets of HMAC-SHA-256 (RFC 2104) of inner under
// the tag key of the root key called id. ok is false, and the tag zero, if the
// keyring does not have it. Compare tags with crypto/subtle.
func (k *Keyring) Tag(id KeyID, inner []byte) (tag [16]byte, ok bool) {
	r := k.find(id)
	if r == nil {
		return tag, false
	}
	sum := r.tags.sum(inner)
	copy(tag[:], sum[:])
	return tag, true
}

// AuditKey returns the key that chains the lines of the audit log. It is
// derived from the oldest root key, so that a rotation does not break the
// chain; it changes when that key is retired. The caller may change the slice.
func (k *Keyring) AuditKey() []byte { return slices.Clone(k.keys[0].audit[:]) }

// Jitter returns a number for an account name that nobody without the keyring
// can foretell. It is derived from the oldest root key: a number that changed
// with every rotation could be averaged away by whoever measures for long
// enough.
func (k *Keyring) Jitter(name string) uint64 {
	sum := k.keys[0].jitter.sum([]byte(name))
	return binary.BigEndian.Uint64(sum[:8])
}

func (k *Keyring) newest() *rootKey { return k.keys[len(k.keys)-1] }

// find returns the root key called id, or nil. Ids are no secrets.
func (k *Keyring) find(id KeyID) *rootKey {
	for _, r := range k.keys {
		if r.id == id {
			return r
		}
	}
	return nil
}
