package radius

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/session"
)

// Sessions is told where app passwords are in use; *core.Engine is one. Its
// methods are called from many goroutines.
type Sessions interface {
	// ReportSession takes r. Nil means that it is safely recorded. A session
	// that no token ties to an app password of ours is KindNotFound: nothing is
	// kept of it.
	ReportSession(ctx context.Context, r session.Report) error

	// ForgetSessions ends every session of client that is of the device which began
	// anew. Nil means that this is safely recorded.
	ForgetSessions(ctx context.Context, client string, of func(session.Session) bool) error
}

// UseSessions has reports of accounting told to all. It is called before Serve.
func (s *Server) UseSessions(all Sessions) { s.sessions = all }

// Attributes of RFC 2866, section 5, RFC 2869 and RFC 3162 that are read here.
const (
	attrFramedIPAddress     = 8
	attrAcctDelayTime       = 41
	attrAcctInputOctets     = 42
	attrAcctOutputOctets    = 43
	attrAcctSessionID       = 44
	attrAcctSessionTime     = 46
	attrAcctInputGigawords  = 52
	attrAcctInterimInterval = 85
	attrFramedIPv6Prefix    = 97
	attrFramedIPv6Address   = 168
)

// Values of Acct-Status-Type: RFC 2866, section 5.1, and RFC 2869, section 2.1.
const (
	statusStart         = 1
	statusStop          = 2
	statusInterim       = 3
	statusAccountingOn  = 7
	statusAccountingOff = 8
)

const (
	maxReports   = 256            // of one client at a time
	maxDelayTime = 24 * time.Hour // what is said to be older is not believed
	maxTokens    = 8              // Class attributes that are looked at
)

// takes says whether code belongs on the port that the packet came to.
func (p *path) takes(code byte) bool {
	if p.accounting {
		return code == codeAccountingRequest || code == codeStatusServer
	}
	return code == codeAccessRequest || code == codeStatusServer
}

// authenticateReport is authenticate for an Accounting-Request. What proves it
// is the Request Authenticator (RFC 2866, section 3); a Message-Authenticator
// need not be there, but must be right if it is.
func (c *client) authenticateReport(p *packet, now time.Time) (*key, drop) {
	if p.signatures > 1 || p.signatures == 1 && p.raw[p.signature+1] != 2+digestLen {
		return nil, dropMessageAuthenticator
	}
	for _, k := range c.live(now) {
		switch {
		case !k.stamps(p):
		case p.signatures == 1 && !k.signsReport(p):
			return nil, dropMessageAuthenticator
		default:
			return k, dropNone
		}
	}
	return nil, dropRequestAuthenticator
}

// stamps reports whether the Request Authenticator of p is right: MD5 over the
// packet, with zeros in its place, and the secret (RFC 2866, section 3).
func (k *key) stamps(p *packet) bool {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	d.sum.Reset()
	d.sum.Write(p.raw[:4])
	d.sum.Write(d.zero[:])
	d.sum.Write(p.raw[headerLen:])
	d.sum.Write(k.secret)
	return hmac.Equal(d.sum.Sum(d.out[:0]), p.authenticator())
}

// signsReport is signs for a packet whose authenticator was made after its
// Message-Authenticator, and counts as zeros in it: RFC 5176, section 2.3, says
// so for its requests, and everybody does it in accounting.
func (k *key) signsReport(p *packet) bool {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	value := p.signature + 2
	d.mac.Reset()
	d.mac.Write(p.raw[:4])
	d.mac.Write(d.zero[:])
	d.mac.Write(p.raw[headerLen:value])
	d.mac.Write(d.zero[:])
	d.mac.Write(p.raw[value+digestLen:])
	return hmac.Equal(d.mac.Sum(d.out[:0]), p.raw[value:value+digestLen])
}

// signReport is sign for an Accounting-Response: no RFC says what its
// Message-Authenticator is made over, and those who check one take zeros for
// the authenticator, as in the request.
func (k *key) signReport(reply, requestAuthenticator []byte) {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	clear(reply[4:headerLen])
	value := reply[headerLen+2 : headerLen+2+digestLen]
	clear(value)
	d.mac.Reset()
	d.mac.Write(reply)
	copy(value, d.mac.Sum(d.out[:0]))
	copy(reply[4:headerLen], requestAuthenticator)
	d.sum.Reset()
	d.sum.Write(reply)
	d.sum.Write(k.secret)
	copy(reply[4:headerLen], d.sum.Sum(d.out[:0]))
}

// admitReport takes an Accounting-Request that is genuine. Each has a goroutine
// of its own, because it waits for the disk; a client may have maxReports.
func (s *Server) admitReport(r *request, l *lane) {
	if !s.begin(r, l) {
		return
	}
	p := r.client.peer
	if p.reports.Add(1) > maxReports {
		p.reports.Add(-1)
		s.give(r, dropQueueFull)
		return
	}
	j := s.keep(r)
	s.running.Go(func() {
		defer p.reports.Add(-1)
		s.attend(j, s.report)
	})
}

var errReport = errors.New("not one Acct-Status-Type, or no Acct-Session-Id")

