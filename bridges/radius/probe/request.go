package probe

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 3579 knows nothing else
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"

	"github.com/keywicket/keywicket/core/proof"
)

const (
	challengeLen = 16
	maxValue     = 253 // octets of a value (RFC 2865, section 5)
	maxPassword  = 128 // octets of User-Password (section 5.2)
)

// An exchange is a request and what its answer is checked against.
type exchange struct {
	packet *radius.Packet
	wire   []byte

	// Of MS-CHAPv2 alone.
	ident            byte
	ours, theirs, nt []byte // peer challenge, authenticator challenge, NT response
	hashed, password string // the name that is hashed, and the text
}

// request builds a signed Access-Request of r.
func request(r Request) (*exchange, error) {
	if len(r.Secret) == 0 {
		return nil, errors.New("the shared secret is empty")
	}
	tooLong := func(what string, n, most int) error {
		return fmt.Errorf("%w: %s has %d octets, and at most %d have room", ErrRequest, what, n, most)
	}
	switch {
	case len(r.Account) > maxValue:
		return nil, tooLong("the name", len(r.Account), maxValue)
	case len(r.Device) > maxValue:
		return nil, tooLong("the device", len(r.Device), maxValue)
	case len(r.Password) > maxPassword && r.Method == proof.MethodCleartext:
		return nil, tooLong("the password", len(r.Password), maxPassword)
	}
	x := &exchange{packet: radius.New(radius.CodeAccessRequest, r.Secret), password: r.Password}
	p := x.packet
	// Message-Authenticator goes first (CVE-2024-3596), and is filled in last.
	errs := []error{rfc2869.MessageAuthenticator_Set(p, make([]byte, md5.Size)), rfc2865.UserName_SetString(p, r.Account)}
	switch r.Method {
	case proof.MethodCleartext:
		errs = append(errs, rfc2865.UserPassword_SetString(p, r.Password))
	case proof.MethodCHAP:
		errs = append(errs, chap(p, r.Password))
	case proof.MethodMSCHAPv2:
		errs = append(errs, x.mschap2(r.Account))
	default:
		errs = append(errs, fmt.Errorf("%q is no method that can be tried", r.Method))
	}
	errs = append(errs, rfc2865.NASIdentifier_SetString(p, "keywicket"))
	if r.Device != "" {
		errs = append(errs, rfc2865.CallingStationID_SetString(p, r.Device))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	raw, err := p.Encode()
	if err != nil {
		return nil, err
	}
	mac := hmac.New(md5.New, r.Secret)
	mac.Write(raw)
	if err := rfc2869.MessageAuthenticator_Set(p, mac.Sum(nil)); err != nil {
		return nil, err
	}
	x.wire, err = p.Encode()
	return x, err
}

// chap adds CHAP-Password and CHAP-Challenge (RFC 2865, sections 5.3 and 5.40).
func chap(p *radius.Packet, password string) error {
	var random [1 + challengeLen]byte
	rand.Read(random[:])
	id, challenge := random[:1], random[1:]
	h := md5.New() //nolint:gosec // RFC 1994 knows nothing else
	h.Write(id)
	h.Write([]byte(password))
	h.Write(challenge)
	return errors.Join(rfc2865.CHAPPassword_Set(p, h.Sum([]byte{random[0]})), rfc2865.CHAPChallenge_Set(p, challenge))
}

// mschap2 adds MS-CHAP-Challenge and MS-CHAP2-Response (RFC 2548, sections
// 2.1.2 and 2.3.2).
func (x *exchange) mschap2(account string) error {
	var random [1 + 2*challengeLen]byte
	rand.Read(random[:])
	x.ident, x.ours, x.theirs = random[0], random[1:1+challengeLen], random[1+challengeLen:]
	x.hashed = account
	if _, rest, ok := strings.Cut(account, `\`); ok {
		x.hashed = rest // RFC 2759, section 8.2
	}
	var err error
	x.nt, err = rfc2759.GenerateNTResponse(x.theirs, x.ours, []byte(x.hashed), []byte(x.password))
	if err != nil {
		return err
	}
	value := append([]byte{x.ident, 0}, x.ours...)
	value = append(value, make([]byte, 8)...)
	value = append(value, x.nt...)
	return errors.Join(microsoft.MSCHAPChallenge_Set(x.packet, x.theirs), microsoft.MSCHAP2Response_Set(x.packet, value))
}
