package radius

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/core/session"
)

// defaultDisconnectPort is where a device takes Disconnect-Requests (RFC 5176,
// section 2.1).
const defaultDisconnectPort = 3799

// disconnectWaits are from one Disconnect-Request to the next and, last, to
// giving up.
var disconnectWaits = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second}

// Values of Error-Cause by which a session is not there any more: RFC 5176,
// section 3.5.
const (
	causeResidualRemoved = 201
	causeNotFound        = 503
)

// causeWords returns the name of an Error-Cause: RFC 5176, section 3.5.
func causeWords(cause uint32) string {
	switch cause {
	case 0:
		return ""
	case 401:
		return "Unsupported-Attribute"
	case 402:
		return "Missing-Attribute"
	case 403:
		return "NAS-Identification-Mismatch"
	case 404:
		return "Invalid-Request"
	case 405:
		return "Unsupported-Service"
	case 406:
		return "Unsupported-Extension"
	case 407:
		return "Invalid-Attribute-Value"
	case 501:
		return "Administratively-Prohibited"
	case 502:
		return "Request-Not-Routable"
	case 504:
		return "Session-Context-Not-Removable"
	case 505:
		return "Other-Proxy-Processing-Error"
	case 506:
		return "Resources-Unavailable"
	case 507:
		return "Request-Initiated"
	case 508:
		return "Multiple-Session-Selection-Unsupported"
	}
	return fmt.Sprint("Error-Cause ", cause)
}

// disconnects are the Disconnect-Requests that wait for an answer.
type disconnects struct {
	sockets []*socket // for IPv4, and where there is IPv6 for that

	mu      sync.Mutex
	waiting map[question]*disconnect
	last    byte // identifier
}

// A question is what an answer is known by.
type question struct {
	to netip.AddrPort
	id byte
}

// A disconnect is one Disconnect-Request.
type disconnect struct {
	question question
	key      *key
	raw      []byte
	answered chan answered // holds one
}

// An answered is what a device said.
type answered struct {
	code  byte
	cause uint32 // 0: none
}

