package radius

import (
	"bytes"

	"github.com/keywicket/keywicket/core/proof"
)

// A method is a way in which a password can stand in an Access-Request.
// Exactly one of them must (RFC 2865, section 4.1; CVE-2023-39930).
type method interface {
	// present reports whether p carries this method, well-formed or not.
	present(p *packet) bool

	// proof returns what p presents, or nil for what is malformed or never
	// taken. It may use r.password, which is wiped after the attempt.
	proof(r *request) proof.Proof
}

// methods returns the table; a function, so that nothing can change it.
func methods() [5]method { return [...]method{pap{}, chap{}, mschap{}, mschap2{}, eap{}} }

// oneMethod returns the proof of the only method in r, or nil.
func oneMethod(r *request) proof.Proof {
	var only method
	for _, m := range methods() {
		if !m.present(&r.packet) {
			continue
		}
		if only != nil {
			return nil
		}
		only = m
	}
	if only == nil {
		return nil
	}
	return only.proof(r)
}

const maxPassword = 128 // octets of User-Password; RFC 2865, section 5.2

// pap is User-Password.
type pap struct{}

func (pap) present(p *packet) bool { return p.has(attrUserPassword) }

// proof decodes the password. What follows its first NUL must be NUL: a
// password cut short there would be another one than was typed.
func (pap) proof(r *request) proof.Proof {
	hidden, count := r.packet.find(attrUserPassword)
	n := len(hidden)
	if count != 1 || n < digestLen || n > maxPassword || n%digestLen != 0 {
		return nil
	}
	text := r.password[:n]
	r.key.reveal(text, hidden, r.packet.authenticator())
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
	return proof.Cleartext(text)
}

// chap is CHAP-Password (RFC 2865, section 5.3).
type chap struct{}

func (chap) present(p *packet) bool     { return p.has(attrCHAPPassword) }
func (chap) proof(*request) proof.Proof { return proof.Unsupported(proof.MethodCHAP) }

// Attributes of RFC 2548, section 2.
const (
	vendorMicrosoft    = 311
	msCHAPResponse     = 1
	msCHAPChangeFirst  = 3
	msCHAPChangeSecond = 4
	msCHAP2Response    = 25
	msCHAP2Change      = 27
)

// mschap is MS-CHAP version 1, and the change of a password over either
// version: recognised, so that nothing hides beside it, and never taken.
type mschap struct{}

func (mschap) present(p *packet) bool {
	for _, kind := range [...]byte{msCHAPResponse, msCHAPChangeFirst, msCHAPChangeSecond, msCHAP2Change} {
		if p.vendor(vendorMicrosoft, kind) > 0 {
			return true
		}
	}
	return false
}

func (mschap) proof(*request) proof.Proof { return nil }

// mschap2 is MS-CHAP2-Response (RFC 2548, section 2.3.2).
type mschap2 struct{}

func (mschap2) present(p *packet) bool     { return p.vendor(vendorMicrosoft, msCHAP2Response) > 0 }
func (mschap2) proof(*request) proof.Proof { return proof.Unsupported(proof.MethodMSCHAPv2) }

// eap is EAP-Message (RFC 3579), which there is no engine for yet.
type eap struct{}

func (eap) present(p *packet) bool     { return p.has(attrEAPMessage) }
func (eap) proof(*request) proof.Proof { return nil }
