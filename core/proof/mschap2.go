package proof

import (
	"crypto/des"  //nolint:gosec // RFC 2759 knows nothing else
	"crypto/sha1" //nolint:gosec // the same
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	//lint:ignore SA1019 the NT hash is MD4 (RFC 2759, section 8.3)
	"golang.org/x/crypto/md4" //nolint:staticcheck // the same for golangci-lint
)

const (
	ntHashLen     = md4.Size
	ntResponseLen = 24
)

// An MSCHAPv2 is a response of RFC 2759. Its material is the NT hash of the
// text, and whoever has that one can answer every challenge.
type MSCHAPv2 struct {
	challenge [8]byte // RFC 2759, section 8.2
	response  [ntResponseLen]byte

	derived bool
	success Success
}

// NewMSCHAPv2 returns the response to both challenges. userName is the name as
// the device sent it; the domain in front of it is not part of what is hashed
// (RFC 2759, section 8.2).
func NewMSCHAPv2(authenticator, peer [16]byte, response [ntResponseLen]byte, userName string) *MSCHAPv2 {
	if _, rest, ok := strings.Cut(userName, `\`); ok {
		userName = rest
	}
	h := sha1.New() //nolint:gosec // see above
	h.Write(peer[:])
	h.Write(authenticator[:])
	io.WriteString(h, userName)
	p := &MSCHAPv2{response: response}
	copy(p.challenge[:], h.Sum(nil))
	return p
}

func (*MSCHAPv2) Method() Method { return MethodMSCHAPv2 }

// Try says whether the NT hash in material gives this response: three times DES
// with a third of it each (RFC 2759, section 8.5).
func (p *MSCHAPv2) Try(material []byte) bool {
	var padded [3 * 7]byte
	copy(padded[:ntHashLen], material)
	var want [ntResponseLen]byte
	for i := range 3 {
		encrypt(want[8*i:8*i+8], padded[7*i:7*i+7], p.challenge[:])
	}
	clear(padded[:])
	same := subtle.ConstantTimeCompare(want[:], p.response[:]) == 1
	return same && len(material) == ntHashLen
}

// encrypt is DesEncrypt of RFC 2759, section 8.6. The 56 bits of key are spread
// over 8 octets; the last bit of each is a parity that nobody looks at.
func encrypt(to, key, clearText []byte) {
	var spread [8]byte
	spread[0] = key[0]
	for i := 1; i < 7; i++ {
		spread[i] = key[i-1]<<(8-i) | key[i]>>i
	}
	spread[7] = key[6] << 1
	block, err := des.NewCipher(spread[:]) //nolint:gosec // see above
	clear(spread[:])
	if err != nil {
		return // never: a key has 8 octets
	}
	block.Encrypt(to, clearText)
}

// A Success is what the answer to a right MSCHAPv2 needs. It is made of the NT
// hash, but nobody gets from it to that.
type Success struct {
	// AuthenticatorResponse is "S=" and 40 hexadecimal digits, by which the
	// device knows that we know the text too (RFC 2759, section 8.7).
	AuthenticatorResponse [42]byte

	// SendKey and RecvKey are the 128-bit MPPE start keys of the side that
	// was asked (RFC 3079, section 3.4; MS-MPPE-Send-Key and MS-MPPE-Recv-Key
	// of RFC 2548, section 2.4).
	SendKey, RecvKey [16]byte
}

// Format keeps the keys out of whatever fmt prints.
func (Success) Format(f fmt.State, _ rune) { io.WriteString(f, "[MS-CHAPv2 success]") }

// MarshalJSON keeps them out of logs.
func (Success) MarshalJSON() ([]byte, error) { return []byte(`"[MS-CHAPv2 success]"`), nil }

// Derive makes the Success from the NT hash that Try said yes to.
func (p *MSCHAPv2) Derive(material []byte) {
	hashHash := md4Sum(material)
	defer clear(hashHash[:])
	p.derived = true

	digest := sha1Sum(hashHash[:], p.response[:], []byte(magicServerToClient))
	digest = sha1Sum(digest[:], p.challenge[:], []byte(magicPad))
	copy(p.success.AuthenticatorResponse[:], "S="+strings.ToUpper(hex.EncodeToString(digest[:])))

	master := sha1Sum(hashHash[:], p.response[:], []byte(magicMasterKey))
	p.success.SendKey = startKey(master[:16], magicServerSends)
	p.success.RecvKey = startKey(master[:16], magicClientSends)
	clear(master[:])
}

// Success returns what Derive made, and false where it was not called: then
// nothing was granted.
func (p *MSCHAPv2) Success() (Success, bool) { return p.success, p.derived }

// Wipe forgets what Derive made.
func (p *MSCHAPv2) Wipe() { p.success, p.derived = Success{}, false }

// Format keeps challenge and response, of which the NT hash can be computed,
// out of whatever fmt prints.
func (*MSCHAPv2) Format(f fmt.State, _ rune) { io.WriteString(f, "[MS-CHAPv2]") }

// MarshalJSON keeps them out of logs.
func (*MSCHAPv2) MarshalJSON() ([]byte, error) { return []byte(`"[MS-CHAPv2]"`), nil }

// The constants of RFC 2759, section 8.7, and of RFC 3079, section 3.4, where
// they stand as octets.
const (
	magicServerToClient = "Magic server to client signing constant"
	magicPad            = "Pad to make it do more than one iteration"
	magicMasterKey      = "This is the MPPE Master Key"
	magicClientSends    = "On the client side, this is the send key; on the server side, it is the receive key."
	magicServerSends    = "On the client side, this is the receive key; on the server side, it is the send key."
)

// startKey is GetAsymmetricStartKey of RFC 3079, section 3.4, for 128 bits.
func startKey(master []byte, magic string) (key [16]byte) {
	const padLen = 40
	var pad2 [padLen]byte
	for i := range pad2 {
		pad2[i] = 0xf2
	}
	sum := sha1Sum(master, make([]byte, padLen), []byte(magic), pad2[:])
	copy(key[:], sum[:])
	clear(sum[:])
	return key
}

func sha1Sum(parts ...[]byte) (sum [sha1.Size]byte) {
	h := sha1.New() //nolint:gosec // see above
	for _, part := range parts {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

func md4Sum(octets []byte) (sum [md4.Size]byte) {
	h := md4.New()
	h.Write(octets)
	h.Sum(sum[:0])
	return sum
}
