package radius

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// An action is what a device sees of a verdict.
type action uint8

const (
	actionDrop   action = iota // silence; a repeat is tried anew
	actionHush                 // silence, for repeats too
	actionReject               // Access-Reject, when it is time
	actionAccept               // Access-Accept, at once
)

// answer turns a verdict into what the device sees. Only a nil error accepts.
// When the fault is ours we stay silent: the device then asks its next server.
func answer(err error) action {
	if err == nil {
		return actionAccept
	}
	switch core.KindOf(err) {
	case core.KindDenied, core.KindInvalid, core.KindNotFound, core.KindDamaged:
		return actionReject
	case core.KindLimited:
		return actionHush
	}
	return actionDrop
}

// work decides requests of p until none waits.
func (s *Server) work(p *peer) {
	defer s.running.Done()
	for r := p.queue.get(); r != nil; r = p.queue.get() {
		s.process(r)
	}
}

// process decides one request, and survives it.
func (s *Server) process(r *request) {
	defer s.release(r)
	defer func() {
		if v := recover(); v != nil {
			s.give(r, dropPanic)
			s.panicked(v)
		}
	}()
	ctx, cancel := context.WithDeadline(s.ctx, r.arrived.Add(r.table.config.attemptTimeout()))
	defer cancel()
	switch {
	case late(ctx):
		s.give(r, dropLate)
	case r.packet.code() == codeStatusServer:
		s.status(ctx, r)
	default:
		s.decide(ctx, r)
	}
}

// status answers while attempts can be decided, and is silent otherwise, so
// that devices go to their next server (RFC 5997, section 2.1).
func (s *Server) status(ctx context.Context, r *request) {
	err := s.verifier.Ready(ctx)
	if err != nil || late(ctx) {
		s.counters.drop(dropNotReady)
		s.seeRequest(r, outcome{drop: dropNotReady})
		s.trouble(r, "Status-Server not answered: attempts cannot be decided", errors.Join(err, ctx.Err()))
		return
	}
	reply, err := r.alive()
	if err != nil || len(reply) > len(r.packet.raw) {
		s.counters.drop(dropAmplification)
		s.seeRequest(r, outcome{drop: dropAmplification})
		return
	}
	s.send(&r.path, reply)
	s.seeRequest(r, outcome{reply: reply})
}

// decide asks the Verifier, and answers.
func (s *Server) decide(ctx context.Context, r *request) {
	attempt := r.attempt()
	if r.key.old && r.packet.signatures == 0 { // a signed one was noted when it came
		s.usedOld(r.client, r.key, r.source(), r.arrived)
	}
	grant, err := s.verifier.Verify(ctx, attempt)
	clear(r.password[:])
	if err == nil && !grantable(attempt.Proof) {
		err = errors.New("attempt that nobody can have checked was granted")
	}
	r.decided, r.refused, r.used = true, err, grant.AppPassword
	if r.garbled {
		s.unread(r)
	}
	if m, ok := attempt.Proof.(proof.Unsupported); ok {
		s.untaken(r, m.Method())
	}
	if late(ctx) {
		s.give(r, dropLate)
		s.trouble(r, "attempt not decided in time", err)
		return
	}
	s.conclude(r, &attempt, &grant, err, nil)
}

// conclude answers r, whose attempt a was decided with g or err. What can be
// sent at once goes out on l, if there is one.
func (s *Server) conclude(r *request, a *core.Attempt, g *core.Grant, err error, l *lane) {
	switch answer(err) {
	case actionAccept:
		s.accept(r, g, l)
	case actionReject:
		s.reject(r, a.Account, l)
	case actionHush:
		s.hush(r, dropThrottled)
	default:
		why := dropInternal
		switch {
		case errors.Is(err, errReplyUnknown):
			why = dropReplyUnknown
		case core.KindOf(err) == core.KindUnavailable:
			why = dropUnavailable
		}
		s.give(r, why)
		s.trouble(r, "attempt not decided", err)
	}
	if s.log.Enabled(s.ctx, slog.LevelDebug) {
		s.log.DebugContext(s.ctx, "attempt", "client", r.client.Name, "account", r.table.name(a.Account),
			"source", r.source(), "granted", err == nil, "reason", core.ReasonOf(err))
	}
}

// untaken logs that a device used a method that it may not use, which to its
// owner looks like a wrong password.
func (s *Server) untaken(r *request, m proof.Method) {
	if held, ok := s.faults.pass(r.source(), time.Now()); ok {
		s.log.Warn("radius: attempt refused: "+r.client.whyNot(m), "client", r.client.Name, "source", r.source(), "method", m, "held_back", held)
	}
}

// unread logs that the password of a request is no text. Without a
// Message-Authenticator nothing else shows that the shared secrets differ.
func (s *Server) unread(r *request) {
	if held, ok := s.faults.pass(r.source(), time.Now()); ok {
		s.log.Warn("radius: the User-Password of a request is no text. Most often the shared secret here is not the one at the client; a Message-Authenticator would tell",
			"client", r.client.Name, "source", r.source(), "held_back", held)
	}
}

