package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/keywicket/keywicket/core"
)

const (
	macSize = sha256.Size

	// minKey is the shortest key, in octets.
	minKey = 32

	// headLabel keeps the mac of a head apart from that of a line, in whose
	// input a brace follows the first 32 octets.
	headLabel = "keywicket audit: the head of the log\n"
)

// A mac is the HMAC-SHA-256 of a line, or of a head.
type mac [macSize]byte

func (m mac) String() string { return hex.EncodeToString(m[:]) }

func (m mac) equal(other mac) bool { return hmac.Equal(m[:], other[:]) }

// parseMAC reads what String writes, and nothing else.
func parseMAC(text []byte) (m mac, ok bool) {
	if len(text) != 2*macSize {
		return mac{}, false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return mac{}, false
		}
	}
	_, err := hex.Decode(m[:], text)
	return m, err == nil
}

// A signer computes macs under one key. It is for one goroutine.
type signer struct {
	id    string // the first 8 digits of HMAC(key, "id")
	hash  hash.Hash
	space mac // what goes into hash or comes out: there it does not cost an allocation
}

func newSigner(key []byte) *signer {
	s := &signer{hash: hmac.New(sha256.New, key)}
	id := s.of([]byte("id"), nil)
	s.id = id.String()[:8]
	return s
}

func newSigners(keys [][]byte) ([]*signer, error) {
	if len(keys) == 0 {
		return nil, &core.Error{Op: "audit", Kind: core.KindInvalid, Err: fmt.Errorf("no key of the audit log was given")}
	}
	var all []*signer
	for _, key := range keys {
		if len(key) < minKey {
			return nil, &core.Error{Op: "audit", Kind: core.KindInvalid, Err: fmt.Errorf("a key of the audit log has %d octets; at least %d are needed", len(key), minKey)}
		}
		all = append(all, newSigner(key))
	}
	return all, nil
}

// of returns the mac of the parts, one after the other.
func (s *signer) of(first, second []byte) mac {
	s.hash.Reset()
	s.hash.Write(first)
	s.hash.Write(second)
	s.hash.Sum(s.space[:0])
	return s.space
}

// sum returns the mac of a line that follows one with the mac last.
func (s *signer) sum(last mac, body []byte) mac {
	s.space = last
	return s.of(s.space[:], body)
}

// A chain is where the next line goes on.
type chain struct {
	key  *signer
	last mac    // of the line before; zero if there is none
	seq  uint64 // of the line before
}
