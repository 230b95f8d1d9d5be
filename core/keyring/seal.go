package keyring

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// The errors of Open. It wraps one of them.
var (
	// ErrVersion: the envelope has a format that this program does not know.
	ErrVersion = errors.New("sealed by a newer version")

	// ErrUnknownKey: it was sealed with a root key that is not in the keyring.
	ErrUnknownKey = errors.New("sealed with a key that is not in this keyring")

	// ErrTampered: it was changed, is cut off, or was sealed for another place.
	ErrTampered = errors.New("sealed value was changed or is damaged")
)

// An envelope is
//
//	version octet ‖ key id (8) ‖ nonce (24) ‖ XChaCha20-Poly1305 of the plain text
//
// The nonce of Seal is random: with 192 bits, two are never the same
// (draft-irtf-cfrg-xchacha-03, section 2.1). That of AppendSeal is a series.
const (
	version    = 1
	headerSize = 1 + len(KeyID{})
	sealedAt   = headerSize + chacha20poly1305.NonceSizeX

	// Overhead is how many octets a sealed value is longer than the plain one.
	Overhead = sealedAt + chacha20poly1305.Overhead
)

// Seal encrypts plain with the newest key for the record of that kind at that
// key of the store. Only Open with the same kind and key opens it.
func (k *Keyring) Seal(kind, key string, plain []byte) []byte {
	r := k.current.Load().newest()
	var nonce [chacha20poly1305.NonceSizeX]byte
	rand.Read(nonce[:]) // never fails (crypto/rand since Go 1.24)
	b := r.appendHead(make([]byte, 0, Overhead+len(plain)), nonce)
	return r.seal.Seal(b, b[headerSize:], plain, additional(nil, b[:headerSize], kind, key))
}

// AppendSeal appends what Seal might have returned to dst, in less time, and
// allocates nothing where that has room enough: what is handed to the cipher stands
// behind it meanwhile. It is for what is sealed again and again; at is about now.
func (k *Keyring) AppendSeal(dst []byte, at time.Time, kind, key string, plain []byte) []byte {
	r := k.current.Load().newest()
	sealed, bound := Overhead+len(plain), headerSize+8+len(kind)+len(key)
	dst = slices.Grow(dst, sealed+bound+len(plain))
	end := len(dst) + sealed
	b := r.appendHead(dst[len(dst):len(dst):end], r.series.next(at))
	bind := additional(dst[end:end:cap(dst)], b[:headerSize], kind, key)
	open := append(bind, plain...)[bound:]
	out := r.series.seal(b, b[headerSize:], open, bind)
	clear(open)
	return dst[:len(dst)+len(out)]
}

// appendHead appends all of an envelope but what is encrypted to b.
func (r *rootKey) appendHead(b []byte, nonce [chacha20poly1305.NonceSizeX]byte) []byte {
	return append(append(append(b, version), r.id[:]...), nonce[:]...)
}

// Open returns what was given to Seal. The error wraps ErrVersion,
// ErrUnknownKey or ErrTampered and holds nothing of the value.
func (k *Keyring) Open(kind, key string, sealed []byte) ([]byte, error) {
	plain, err := k.AppendOpen(nil, kind, key, sealed)
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// AppendOpen appends what Open returns to dst, and allocates nothing where that
// has room enough: what binds the value to its place stands behind it meanwhile.
// After an error dst is as it was.
func (k *Keyring) AppendOpen(dst []byte, kind, key string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] == 0 { // there was no version 0
		return dst, ErrTampered
	}
	if sealed[0] != version {
		return dst, fmt.Errorf("%w: envelope version %d, this program knows %d", ErrVersion, sealed[0], version)
	}
	if len(sealed) < Overhead {
		return dst, ErrTampered
	}
	id := KeyID(sealed[1:headerSize])
	r := k.current.Load().find(id)
	if r == nil {
		return dst, unknownKey(id)
	}
	plain := len(sealed) - Overhead
	dst = slices.Grow(dst, plain+headerSize+8+len(kind)+len(key))
	end := len(dst) + plain
	bind := additional(dst[end:end:cap(dst)], sealed[:headerSize], kind, key)
	out, err := r.seal.Open(dst, sealed[headerSize:sealedAt], sealed[sealedAt:], bind)
	if err != nil {
		return dst, ErrTampered // the cause says less
	}
	return out, nil
}

// SealedWith returns the id of the key that sealed is sealed with; false if it
// is no envelope of this version.
func SealedWith(sealed []byte) (KeyID, bool) {
	if len(sealed) < Overhead || sealed[0] != version {
		return KeyID{}, false
	}
	return KeyID(sealed[1:headerSize]), true
}

func unknownKey(id KeyID) error { return fmt.Errorf("%w: key id %s", ErrUnknownKey, id) }

// additional appends to b what binds an envelope to its header and its place.
// Lengths go before the texts, so that no octet can move from the kind to the key.
func additional(b, header []byte, kind, key string) []byte {
	b = slices.Grow(b, len(header)+8+len(kind)+len(key))
	b = append(b, header...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(kind)))
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	return append(b, key...)
}
