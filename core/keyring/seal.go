package keyring

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

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
// The nonce is random: with 192 bits, two are never the same
// (draft-irtf-cfrg-xchacha-03, section 2.1).
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
	b := make([]byte, sealedAt, Overhead+len(plain))
	b[0] = version
	copy(b[1:], r.id[:])
	nonce := b[headerSize:sealedAt]
	rand.Read(nonce) // never fails (crypto/rand since Go 1.24)
	return r.seal.Seal(b, nonce, plain, additional(b[:headerSize], kind, key))
}

// Open returns what was given to Seal. The error wraps ErrVersion,
// ErrUnknownKey or ErrTampered and holds nothing of the value.
func (k *Keyring) Open(kind, key string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] == 0 { // there was no version 0
		return nil, ErrTampered
	}
	if sealed[0] != version {
		return nil, fmt.Errorf("%w: envelope version %d, this program knows %d", ErrVersion, sealed[0], version)
	}
	if len(sealed) < Overhead {
		return nil, ErrTampered
	}
	id := KeyID(sealed[1:headerSize])
	r := k.current.Load().find(id)
	if r == nil {
		return nil, unknownKey(id)
	}
	plain, err := r.seal.Open(nil, sealed[headerSize:sealedAt], sealed[sealedAt:], additional(sealed[:headerSize], kind, key))
	if err != nil {
		return nil, ErrTampered // the cause says less
	}
	return plain, nil
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

// additional binds an envelope to its header and its place. Lengths go before
// the texts, so that no octet can move from the kind to the key.
func additional(header []byte, kind, key string) []byte {
	b := make([]byte, 0, len(header)+8+len(kind)+len(key))
	b = append(b, header...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(kind)))
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	return append(b, key...)
}
