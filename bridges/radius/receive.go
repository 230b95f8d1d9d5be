package radius

import (
	"net/netip"
	"time"
)

// handle does everything that comes before an attempt, in the reader of a
// socket. datagram, from and l are the reader's, and are free again when handle
// returns.
func (s *Server) handle(datagram []byte, from *path, l *lane) {
	p := &l.request.packet
	defer func() {
		if v := recover(); v != nil {
			s.give(&l.request, dropPanic)
			s.panicked(v)
		}
	}()
	l.request.exchange = nil
	now := l.clock()
	t := s.table.Load()
	source := from.source()
	c := t.client(source)
	if c == nil {
		s.refuse(nil, dropUnknownClient, source, now)
		s.see(t, nil, from, datagram, outcome{drop: dropUnknownClient})
		return
	}
	why := p.parse(datagram)
	if why == dropNone {
		s.counters.packet(p.code())
		if !from.takes(p.code()) {
			why = dropCode
		}
	}
	var k *key
	if why == dropNone {
		k, why = c.authenticate(p, now)
	}
	if why != dropNone {
		s.refuse(c, why, source, now)
		s.see(t, c, from, datagram, outcome{drop: why})
		return
	}
	if k.old {
		s.usedOld(c, k, source, now)
	}
	if p.signatures == 1 && !from.accounting && c.RequireMessageAuthenticator == RequireAuto {
		s.remember(c)
	}
	s.admit(t, c, k, l, from, now)
}

// admit takes what is genuine: a repeat gets the answer of before, and what is
// new is decided here if that needs no time, or goes to the workers of its
// client.
func (s *Server) admit(t *table, c *client, k *key, l *lane, from *path, now time.Time) {
	p := &l.request.packet
	var e *exchange
	if p.code() == codeAccountingRequest {
		s.admitReport(t, c, k, l, from, now)
		return
	}
	if p.code() == codeStatusServer {
		if !c.peer.statuses.pass(now) {
			s.counters.drop(dropStatusRate)
			s.see(t, c, from, p.raw, outcome{drop: dropStatusRate})
			return
		}
	} else if e = s.exchange(t, c, l, from, now); e == nil {
		return
	}
	if s.atOnce(t, c, k, e, l, from, now) {
		return
	}
	r := s.requests.Get().(*request)
	r.path, r.table, r.client, r.key, r.exchange, r.arrived = *from, t, c, k, e, now
	r.packet = *p
	r.packet.move(r.buf[:copy(r.buf[:], p.raw)])
	gone, start := c.peer.queue.put(r)
	if start {
		s.running.Add(1)
		go s.work(c.peer)
	}
	if gone != nil {
		s.give(gone, dropQueueFull)
		s.trouble(gone, "more requests than can be decided; the oldest was given up", nil)
		s.release(gone)
	}
}

// exchange begins one for a new request, and deals with every other one.
func (s *Server) exchange(t *table, c *client, l *lane, from *path, now time.Time) *exchange {
	p := &l.request.packet
	lax := c.AllowReplayedAuthenticator || p.code() == codeAccountingRequest
	verdict, e, reply := c.peer.history.take(slotOf(from, p.id()), authenticator(p.authenticator()), lax, now, l.repeated[:0])
	why := dropNone
	switch verdict {
	case verdictNew:
		return e
	case verdictReplay:
		why = dropReplay
		s.alert(c, from.source(), now)
	case verdictFull:
		why = dropCacheFull
	case verdictRepeat:
		l.repeated = reply
		switch {
		case len(reply) == 0:
			why = dropDuplicate
		case reply[0] == codeAccessReject && !c.peer.failures.pass(now):
			why = dropFailureRate
		default:
			s.reply(l, reply, from)
			s.see(t, c, from, p.raw, outcome{reply: reply, repeat: true})
			return nil
		}
	}
	s.counters.drop(why)
	s.see(t, c, from, p.raw, outcome{drop: why})
	return nil
}

// atOnce decides the Access-Request at hand in the reader, if the Verifier has
// the answer at hand too. What is anything but a well-formed PAP is left to the
// workers, while it says false, and so is everything while somebody watches.
func (s *Server) atOnce(t *table, c *client, k *key, e *exchange, l *lane, from *path, now time.Time) bool {
	if s.prompt == nil || e == nil || s.watched() || k.old && l.request.packet.signatures == 0 {
		return false
	}
	r := &l.request
	r.path, r.table, r.client, r.key, r.exchange, r.arrived = *from, t, c, k, e, now
	name, typed := r.onlyText()
	if typed != nil {
		l.attempt = r.attemptOf(&l.spelled)
		decided, err := s.prompt.VerifyText(&l.attempt, name, typed, &l.grant)
		clear(r.password[:])
		if decided {
			s.conclude(r, &l.attempt, &l.grant, err, l)
			return true
		}
	}
	r.exchange = nil // it goes with the request
	return false
}

// remember turns RequireAuto on for good.
func (s *Server) remember(c *client) {
	if c.peer.signed.Swap(true) || s.memory == nil {
		return
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		if err := s.memory.SetSeen(c.Name); err != nil {
			s.log.Error("radius: client sends Message-Authenticator, but that could not be kept; after a restart it is not required of it again until it sends one",
				"client", c.Name, "err", cut(err.Error(), maxLogReason))
		}
	}()
}

// refuse counts a packet that is answered with silence, and logs it where its
// source has not had a line for a while.
func (s *Server) refuse(c *client, why drop, source netip.Addr, now time.Time) {
	s.counters.drop(why)
	if c == nil {
		if held, ok := s.strangers.pass(source, now); ok {
			s.log.Warn("radius: request from an address of no client; if it is a device of yours, add a client for it",
				"source", source, "held_back", held)
		}
		return
	}
	held, ok := s.faults.pass(source, now)
	if !ok {
		return
	}
	s.log.Warn("radius: request dropped: "+refusal(why), "client", c.Name, "source", source, "reason", why.String(), "held_back", held)
}

// refusal says what happened and what to do about it.
func refusal(why drop) string {
	switch why {
	case dropNoMessageAuthenticator:
		return `it carries no Message-Authenticator, and to the client this server looks dead. Turn Message-Authenticator on at the client (best), or, if it cannot send one, set require_message_authenticator to false or "auto" for it here`
	case dropMessageAuthenticator:
		return "its Message-Authenticator is wrong. Most often the shared secret here is not the one at the client; otherwise somebody forges"
	case dropProxyState:
		return "it carries a Proxy-State but no Message-Authenticator (CVE-2024-3596). Let the proxy in between send Message-Authenticator"
	case dropCode:
		return "it is nothing that belongs on this port. Look at which port the client sends what to: sign-ins to radius.listen, accounting to radius.accounting"
	case dropRequestAuthenticator:
		return "its Request Authenticator is wrong. Most often the shared secret here is not the one at the client; otherwise somebody forges"
	}
	return "it is no well-formed RADIUS packet"
}

// alert logs a Request Authenticator that came before.
func (s *Server) alert(c *client, source netip.Addr, now time.Time) {
	if held, ok := s.alerts.pass(source, now); ok {
		s.log.Error("radius: request dropped: its Request Authenticator was used in the last 5 minutes. Either somebody sends recorded requests, or the client makes bad random numbers; then set allow_repeated_authenticator for it",
			"client", c.Name, "source", source, "held_back", held)
	}
}