// late reports whether ctx is over, also in the moment before its timer runs.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

func (s *Server) accept(r *request, g *core.Grant, l *lane) {
	reply, err := r.accept(g)
	if err != nil {
		why := dropReplyTooLarge
		if errors.Is(err, errReplyUnknown) {
			why = dropReplyUnknown
		}
		s.give(r, why)
		s.trouble(r, "Access-Accept not sent", err)
		return
	}
	s.complete(r, reply, 0, l)
}

// complete has reply signed, and sent at its time. That comes with the others where
// there is a lane.
func (s *Server) complete(r *request, reply []byte, wait time.Duration, l *lane) {
	r.reply, r.wait = reply, wait
	if l != nil {
		l.replied = append(l.replied, r)
		return
	}
	r.key.sign(reply, r.packet.authenticator())
	s.dispatch(r, nil)
}

// dispatch sends the reply of r, which is signed: an Access-Reject when it is time,
// and if its client has not had too many.
func (s *Server) dispatch(r *request, l *lane) {
	p, now, due := r.client.peer, l.clock(), r.arrived.Add(r.wait)
	switch {
	case r.reply[0] == codeAccessAccept:
		s.deliver(r, r.reply, l)
	case r.wait >= wheelStep && due.After(now): // less is no delay
		if !s.delays.add(due, r.client.mostDelayed(r.wait), r.reply, &r.path, p, r.exchange) {
			s.hush(r, dropDelayFull)
			return
		}
		r.exchange = nil // it waits with the reply
		s.seeRequest(r, outcome{reply: r.reply, wait: r.wait})
	case !p.failures.pass(now):
		s.hush(r, dropFailureRate)
	default:
		s.deliver(r, r.reply, l)
	}
}

// deliver ends the exchange of r with reply, and sends it.
func (s *Server) deliver(r *request, reply []byte, l *lane) {
	if !s.answered(r, reply, l.clock()) {
		return
	}
	if l == nil && r.client.peer.queue.waits() {
		s.sendSoon(&r.path, reply)
	} else {
		s.reply(l, reply, &r.path)
	}
	s.seeRequest(r, outcome{reply: reply})
}

// answered ends the exchange of r with reply, and says whether its device still
// waits for it.
func (s *Server) answered(r *request, reply []byte, now time.Time) bool {
	ok := r.client.peer.history.answer(r.exchange, reply, now)
	r.exchange = nil // it is the history's now
	if !ok {
		s.counters.drop(dropSuperseded)
	}
	return ok
}

// reject has the same Access-Reject sent for every reason, RejectDelay and a
// jitter of the account after the request came.
func (s *Server) reject(r *request, account string, l *lane) {
	reply, err := r.reject()
	if err != nil || len(reply) > len(r.packet.raw) {
		s.hush(r, dropAmplification)
		return
	}
	wait := r.table.config.rejectDelay()
	if most := uint64(wait / 4); most > 0 {
		wait += time.Duration(s.verifier.Jitter(account) % (most + 1))
	}
	s.complete(r, reply, wait, l)
}

// mostDelayed is how many Rejects of c may wait, each for wait: as many as may
// be sent until then.
func (c *client) mostDelayed(wait time.Duration) int32 {
	return max(maxDelayedPerPeer, int32(float64(c.failures())*wait.Seconds()*1.25))
}

// sendDelayed puts a Reject that is due to those that go out next, if its client
// has not had too many.
func (s *Server) sendDelayed(d *delayed) {
	now := time.Now()
	if !d.peer.failures.pass(now) {
		s.counters.drop(dropFailureRate)
		d.peer.history.answer(d.exchange, nil, now)
		return
	}
	if !d.peer.history.answer(d.exchange, d.reply, now) {
		s.counters.drop(dropSuperseded)
		return
	}
	s.put(&d.path, d.reply)
}

// give gives r up in silence; its repeat is tried anew.
func (s *Server) give(r *request, why drop) {
	s.counters.drop(why)
	s.seeRequest(r, outcome{drop: why})
	if r.exchange != nil {
		r.client.peer.history.forget(r.exchange)
		r.exchange = nil
	}
}

// hush ends the exchange of r in a silence that lasts.
func (s *Server) hush(r *request, why drop) {
	s.counters.drop(why)
	s.seeRequest(r, outcome{drop: why})
	r.client.peer.history.answer(r.exchange, nil, time.Now())
	r.exchange = nil
}

// trouble logs what is our fault or that of what is behind us.
func (s *Server) trouble(r *request, message string, err error) {
	now := time.Now()
	held, ok := s.troubles.pass(r.source(), now)
	if !ok {
		return
	}
	text := ""
	if err != nil {
		text = cut(err.Error(), maxLogReason)
	}
	s.log.Error("radius: "+message, "client", r.client.Name, "source", r.source(), "err", text, "held_back", held)
}

// panicked logs a panic without its value, which may hold a secret.
func (s *Server) panicked(v any) {
	text := "a panic"
	if err, ok := v.(runtime.Error); ok {
		text = err.Error()
	}
	s.log.Error("radius: request given up after a panic", "err", text, "stack", string(debug.Stack()))
}
