package radius

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// A handle is what is kept of a session, so that it can be ended: a version,
// the address that its accounting came from, the address that was asked, each
// with its length in front, and then the attributes that the client knows the
// session by, as they came.
const handleVersion = 1

// nasAttributes say which device it is, among those behind one client
// (RFC 5176, section 3).
var nasAttributes = [...]byte{attrNASIPAddress, attrNASIdentifier, attrNASIPv6Address}

// sessionAttributes say which session of the device it is.
var sessionAttributes = [...]byte{attrUserName, attrAcctSessionID, attrCallingStationID, attrFramedIPAddress}

// handle makes the handle of r.
func (r *request) handle() []byte {
	b := []byte{handleVersion}
	for _, a := range []netip.Addr{r.source(), r.local.Unmap()} {
		octets := a.AsSlice()
		b = append(append(b, byte(len(octets))), octets...)
	}
	return append(append(b, r.packet.whole(nasAttributes[:])...), r.packet.whole(sessionAttributes[:])...)
}

// nas tells the device that reports from others of the same client. What follows it
// can be told from it: attributes have their length, and an address has no space.
func (r *request) nas() string {
	if said := r.packet.whole(nasAttributes[:]); len(said) > 0 {
		return string(said)
	}
	return r.source().String() + " "
}

// whole returns the first attribute of each kind, in the order of kinds.
func (p *packet) whole(kinds []byte) []byte {
	var b []byte
	for _, kind := range kinds {
		if value, count := p.find(kind); count > 0 {
			b = append(append(b, kind, byte(2+len(value))), value...)
		}
	}
	return b
}

// A parsedHandle is a handle taken apart.
type parsedHandle struct {
	source, local netip.Addr // local may be the zero Addr
	attributes    [][]byte   // whole
}

// parseHandle takes b apart; false if it is none.
func parseHandle(b []byte) (h parsedHandle, ok bool) {
	if len(b) == 0 || b[0] != handleVersion {
		return h, false
	}
	b = b[1:]
	for _, a := range []*netip.Addr{&h.source, &h.local} {
		if len(b) == 0 || int(b[0]) >= len(b) {
			return h, false
		}
		octets := b[1 : 1+int(b[0])]
		b = b[1+len(octets):]
		if len(octets) == 0 {
			continue
		}
		if *a, ok = netip.AddrFromSlice(octets); !ok {
			return h, false
		}
	}
	for len(b) > 0 {
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return h, false
		}
		h.attributes = append(h.attributes, b[:b[1]])
		b = b[b[1]:]
	}
	return h, h.source.IsValid()
}

// find returns the whole attribute of kind, or nil.
func (h parsedHandle) find(kind byte) []byte {
	i := slices.IndexFunc(h.attributes, func(a []byte) bool { return a[0] == kind })
	if i < 0 {
		return nil
	}
	return h.attributes[i]
}

// maxMissed is for how long an Accounting-On may have been under way, so that what
// began since is not of before.
const maxMissed = 5 * time.Minute

// endedSessions returns whether r, an Accounting-On or -Off, says that a session is
// over. One that comes late says for how long; by our own clock, as the device's may
// be wrong.
func (r *request) endedSessions() func(session.Session) bool {
	same, missed := r.sameDevice(), min(r.packet.seconds(attrAcctDelayTime), maxMissed)
	anew := r.arrived.Add(-missed)
	return func(n session.Session) bool { return same(n.Handle) && (missed == 0 || !n.Since.After(anew)) }
}

// sameDevice returns whether a handle is of the device that sent r, an
// Accounting-On or -Off: whether what both say of themselves is the same. Where
// nothing of it can be compared they are known by their address, unless one of
// them came by way of a proxy, whose address others have, too.
func (r *request) sameDevice() func(handle []byte) bool {
	said := make(map[byte][]byte)
	for _, kind := range nasAttributes {
		if a := r.packet.whole([]byte{kind}); a != nil {
			said[kind] = a
		}
	}
	source := r.source()
	find := func(kind byte) []byte { return said[kind] }
	return func(handle []byte) bool {
		h, ok := parseHandle(handle)
		if !ok {
			return false
		}
		same := 0
		for kind, mine := range said {
			other := h.find(kind)
			if other != nil && !bytes.Equal(mine, other) { // not a secret: what devices are called
				return false
			}
			if other != nil {
				same++
			}
		}
		return same > 0 || h.source == source && !relayed(find, source) && !relayed(h.find, source)
	}
}

// relayed says whether who says that of itself has another address than source.
func relayed(said func(kind byte) []byte, source netip.Addr) bool {
	for _, kind := range []byte{attrNASIPAddress, attrNASIPv6Address} {
		if a := said(kind); a != nil && !bytes.Equal(a[2:], source.AsSlice()) { // not a secret: an address
			return true
		}
	}
	return false
}
