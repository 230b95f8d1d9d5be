package radius

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A path is where a datagram came from, and so where its answer goes: back to
// from, out of the address that was asked.
type path struct {
	sock  sender
	from  netip.AddrPort // without zone
	local netip.Addr     // the address that was asked, or the zero Addr
	iface uint32         // index; needed for link-local addresses

	accounting bool // it came to a port for accounting
}

// source returns the address of the device: without zone, IPv4 as IPv4.
func (p *path) source() netip.Addr { return p.from.Addr().Unmap().WithZone("") }

// A sender is a socket; its number tells it from the others.
type sender interface {
	number() uint16

	// add takes a copy of reply, to be sent with the next flush at the latest. Both
	// return how many replies could not be sent, and the first reason.
	add(reply []byte, to *path) (failed int, err error)
	flush() (failed int, err error)
}

// A request is a packet of a client. All that is known of it is in facts and in
// packet, which are made whole, by open and by keep: so nothing of what was in the
// same memory before can be taken for this one's. The rest is room, of which only
// what was written for this one is read.
type request struct {
	facts
	packet   packet
	password [maxPassword]byte // room for what somebody typed; wiped when it was tried
	reply    []byte            // room for the reply
}

// facts are what is known of a request beside its packet.
type facts struct {
	path
	table   *table
	client  *client
	arrived time.Time

	key      *key       // by which it is genuine; nil: it is not, or not yet
	exchange *exchange  // that its reply ends; nil: none, or not any more
	mschap   *exchanged // of a well-formed MS-CHAP2-Response, else nil
	finding
}

// A finding is what was found out about a request, for those who look on.
type finding struct {
	decided bool // by the Verifier
	refused error
	used    core.Ref
	garbled bool // without Message-Authenticator, and its password is no text
	foreign bool // a report of a session that is not of an app password of ours
}

// A job is a request that takes longer than its datagram is there, with octets of
// its own.
type job struct {
	request
	octets [maxPacket]byte // room for its packet
}

// keep makes a job of r, which is a lane's. The exchange goes with it.
func (s *Server) keep(r *request) *job {
	j := s.jobs.Get().(*job)
	j.facts = r.facts
	j.packet.copy(&r.packet, j.octets[:])
	r.exchange = nil
	return j
}

// release wipes j and keeps its memory for another one.
func (s *Server) release(j *job) {
	clear(j.password[:])
	j.mschap.wipe()
	j.facts, j.packet = facts{}, packet{}
	s.jobs.Put(j)
}

const (
	serviceTypeCallCheck     = 10 // RFC 2865, section 5.6
	serviceTypeAuthorizeOnly = 17 // RFC 3576, section 3.1
)

// attempt decodes r. This is the first time that anything in it is decoded.
func (r *request) attempt() core.Attempt {
	a := r.attemptOf(nil)
	name, count := r.packet.find(attrUserName)
	if count > 0 {
		a.Account = string(r.table.account(name))
	}
	if count == 1 && len(name) > 0 && !r.asksWithoutPassword() {
		a.Proof = oneMethod(r)
	}
	return a
}

// onlyText decodes the account's name and the password of r, if these are all that
// r presents and are well-formed; else typed is nil. mask is as in reveal.
func (r *request) onlyText(mask []byte) (name, typed []byte) {
	name, count := r.packet.find(attrUserName)
	if count != 1 || len(name) == 0 || r.asksWithoutPassword() || !r.client.takes(proof.MethodCleartext) {
		return nil, nil
	}
	if only, one := onlyMethod(&r.packet); !one || only != (pap{}) {
		return nil, nil
	}
	return r.table.account(name), pap{}.text(r, mask)
}

// attemptOf is attempt without the account and the proof.
func (r *request) attemptOf(known *spellings) core.Attempt {
	a := core.Attempt{Service: r.client.service, Client: r.client.Name, Source: r.source(), Port: known.port(&r.packet), Answerer: r}
	if station, count := r.packet.find(attrCallingStationID); count > 0 {
		a.Device = known.device(station)
	}
	return a
}

// asksWithoutPassword is true for services that skip the check of a password,
// and for a Service-Type that cannot be read.
func (r *request) asksWithoutPassword() bool {
	value, count := r.packet.find(attrServiceType)
	if count == 0 {
		return false
	}
	if count > 1 || len(value) != 4 || value[0]|value[1]|value[2] != 0 {
		return true
	}
	return value[3] == serviceTypeCallCheck || value[3] == serviceTypeAuthorizeOnly
}

// grantable reports whether p is something that can be granted at all.
func grantable(p proof.Proof) bool {
	switch p := p.(type) {
	case nil, proof.Unsupported:
		return false
	case *proof.MSCHAPv2: // without what the answer is made of, nobody decided it
		_, ok := p.Success()
		return ok
	}
	return true
}

// account returns the account that a User-Name means under the realm rule.
func (t *table) account(name []byte) []byte {
	if t.config.Realm != RealmStrip {
		return name
	}
	if _, rest, ok := bytes.Cut(name, []byte(`\`)); ok && len(rest) > 0 {
		name = rest
	}
	if at := bytes.LastIndexByte(name, '@'); at > 0 {
		name = name[:at]
	}
	return name
}
