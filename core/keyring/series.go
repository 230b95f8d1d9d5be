package keyring

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// A series seals under nonces that begin alike: with 12 random octets, which no
// other series of the key has, and four zeros. From these 16 XChaCha20-Poly1305
// makes the key that it seals with (draft-irtf-cfrg-xchacha-03, section 2.3), which
// is thus made once. The last 8 are a time in nanoseconds, each later than the one
// before: a count would begin again in a process that was copied with its memory,
// as when a virtual machine is put back to what it was.
type series struct {
	first  [16]byte
	cipher cipher.AEAD
	last   atomic.Uint64 // Unix nanoseconds
}

func newSeries(key []byte) (*series, error) {
	s := &series{}
	rand.Read(s.first[:12]) // never fails (crypto/rand since Go 1.24)
	derived, err := chacha20.HChaCha20(key, s.first[:])
	if err != nil {
		return nil, fmt.Errorf("set up XChaCha20-Poly1305: %w", err)
	}
	defer clear(derived)
	if s.cipher, err = chacha20poly1305.New(derived); err != nil {
		return nil, fmt.Errorf("set up XChaCha20-Poly1305: %w", err)
	}
	return s, nil
}

// next returns a nonce that it never returned before. at is about now.
func (s *series) next(at time.Time) (nonce [chacha20poly1305.NonceSizeX]byte) {
	for {
		last := s.last.Load()
		now := max(last+1, uint64(max(0, at.UnixNano())))
		if s.last.CompareAndSwap(last, now) {
			copy(nonce[:], s.first[:])
			binary.BigEndian.PutUint64(nonce[len(s.first):], now)
			return nonce
		}
	}
}

// seal is Seal of XChaCha20-Poly1305 under a nonce of s. That of the cipher within
// begins with four zeros, which are in ours.
func (s *series) seal(dst, nonce, plain, bind []byte) []byte {
	return s.cipher.Seal(dst, nonce[chacha20poly1305.NonceSizeX-chacha20poly1305.NonceSize:], plain, bind)
}
