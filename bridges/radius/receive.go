package radius

import (
	"net/netip"
	"time"
)

// handle does everything that comes before an attempt with one datagram alone.
func (s *Server) handle(datagram []byte, from *path, l *lane) {
	s.open(datagram, from, l)
	s.admitAll(l)
}

// open puts a datagram to those that are at hand, if a client may have sent it.
// Where it says that no more have room, admitAll comes next. Until then datagram is
// not changed; from is free again at once.
func (s *Server) open(datagram []byte, from *path, l *lane) (full bool) {
	defer func() {
		if v := recover(); v != nil {
			s.counters.drop(dropPanic)
			s.panicked(v)
		}
	}()
	r := &l.requests[l.n]
	p := &r.packet
	now := l.clock()
	source := from.source()
	t := s.table.Load()
	c := l.client(t, source)
	if c == nil {
		s.refuse(nil, dropUnknownClient, source, now)
		s.see(t, nil, from, datagram, outcome{drop: dropUnknownClient})
		return false
	}
	why := p.parse(datagram)
	if why == dropNone {
		s.counters.packet(p.code())
		if !from.takes(p.code()) {
			why = dropCode
		}
	}
	if why != dropNone {
		s.refuse(c, why, source, now)
		s.see(t, c, from, datagram, outcome{drop: why})
		return false
	}
	r.path, r.table, r.client, r.key, r.exchange, r.arrived = *from, t, c, nil, nil, now
	l.n++
	return l.n == len(l.requests)
}

// authenticate finds the key by which r is genuine, or refuses r; then it has
// none. first is what its Message-Authenticator is by the first key, if it has one.
func (s *Server) authenticate(r *request, first *[digestLen]byte) {
	p, c, source, now := &r.packet, r.client, r.source(), r.arrived
	k, why := c.authenticate(p, first, now)
	if why != dropNone {
		s.refuse(c, why, source, now)
		s.see(r.table, c, &r.path, p.raw, outcome{drop: why})
		return
	}
	r.key = k
	if k.old {
		s.usedOld(c, k, source, now)
	}
	if p.signatures == 1 && !r.accounting && c.RequireMessageAuthenticator == RequireAuto {
		s.remember(c)
	}
}

// admit takes what is genuine: a repeat gets the answer of before, and what is
// new is decided here if that needs no time, or goes to the workers of its
// client. r is the lane's.
func (s *Server) admit(r *request, l *lane) {
	defer func() {
		if v := recover(); v != nil {
			s.give(r, dropPanic)
			s.panicked(v)
		}
	}()
	p, c := &r.packet, r.client
	if p.code() == codeAccountingRequest {
		s.admitReport(r, l)
		return
	}
	if p.code() == codeStatusServer {
		if !c.peer.statuses.pass(r.arrived) {
			s.counters.drop(dropStatusRate)
			s.see(r.table, c, &r.path, p.raw, outcome{drop: dropStatusRate})
			return
		}
	} else if !s.begin(r, l) {
		return
	}
	if s.atOnce(r, l) {
		return
	}
	kept := s.keep(r)
	gone, start := c.peer.queue.put(kept)
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

// keep returns a copy of r, which is a lane's, for those who take longer. The
// exchange goes with it.
func (s *Server) keep(r *request) *request {
	kept := s.requests.Get().(*request)
	kept.path, kept.table, kept.client, kept.key, kept.exchange, kept.arrived = r.path, r.table, r.client, r.key, r.exchange, r.arrived
	kept.packet = r.packet
	kept.packet.move(kept.buf[:copy(kept.buf, r.packet.raw)])
	r.exchange = nil
	return kept
}

// begin begins an exchange for r if it is new, and deals with every other one.
func (s *Server) begin(r *request, l *lane) bool {
	p, c, now := &r.packet, r.client, r.arrived
	verdict, e, reply := c.peer.history.take(slotOf(&r.path, p.id()), authenticator(p.authenticator()), r.lax(), now, l.repeated[:0])
	why := dropNone
	switch verdict {
	case verdictNew:
		r.exchange = e
		return true
	case verdictReplay:
		why = dropReplay
		s.alert(c, r.source(), now)
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
			s.reply(l, reply, &r.path)
			s.see(r.table, c, &r.path, p.raw, outcome{reply: reply, repeat: true})
			return false
		}
	}
	s.counters.drop(why)
	s.see(r.table, c, &r.path, p.raw, outcome{drop: why})
	return false
}

// lax says whether r may have an authenticator of before.
func (r *request) lax() bool {
	return r.client.AllowReplayedAuthenticator || r.packet.code() == codeAccountingRequest
}

// atOnce decides the Access-Request r in the reader, if the Verifier has the
// answer at hand too. What is anything but a well-formed PAP is left to the
// workers, while it says false, and so is everything while somebody watches.
func (s *Server) atOnce(r *request, l *lane) bool {
	if s.prompt == nil || r.exchange == nil || s.watched() {
		return false
	}
	r.garbled = false
	name, typed := r.onlyText()
	if typed == nil || r.garbled || r.key.old && r.packet.signatures == 0 { // of that there is more to tell
		clear(r.password[:])
		clear(r.mask[:])
		return false
	}
	l.attempt = r.attemptOf(&l.spelled)
	decided, err := s.prompt.VerifyText(&l.attempt, name, typed, &l.grant)
	clear(r.password[:])
	clear(r.mask[:])
	if decided {
		s.conclude(r, &l.attempt, &l.grant, err, l)
	}
	return decided
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
