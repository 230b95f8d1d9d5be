package load

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2865 and RFC 3579 know nothing else
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"math/rand/v2"

	"layeh.com/radius/rfc2759"
)

// A signer knows the shared secret. It is for one goroutine.
type signer struct {
	secret []byte
	mac    hash.Hash
	sum    hash.Hash
	out    [md5.Size]byte
	copied []byte
}

func newSigner(secret []byte) *signer {
	return &signer{secret: secret, mac: hmac.New(md5.New, secret), sum: md5.New()} //nolint:gosec // see above
}

func appendText(b []byte, kind byte, text string) []byte {
	b = append(b, kind, byte(2+len(text)))
	return append(b, text...)
}

// appendPassword appends User-Password (RFC 2865, section 5.2) to a request
// that has its authenticator.
func (s *signer) appendPassword(b []byte, password string) []byte {
	blocks := (len(password) + 15) / 16
	b = append(b, 2, byte(2+16*blocks))
	before := len(b) // of the block before; for the first it is the authenticator
	for i := range blocks {
		last := b[4:20]
		if i > 0 {
			last = b[before+16*(i-1) : before+16*i]
		}
		s.sum.Reset()
		s.sum.Write(s.secret)
		s.sum.Write(last)
		mask := s.sum.Sum(s.out[:0])
		text := password[16*i : min(16*(i+1), len(password))]
		for j := range text {
			mask[j] ^= text[j]
		}
		b = append(b, mask...)
	}
	return b
}

// appendMSCHAPv2 appends MS-CHAP-Challenge and MS-CHAP2-Response (RFC 2548,
// sections 2.1.2 and 2.3.2).
func appendMSCHAPv2(b []byte, random *rand.ChaCha8, name, password string) []byte {
	var challenges [32]byte
	for i := range 4 {
		binary.LittleEndian.PutUint64(challenges[8*i:], random.Uint64())
	}
	theirs, ours := challenges[:16], challenges[16:]
	response, err := rfc2759.GenerateNTResponse(theirs, ours, []byte(name), []byte(password))
	if err != nil {
		return b
	}
	b = append(b, 26, 2+4+2+16, 0, 0, 1, 55, 11, 2+16)
	b = append(b, theirs...)
	b = append(b, 26, 2+4+2+50, 0, 0, 1, 55, 25, 2+50, 1, 0)
	b = append(b, ours...)
	b = append(b, make([]byte, 8)...)
	return append(b, response...)
}

// sign puts the Message-Authenticator of b into value, which is zeros in b.
func (s *signer) sign(b, value []byte) {
	s.mac.Reset()
	s.mac.Write(b)
	copy(value, s.mac.Sum(s.out[:0]))
}

// genuine says whether the Response Authenticator of a reply is right (RFC 2865,
// section 3), and its Message-Authenticator if it has one (RFC 3579, section 3.2).
func (s *signer) genuine(reply, requestAuthenticator []byte) (genuine, signed bool) {
	if len(reply) < 20 || int(binary.BigEndian.Uint16(reply[2:])) != len(reply) {
		return false, false
	}
	at, ok := findMessageAuthenticator(reply)
	if !ok {
		return false, false
	}
	s.copied = append(s.copied[:0], reply...)
	c := s.copied
	copy(c[4:20], requestAuthenticator)
	s.sum.Reset()
	s.sum.Write(c)
	s.sum.Write(s.secret)
	if subtle.ConstantTimeCompare(s.sum.Sum(s.out[:0]), reply[4:20]) != 1 {
		return false, false
	}
	if at == 0 {
		return true, false
	}
	clear(c[at : at+16])
	s.mac.Reset()
	s.mac.Write(c)
	return subtle.ConstantTimeCompare(s.mac.Sum(s.out[:0]), reply[at:at+16]) == 1, true
}

// findMessageAuthenticator returns where its value is in a packet, 0 for none;
// false for two, or for a packet that is none.
func findMessageAuthenticator(raw []byte) (at int, ok bool) {
	for i := 20; i < len(raw); i += int(raw[i+1]) {
		if len(raw)-i < 2 || raw[i+1] < 2 || int(raw[i+1]) > len(raw)-i {
			return 0, false
		}
		if raw[i] != 80 {
			continue
		}
		if at != 0 || raw[i+1] != 18 {
			return 0, false
		}
		at = i + 2
	}
	return at, true
}
