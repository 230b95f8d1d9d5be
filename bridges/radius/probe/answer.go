package probe

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 3579 knows nothing else
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3079"
	"layeh.com/radius/vendors/microsoft"
)

// answer reads a datagram. It says false for what is not an answer of somebody
// who knows the shared secret to this request (RFC 2865, section 3): a device
// ignores it.
func (x *exchange) answer(raw []byte, told Answer) (Answer, bool) {
	if len(raw) < 20 {
		return told, false
	}
	length := int(binary.BigEndian.Uint16(raw[2:]))
	if length < 20 || length > len(raw) || raw[1] != x.wire[1] {
		return told, false
	}
	raw = raw[:length]
	p, err := radius.Parse(raw, x.packet.Secret)
	if err != nil || !radius.IsAuthenticResponse(raw, x.wire, x.packet.Secret) {
		return told, false
	}
	told.Code = p.Code
	for at := 20; at < len(raw); at += int(raw[at+1]) { // Parse has walked it
		told.Attributes = append(told.Attributes, raw[at:at+int(raw[at+1])])
	}
	told.MessageAuthenticator = x.signed(raw, p)
	if told.MessageAuthenticator == Wrong {
		return told, false // RFC 3579, section 3.2
	}
	if x.nt != nil && p.Code == radius.CodeAccessAccept {
		told.AuthenticatorResponse = x.mutual(p)
		told.Keys = x.keys(p)
	}
	return told, true
}

// signed checks the Message-Authenticator of an answer (RFC 3579, section 3.2).
func (x *exchange) signed(raw []byte, p *radius.Packet) Check {
	all, err := rfc2869.MessageAuthenticator_Gets(p)
	switch {
	case err != nil || len(all) > 1 || len(all) == 1 && len(all[0]) != md5.Size:
		return Wrong
	case len(all) == 0:
		return Absent
	}
	mac := hmac.New(md5.New, x.packet.Secret)
	mac.Write(raw[:4])
	mac.Write(x.wire[4:20])
	for at := 20; at < len(raw); at += int(raw[at+1]) {
		if raw[at] == byte(rfc2869.MessageAuthenticator_Type) {
			mac.Write(raw[at : at+2])
			mac.Write(make([]byte, md5.Size))
			continue
		}
		mac.Write(raw[at : at+int(raw[at+1])])
	}
	return check(hmac.Equal(mac.Sum(nil), all[0]))
}

func check(right bool) Check {
	if right {
		return Right
	}
	return Wrong
}

// mutual checks MS-CHAP2-Success: whoever sent it knows the password (RFC 2759,
// section 8.7).
func (x *exchange) mutual(p *radius.Packet) Check {
	got, err := microsoft.MSCHAP2Success_Lookup(p)
	if err != nil {
		return Absent
	}
	want, err := rfc2759.GenerateAuthenticatorResponse(x.theirs, x.ours, x.nt, []byte(x.hashed), []byte(x.password))
	if err != nil {
		return Wrong
	}
	// A server may add " M=" and a message.
	head := 1 + len(want)
	return check(len(got) >= head && subtle.ConstantTimeCompare(got[:head], append([]byte{x.ident}, want...)) == 1)
}

// keys checks the MPPE keys, of which there are both or none (RFC 2548, section
// 2.4; RFC 3079, section 3.4).
func (x *exchange) keys(p *radius.Packet) Check {
	send, noSend := microsoft.MSMPPESendKey_Lookup(p, x.packet)
	recv, noRecv := microsoft.MSMPPERecvKey_Lookup(p, x.packet)
	if errors.Is(noSend, radius.ErrNoAttribute) && errors.Is(noRecv, radius.ErrNoAttribute) {
		return Absent
	}
	right := noSend == nil && noRecv == nil
	for isSend, got := range map[bool][]byte{true: send, false: recv} {
		want, err := rfc3079.MakeKey(x.nt, []byte(x.password), isSend)
		right = right && err == nil && subtle.ConstantTimeCompare(got, want) == 1
	}
	return check(right)
}