// report tells Sessions of r, and answers once it is recorded (RFC 2866,
// section 2). What was not is met with silence, and comes again.
func (s *Server) report(ctx context.Context, r *request) {
	err := s.tell(ctx, r)
	switch {
	case errors.Is(err, errReport):
		s.give(r, dropReport)
		if held, ok := s.faults.pass(r.source(), time.Now()); ok {
			s.log.Warn("radius: accounting dropped: "+err.Error(), "client", r.client.Name, "source", r.source(), "held_back", held)
		}
		return
	case core.KindOf(err) == core.KindNotFound:
		s.foreign(r)
	case err != nil:
		s.give(r, dropUnrecorded)
		s.trouble(r, "accounting not answered, because it could not be recorded", err)
		return
	}
	b := beginReply(codeAccountingResponse, r.packet.id())
	b.echo(&r.packet)
	reply, err := b.sealReport(r.key, &r.packet)
	if err != nil {
		s.give(r, dropReplyTooLarge)
		return
	}
	if s.answered(r, reply, time.Now()) {
		s.send(&r.path, reply)
		s.seeRequest(r, outcome{reply: reply})
	}
}

// sealReport is seal for an Accounting-Response.
func (b *replyBuilder) sealReport(k *key, p *packet) ([]byte, error) {
	reply, err := b.end()
	if err == nil {
		k.signReport(reply, p.authenticator())
	}
	return reply, err
}

// foreign says once in a while that sessions of a client are not known,
// because it does not send back what ties them to an app password.
func (s *Server) foreign(r *request) {
	r.foreign = true
	if held, ok := s.faults.pass(r.source(), time.Now()); ok {
		s.log.Info("radius: accounting of a session that carries no Class of ours: it is answered, but not listed, and deleting does not end it. Let the client send back every Class of the Access-Accept (RFC 2865, section 5.25)",
			"client", r.client.Name, "source", r.source(), "held_back", held)
	}
}

// tell decodes r and has Sessions record it.
func (s *Server) tell(ctx context.Context, r *request) error {
	status, count := r.packet.find(attrAcctStatusType)
	if count != 1 || len(status) != 4 {
		return errReport
	}
	if s.sessions == nil {
		return nil
	}
	events := map[uint32]session.Event{statusStart: session.Starts, statusInterim: session.GoesOn, statusStop: session.Stopped}
	switch kind := binary.BigEndian.Uint32(status); kind {
	case statusAccountingOn, statusAccountingOff:
		return s.sessions.ForgetSessions(ctx, r.client.Name, r.endedSessions())
	case statusStart, statusInterim, statusStop:
		report, ok := r.sessionReport(events[kind])
		if !ok {
			return errReport
		}
		return s.sessions.ReportSession(ctx, report)
	}
	return nil // tunnels, failures and what else may come: nothing of a session
}

// sessionReport decodes r; false if it does not say of which session it is.
func (r *request) sessionReport(event session.Event) (session.Report, bool) {
	p := &r.packet
	id, _ := p.find(attrAcctSessionID)
	if len(id) == 0 {
		return session.Report{}, false
	}
	a := session.Report{
		Event: event, Client: r.client.Name, ID: r.nas() + string(id), Port: (*spellings)(nil).port(p), Address: p.framedAddress(), Handle: r.handle(),
		At: r.arrived.Add(-min(p.seconds(attrAcctDelayTime), maxDelayTime)), For: p.seconds(attrAcctSessionTime),
		Every: p.seconds(attrAcctInterimInterval),
	}
	if a.Every == 0 && event == session.GoesOn { // it does report in between, as it was told to
		a.Every = r.client.interim
	}
	for i := range p.n {
		if c := p.attribute(i); c[0] == attrClass && len(a.Tokens) < maxTokens {
			a.Tokens = append(a.Tokens, append([]byte(nil), c[2:]...))
		}
	}
	if name, count := p.find(attrUserName); count > 0 {
		a.Account = string(r.table.account(name))
	}
	if station, count := p.find(attrCallingStationID); count > 0 {
		a.Device = device(station)
	}
	_, in := p.find(attrAcctInputOctets)
	_, out := p.find(attrAcctOutputOctets)
	a.HasOctets = in+out > 0
	a.OctetsIn = uint64(p.number(attrAcctInputGigawords))<<32 | uint64(p.number(attrAcctInputOctets))
	a.OctetsOut = uint64(p.number(attrAcctOutputGigawords))<<32 | uint64(p.number(attrAcctOutputOctets))
	return a, true
}

// interimInterval returns the Acct-Interim-Interval among attributes, or 0.
func interimInterval(attributes []Attribute) time.Duration {
	for _, a := range attributes {
		if len(a.wire) == 6 && a.wire[0] == attrAcctInterimInterval {
			return time.Duration(binary.BigEndian.Uint32(a.wire[2:])) * time.Second
		}
	}
	return 0
}

// number returns the value of the first attribute of kind, 0 if there is none
// of four octets.
func (p *packet) number(kind byte) uint32 {
	value, _ := p.find(kind)
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

func (p *packet) seconds(kind byte) time.Duration { return time.Duration(p.number(kind)) * time.Second }

// framedAddress returns the address that the device was given, or nothing:
// RFC 2865, section 5.8, RFC 6911, section 3.1, RFC 3162, section 2.3.
func (p *packet) framedAddress() string {
	for _, kind := range []byte{attrFramedIPAddress, attrFramedIPv6Address} {
		value, _ := p.find(kind)
		if a, ok := netip.AddrFromSlice(value); ok && p.number(kind) < 0xFFFFFFFE {
			return a.String()
		}
	}
	value, count := p.find(attrFramedIPv6Prefix)
	if count == 0 || len(value) < 2 || len(value) > 18 || value[1] > 128 {
		return ""
	}
	var octets [16]byte
	copy(octets[:], value[2:])
	return netip.PrefixFrom(netip.AddrFrom16(octets), int(value[1])).Masked().String()
}
