package radius

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/keywicket/keywicket/core/proof"
)

// A method is a way in which a password can stand in an Access-Request.
// Exactly one of them must (RFC 2865, section 4.1; CVE-2023-39930).
type method interface {
	// present reports whether p carries this method, well-formed or not.
	present(p *packet) bool

	// proof returns what r presents, or nil for what is malformed. It may use
	// r.password and r.mschap, which are wiped after the attempt.
	proof(r *request) proof.Proof
}

// methods returns the table; a function, so that nothing can change it.
func methods() [5]method { return [...]method{pap{}, chap{}, mschap{}, mschap2{}, eap{}} }

// onlyMethod returns the only method in p, and false where there is none or
// more than one.
func onlyMethod(p *packet) (only method, one bool) {
	for _, m := range methods() {
		if !m.present(p) {
			continue
		}
		if only != nil {
			return nil, false
		}
		only = m
	}
	return only, only != nil
}

// oneMethod returns the proof of the only method in r, or nil. What the client
// may not use is recognised, and no more than that.
func oneMethod(r *request) proof.Proof {
	only, one := onlyMethod(&r.packet)
	if !one {
		return nil
	}
	p := only.proof(r)
	if p != nil && !r.client.takes(p.Method()) {
		return proof.Unsupported(p.Method())
	}
	return p
}

// takes says whether c may use m on UDP, where everybody on the way can read.
func (c *Client) takes(m proof.Method) bool {
	switch {
	case len(c.Methods) == 0:
		return m == proof.MethodCleartext
	case m == proof.MethodMSCHAPv2 && !c.AllowInsecureMSCHAP:
		return false
	}
	return slices.Contains(c.Methods, m)
}

// whyNot says why a device may not use m, and what to do about it.
func (c *Client) whyNot(m proof.Method) string {
	switch {
	case m == proof.MethodMSCHAPv1:
		return "MS-CHAPv1 is never taken: one recorded answer gives its NT hash away. Set the device to PAP, or to MS-CHAPv2"
	case m == proof.MethodMSCHAPChange:
		return "app passwords are not changed over MS-CHAP; issue a new one"
	case m == proof.MethodEAP:
		return "EAP is not taken yet, which 802.1X and WPA-Enterprise need. Set the device to PAP, or let it ask another server"
	case m == proof.MethodMSCHAPv2 && slices.Contains(c.Methods, m):
		return "MS-CHAPv2 outside a tunnel can be broken by whoever captures it. Set the device to PAP or a tunnel, or, if the way to it is trusted, set allow_insecure_mschap = true for this client"
	}
	return fmt.Sprintf("its client may not use this method. Set the device to another one, or add %q to methods of this client", m)
}

const maxPassword = 128 // octets of User-Password; RFC 2865, section 5.2

// pap is User-Password.
type pap struct{}

func (pap) present(p *packet) bool { return p.has(attrUserPassword) }

func (pap) proof(r *request) proof.Proof {
	text := pap{}.text(r, nil)
	if text == nil {
		return nil
	}
	return proof.Cleartext(text)
}

// text decodes the password into r.password; mask is as in reveal. What follows its
// first NUL must be NUL: a password cut short there would be another one than was
// typed.
func (pap) text(r *request, mask []byte) []byte {
	hidden, ok := r.packet.hiddenPassword()
	if !ok {
		return nil
	}
	text := r.password[:len(hidden)]
	r.reveal(text, hidden, mask)
	if end := bytes.IndexByte(text, 0); end >= 0 {
		var rest byte
		for _, b := range text[end:] {
			rest |= b
		}
		if rest != 0 {
			return nil
		}
		text = text[:end]
	}
	if len(text) == 0 {
		return nil
	}
	return text
}

// chap is CHAP-Password (RFC 2865, section 5.3).
type chap struct{}

func (chap) present(p *packet) bool { return p.has(attrCHAPPassword) }

// proof decodes the identifier and the response. What was challenged stands in
// CHAP-Challenge, and where there is none it is the Request Authenticator
// (RFC 2865, section 2.2).
func (chap) proof(r *request) proof.Proof {
	value, count := r.packet.find(attrCHAPPassword)
	if count != 1 || len(value) != 1+digestLen {
		return nil
	}
	challenge, count := r.packet.find(attrCHAPChallenge)
	if count == 0 {
		challenge = r.packet.authenticator()
	}
	if count > 1 || len(challenge) < proof.MinChallenge {
		return nil
	}
	return &proof.CHAP{ID: value[0], Challenge: challenge, Response: [digestLen]byte(value[1:])}
}

// eap is EAP-Message (RFC 3579), which there is no engine for yet.
type eap struct{}

func (eap) present(p *packet) bool     { return p.has(attrEAPMessage) }
func (eap) proof(*request) proof.Proof { return proof.Unsupported(proof.MethodEAP) }
