package radius

import "github.com/keywicket/keywicket/core"

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
	r.facts = facts{} // whole; one assignment of all is slower
	r.path, r.table, r.client, r.arrived = *from, t, c, now
	l.n++
	return l.n == len(l.requests)
}

// authenticate finds the key by which r is genuine, or refuses r; then it has
// none. first is as in client.authenticate.
func (s *Server) authenticate(r *request, first *[digestLen]byte) {
	p, c, source, now := &r.packet, r.client, r.source(), r.arrived
	k, why := c.authenticate(p, first, now)
	if why != dropNone {
		s.refuse(c, why, source, now)
		s.seeRequest(r, outcome{drop: why})
		return
	}
	r.key = k
	if k.old {
		s.usedOld(c, k, source, now)
	}
	if p.signatures == 1 && !r.accounting && !p.signedAnyway() && c.RequireMessageAuthenticator == RequireAuto {
		s.remember(c)
	}
}

// admit takes what is genuine: a repeat gets the answer of before, and what is
// new is decided here if that needs no time, or goes to the workers of its
// client. mask is as in reveal.
func (s *Server) admit(r *request, mask []byte, l *lane) {
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
			s.drop(r, dropStatusRate)
			return
		}
	} else if !s.begin(r, l) {
		return
	}
	if s.atOnce(r, mask, l) {
		return
	}
	gone, start := c.peer.queue.put(s.keep(r))
	if start {
		s.running.Add(1)
		go s.work(c.peer)
	}
	if gone != nil {
		s.give(&gone.request, dropQueueFull)
		s.trouble(&gone.request, "more requests than can be decided; the oldest was given up", nil)
		s.release(gone)
	}
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
			s.seeRequest(r, outcome{reply: reply, repeat: true})
			return false
		}
	}
	s.drop(r, why)
	return false
}

// lax says whether r may have an authenticator of before.
func (r *request) lax() bool {
	return r.client.AllowReplayedAuthenticator || r.packet.code() == codeAccountingRequest
}

// atOnce decides the Access-Request r in the reader, if the Verifier has the
// answer at hand too. What is anything but a well-formed PAP is left to the
// workers, while it says false, and so is everything while somebody watches. mask
// is as in reveal.
func (s *Server) atOnce(r *request, mask []byte, l *lane) bool {
	if s.prompt == nil || r.exchange == nil || s.watched() {
		return false
	}
	name, typed := r.onlyText(mask)
	if typed == nil || r.garbled || r.key.old && r.packet.signatures == 0 { // of that there is more to tell
		return false
	}
	l.attempt, l.grant = r.attemptOf(&l.spelled), core.Grant{Session: l.grant.Session[:0]}
	decided, err := s.prompt.VerifyText(&l.attempt, name, typed, &l.grant)
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