// listenDisconnects makes the sockets that Disconnect-Requests leave from.
func listenDisconnects() (*disconnects, error) {
	d := &disconnects{waiting: make(map[question]*disconnect)}
	var errs []error
	for network, address := range map[string]string{"udp4": "0.0.0.0:0", "udp6": "[::]:0"} {
		conns, err := datagram.Listen(network, address, 1)
		if err != nil { // a host may have one of the two alone
			errs = append(errs, err)
			continue
		}
		d.sockets = append(d.sockets, newSocket(conns, 0))
	}
	if len(d.sockets) == 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

func (d *disconnects) close() error {
	var errs []error
	for _, k := range d.sockets {
		errs = append(errs, k.close())
	}
	return errors.Join(errs...)
}

// readAnswers takes what comes to k until it is closed.
func (s *Server) readAnswers(k *socket) {
	r := k.conns[0].NewReader()
	for {
		if err := r.Read(); err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.readFailed(err)
			select { // rather late than busy
			case <-time.After(readPause):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		for data, from, ok := r.Next(); ok; data, from, ok = r.Next() {
			if n, a := s.disconnects.receive(data, from.Peer); n != nil {
				s.counters.packet(a.code)
				n.answer(a)
			}
		}
	}
}

// receive returns what came from a device, and what it is the answer to. Only
// the genuine answer to a request that waits counts; for everything else it
// returns nil, and it is met with silence.
func (d *disconnects) receive(raw []byte, from netip.AddrPort) (*disconnect, answered) {
	var p packet
	if p.parse(raw) != dropNone || p.code() != codeDisconnectACK && p.code() != codeDisconnectNAK {
		return nil, answered{}
	}
	d.mu.Lock()
	n := d.waiting[question{plainPeer(from), p.id()}]
	d.mu.Unlock()
	if n == nil || !n.key.answers(&p, n.raw[4:headerLen]) {
		return nil, answered{}
	}
	return n, answered{code: p.code(), cause: p.number(attrErrorCause)}
}

// answer hands a to who waits for it, unless it was answered already.
func (n *disconnect) answer(a answered) {
	select {
	case n.answered <- a:
	default:
	}
}

// plainPeer returns a without zone, and IPv4 as IPv4.
func plainPeer(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// answers reports whether p is the genuine reply to the request with this
// authenticator: its Response Authenticator (RFC 5176, section 2.3), and its
// Message-Authenticator where it has one.
func (k *key) answers(p *packet, requestAuthenticator []byte) bool {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	d.sum.Reset()
	d.sum.Write(p.raw[:4])
	d.sum.Write(requestAuthenticator)
	d.sum.Write(p.raw[headerLen:])
	d.sum.Write(k.secret)
	if !hmac.Equal(d.sum.Sum(d.out[:0]), p.authenticator()) || p.signatures > 1 {
		return false
	}
	if p.signatures == 0 {
		return true
	}
	value := p.signature + 2
	if p.raw[p.signature+1] != 2+digestLen {
		return false
	}
	d.mac.Reset()
	d.mac.Write(p.raw[:4])
	d.mac.Write(requestAuthenticator)
	d.mac.Write(p.raw[headerLen:value])
	d.mac.Write(d.zero[:])
	d.mac.Write(p.raw[value+digestLen:])
	return hmac.Equal(d.mac.Sum(d.out[:0]), p.raw[value:value+digestLen])
}

// EndSession asks the client of n to end it (RFC 5176), again and again for
// some seconds, and returns what the client said to it.
func (s *Server) EndSession(ctx context.Context, n session.Session) (session.Outcome, string) {
	c := s.table.Load().names[n.Client]
	h, ok := parseHandle(n.Handle)
	switch {
	case c == nil:
		return session.NotAsked, "it is no client any more"
	case c.DisconnectOff:
		return session.NotAsked, "disconnect is off for it"
	case !ok || s.disconnects == nil:
		return session.NotAsked, "nothing is known to ask it by"
	}
	to := c.disconnectTo(h.source)
	var all []*disconnect
	for _, k := range c.live(time.Now()) { // during a change, nobody knows which one the device has
		one := s.disconnects.begin(to, k, h, time.Now())
		if one == nil {
			continue
		}
		defer s.disconnects.end(one)
		all = append(all, one)
	}
	a, ok := s.askToEnd(ctx, all, &path{from: to, local: h.local})
	switch {
	case !ok:
		return session.Unanswered, ""
	case a.code == codeDisconnectACK:
		return session.Ended, ""
	case a.cause == causeNotFound, a.cause == causeResidualRemoved:
		return session.Ended, "it was not there any more"
	}
	return session.Refused, causeWords(a.cause)
}

// askToEnd sends all until one is answered; false if none is.
func (s *Server) askToEnd(ctx context.Context, all []*disconnect, to *path) (answered, bool) {
	if len(all) == 0 {
		return answered{}, false
	}
	first, second := all[0], all[len(all)-1]
	for _, wait := range disconnectWaits {
		for _, one := range all {
			s.sendDisconnect(one, to)
		}
		timer := time.NewTimer(wait)
		select {
		case a := <-first.answered:
			timer.Stop()
			return a, true
		case a := <-second.answered:
			timer.Stop()
			return a, true
		case <-ctx.Done():
			timer.Stop()
			return answered{}, false
		case <-s.ctx.Done():
			timer.Stop()
			return answered{}, false
		case <-timer.C:
		}
	}
	return answered{}, false
}

// sendDisconnect sends one to a device, from the address that it sends its
// accounting to: devices take requests from the servers that they know.
func (s *Server) sendDisconnect(one *disconnect, to *path) {
	for _, k := range s.disconnects.sockets {
		if k.addr().Addr().Unmap().Is4() != to.from.Addr().Is4() {
			continue
		}
		s.counters.packet(codeDisconnectRequest)
		err := k.send(one.raw, to)
		if err != nil && to.local.IsValid() { // the address is not ours any more
			err = k.send(one.raw, &path{from: to.from})
		}
		if err != nil {
			s.sent(1, err)
		}
	}
}

// disconnectTo returns where c takes Disconnect-Requests, when its accounting
// comes from source.
func (c *client) disconnectTo(source netip.Addr) netip.AddrPort {
	to, port := source, uint16(defaultDisconnectPort)
	if c.DisconnectTo.Addr().IsValid() {
		to = c.DisconnectTo.Addr().Unmap()
	}
	if c.DisconnectTo.Port() != 0 {
		port = c.DisconnectTo.Port()
	}
	return netip.AddrPortFrom(to, port)
}

// begin makes a request to a device, and waits for its answer until end; nil
// if 256 wait for that device already.
func (d *disconnects) begin(to netip.AddrPort, k *key, h parsedHandle, now time.Time) *disconnect {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range 256 {
		d.last++
		q := question{to, d.last}
		if d.waiting[q] != nil {
			continue
		}
		one := &disconnect{question: q, key: k, raw: disconnectRequest(q.id, k, h, now), answered: make(chan answered, 1)}
		d.waiting[q] = one
		return one
	}
	return nil
}

func (d *disconnects) end(one *disconnect) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, one.question)
}

// disconnectRequest makes a Disconnect-Request for the session of h, signed as
// an Accounting-Request is: RFC 5176, section 2.3.
func disconnectRequest(id byte, k *key, h parsedHandle, now time.Time) []byte {
	b := beginReply(codeDisconnectRequest, id)
	for _, a := range h.attributes {
		b.buf = append(b.buf, a...)
	}
	b.add(attrEventTimestamp, binary.BigEndian.AppendUint32(nil, uint32(now.Unix())))
	binary.BigEndian.PutUint16(b.buf[2:], uint16(len(b.buf)))
	k.signReport(b.buf, make([]byte, digestLen))
	return b.buf
}
