package proof

import (
	"crypto/md5" //nolint:gosec // RFC 1994 knows nothing else
	"crypto/subtle"
	"fmt"
	"io"
)

// MinChallenge is how many octets a CHAP challenge has at least. A shorter one
// comes again too soon, and with it a response that somebody recorded
// (RFC 1994, section 2.3).
const MinChallenge = 8

// A CHAP is a response of RFC 1994, section 4.1: the MD5 of the identifier, the
// text and the challenge.
type CHAP struct {
	ID        byte
	Challenge []byte // MinChallenge octets or more; with fewer nothing matches
	Response  [md5.Size]byte
}

func (*CHAP) Method() Method { return MethodCHAP }

// Try says whether the text in material gives this response.
func (p *CHAP) Try(material []byte) bool {
	var buf [1 + 28 + 253]byte // the longest text, and what fits into an attribute
	octets := append(buf[:0], p.ID)
	octets = append(octets, material...)
	octets = append(octets, p.Challenge...)
	sum := md5.Sum(octets) //nolint:gosec // see above
	clear(octets)
	clear(buf[:])
	same := subtle.ConstantTimeCompare(sum[:], p.Response[:]) == 1
	return same && len(p.Challenge) >= MinChallenge
}

// Format keeps challenge and response, which guesses can be tested with, out of
// whatever fmt prints.
func (*CHAP) Format(f fmt.State, _ rune) { io.WriteString(f, "[CHAP]") }

// MarshalJSON keeps them out of logs.
func (*CHAP) MarshalJSON() ([]byte, error) { return []byte(`"[CHAP]"`), nil }
