package keyring

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// A KeyID tells root keys apart, also those of different keyrings. It is
// derived from the root key and says nothing about it.
type KeyID [8]byte

// String returns the 16 hexadecimal digits of id.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A Keyring is one root key or more, in the order of the file: the oldest
// first, the newest last. It may be used from many goroutines, and changes by
// Replace alone. It prints as [keyring].
type Keyring struct {
	redacted

	current atomic.Pointer[ring]
}

// A ring is what a Keyring holds at one time. It never changes.
type ring struct {
	redacted

	keys    []*rootKey    // never empty
	retired []*retiredKey // the oldest first
}

// A retiredKey is what is left of a root key: it opens and tags nothing, but
// what was audited with it can still be verified.
type retiredKey struct {
	redacted

	id    KeyID
	audit *[sha256.Size]byte
}

func newKeyring(r *ring) *Keyring {
	k := new(Keyring)
	k.current.Store(r)
	return k
}

// New makes a Keyring of one fresh root key, created now.
func New(now time.Time) (*Keyring, error) {
	k, err := freshKey(now)
	if err != nil {
		return nil, err
	}
	return newKeyring(&ring{keys: []*rootKey{k}}), nil
}

// Rotate returns k with a fresh root key, created now, as the newest.
func (k *Keyring) Rotate(now time.Time) (*Keyring, error) {
	r := k.current.Load()
	if len(r.keys) >= maxKeys {
		return nil, errors.New("the keyring is full: retire a key first")
	}
	fresh, err := freshKey(now)
	if err != nil {
		return nil, err
	}
	return newKeyring(&ring{keys: append(slices.Clone(r.keys), fresh), retired: r.retired}), nil
}

// Retire returns k without the key called id, of which only the audit key is
// kept. The newest cannot be retired. The caller has made sure that nothing
// sealed or tagged with it remains.
func (k *Keyring) Retire(id KeyID) (*Keyring, error) {
	if id == k.Newest() {
		return nil, errors.New("the newest key cannot be retired: rotate first")
	}
	r := k.current.Load()
	old := r.find(id)
	if old == nil {
		return nil, unknownKey(id)
	}
	return newKeyring(&ring{
		keys:    slices.DeleteFunc(slices.Clone(r.keys), func(r *rootKey) bool { return r.id == id }),
		retired: append(slices.Clone(r.retired), &retiredKey{id: id, audit: old.audit}),
	}), nil
}

// Replace lets k hold what other holds, for all who use it. Texts that were
// sealed before open as long as their keys are among those of other.
func (k *Keyring) Replace(other *Keyring) { k.current.Store(other.current.Load()) }

func freshKey(now time.Time) (*rootKey, error) {
	var root [rootSize]byte
	defer clear(root[:])
	rand.Read(root[:]) // never fails (crypto/rand since Go 1.24)
	return newRootKey(&root, now)
}

// Newest returns the id of the key that seals.
func (k *Keyring) Newest() KeyID { return k.current.Load().newest().id }

// A KeyInfo is what may be said of a root key.
type KeyInfo struct {
	ID      KeyID
	Created time.Time
}

// Keys returns what may be said of all root keys, the oldest first.
func (k *Keyring) Keys() []KeyInfo {
	var all []KeyInfo
	for _, r := range k.current.Load().keys {
		all = append(all, KeyInfo{ID: r.id, Created: r.created})
	}
	return all
}

// IDs returns the ids of all keys, the oldest first.
func (k *Keyring) IDs() []KeyID {
	keys := k.current.Load().keys
	ids := make([]KeyID, len(keys))
	for i, r := range keys {
		ids[i] = r.id
	}
	return ids
}

// Tag returns the first 16 octets of HMAC-SHA-256 (RFC 2104) of inner under
// the tag key of the root key called id. ok is false, and the tag zero, if the
// keyring does not have it. Compare tags with crypto/subtle.
func (k *Keyring) Tag(id KeyID, inner []byte) (tag [16]byte, ok bool) {
	r := k.current.Load().find(id)
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
func (k *Keyring) AuditKey() []byte { return slices.Clone(k.current.Load().keys[0].audit[:]) }

// OldAuditKeys returns the keys that AuditKey returned before, the oldest
// first: those of retired root keys.
func (k *Keyring) OldAuditKeys() [][]byte {
	var all [][]byte
	for _, r := range k.current.Load().retired {
		all = append(all, slices.Clone(r.audit[:]))
	}
	return all
}

// Jitter returns a number for an account name that nobody without the keyring
// can foretell. It is derived from the oldest root key: a number that changed
// with every rotation could be averaged away by whoever measures for long
// enough.
func (k *Keyring) Jitter(name string) uint64 {
	sum := k.current.Load().keys[0].jitter.sum([]byte(name))
	return binary.BigEndian.Uint64(sum[:8])
}

func (r *ring) newest() *rootKey { return r.keys[len(r.keys)-1] }

// find returns the root key called id, or nil. Ids are no secrets.
func (r *ring) find(id KeyID) *rootKey {
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// knows says whether id is of a key that r holds or held.
func (r *ring) knows(id KeyID) bool {
	return r.find(id) != nil || slices.ContainsFunc(r.retired, func(k *retiredKey) bool { return k.id == id })
}
