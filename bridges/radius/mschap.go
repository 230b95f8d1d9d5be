package radius

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/keywicket/keywicket/core/proof"
)

// Attributes of RFC 2548, section 2.
const (
	vendorMicrosoft    = 311
	msCHAPResponse     = 1
	msCHAPError        = 2
	msCHAPChangeFirst  = 3
	msCHAPChangeSecond = 4
	msMPPEPolicy       = 7
	msMPPETypes        = 8
	msCHAPChallenge    = 11
	msMPPESendKey      = 16
	msMPPERecvKey      = 17
	msCHAP2Response    = 25
	msCHAP2Success     = 26
	msCHAP2Change      = 27
)

// mschap is MS-CHAP version 1, and the change of a password over either
// version: recognised, so that nothing hides beside it, and never taken.
type mschap struct{}

func (m mschap) present(p *packet) bool { return m.has(p, msCHAPResponse) || m.changes(p) }

func (mschap) has(p *packet, kind byte) bool {
	_, count := p.vendor(vendorMicrosoft, kind)
	return count > 0
}

func (m mschap) changes(p *packet) bool {
	return m.has(p, msCHAPChangeFirst) || m.has(p, msCHAPChangeSecond) || m.has(p, msCHAP2Change)
}

func (m mschap) proof(r *request) proof.Proof {
	if m.changes(&r.packet) {
		return proof.Unsupported(proof.MethodMSCHAPChange)
	}
	return proof.Unsupported(proof.MethodMSCHAPv1)
}

// mschap2 is MS-CHAP2-Response (RFC 2548, section 2.3.2).
type mschap2 struct{}

func (mschap2) present(p *packet) bool {
	_, count := p.vendor(vendorMicrosoft, msCHAP2Response)
	return count > 0
}

// Where things are in MS-CHAP2-Response: Ident, Flags, Peer-Challenge, Reserved,
// Response.
const (
	mschap2Peer     = 2
	mschap2Reserved = mschap2Peer + 16
	mschap2NT       = mschap2Reserved + 8
	mschap2Len      = mschap2NT + 24
)

// proof decodes the response. Flags and Reserved must be zero, by RFC 2548,
// section 2.3.2: what they would mean is not known, and the answer does not
// cover them.
func (mschap2) proof(r *request) proof.Proof {
	value, count := r.packet.vendor(vendorMicrosoft, msCHAP2Response)
	challenge, challenges := r.packet.vendor(vendorMicrosoft, msCHAPChallenge)
	if count != 1 || challenges != 1 || len(value) != mschap2Len || len(challenge) != 16 {
		return nil
	}
	unknown := value[1]
	for _, b := range value[mschap2Reserved:mschap2NT] {
		unknown |= b
	}
	if unknown != 0 {
		return nil
	}
	name, _ := r.packet.find(attrUserName)
	trial := proof.NewMSCHAPv2([16]byte(challenge), [16]byte(value[mschap2Peer:]), [24]byte(value[mschap2NT:]), string(name))
	r.mschap = &exchanged{ident: value[0], trial: trial}
	return trial
}

// exchanged is what the reply to an MS-CHAP2-Response is made of.
type exchanged struct {
	ident byte // of the response; success and error carry it too
	trial *proof.MSCHAPv2
}

// failed is all that a device learns: 691 is a wrong name or password, and it
// shall not try again by itself (RFC 2759, section 6). There is neither a new
// challenge nor a message, so that all these are alike.
const failed = "E=691 R=0"

// fail adds MS-CHAP-Error (RFC 2548, section 2.1.5).
func (x *exchanged) fail(b *replyBuilder) {
	b.addVendor(vendorMicrosoft, msCHAPError, append([]byte{x.ident}, failed...))
}

// succeedOctets is what succeed adds, at most: the success, which has an identifier
// and 42 octets, two numbers and two keys, each in a Vendor-Specific.
const succeedOctets = (8 + 1 + 42) + 2*(8+4) + 2*(8+2+2*digestLen)

// succeed adds MS-CHAP2-Success and the MPPE keys (RFC 2548, sections 2.3.3 and
// 2.4), and how to encrypt unless the configuration says that itself: 128 bits
// or not at all, because what tunnels in IPsec needs no second encryption.
// MS-CHAP-Domain is left out: it would be text of the request.
func (x *exchanged) succeed(b *replyBuilder, k *key, p *packet, configured []Attribute) {
	success, _ := x.trial.Success()
	b.addVendor(vendorMicrosoft, msCHAP2Success, append([]byte{x.ident}, success.AuthenticatorResponse[:]...))
	for _, a := range [...]struct {
		kind  byte
		value uint32
	}{
		{msMPPEPolicy, 1}, // Encryption-Allowed
		{msMPPETypes, 4},  // RC4-128bit-Allowed
	} {
		said := slices.ContainsFunc(configured, func(c Attribute) bool { return c.id == attributeID{vendor: vendorMicrosoft, number: uint32(a.kind)} })
		if !said {
			b.addVendor(vendorMicrosoft, a.kind, binary.BigEndian.AppendUint32(nil, a.value))
		}
	}
	var salt [2]byte
	rand.Read(salt[:]) // never fails (crypto/rand since Go 1.24)
	salt[0] |= 0x80
	b.addVendor(vendorMicrosoft, msMPPESendKey, k.hide(success.SendKey, salt, p.authenticator()))
	salt[1] ^= 1 // in one packet no two are the same
	b.addVendor(vendorMicrosoft, msMPPERecvKey, k.hide(success.RecvKey, salt, p.authenticator()))
	clear(success.SendKey[:])
	clear(success.RecvKey[:])
}

// wipe forgets the keys.
func (x *exchanged) wipe() {
	if x != nil {
		x.trial.Wipe()
	}
}
