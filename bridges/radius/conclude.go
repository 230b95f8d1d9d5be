package radius

import (
	"errors"
	"log/slog"
	"time"

	"github.com/keywicket/keywicket/core"
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
		s.give(r, inability(err))
		s.trouble(r, "attempt not decided", err)
	}
	if s.log.Enabled(s.ctx, slog.LevelDebug) {
		s.log.DebugContext(s.ctx, "attempt", "client", r.client.Name, "account", r.table.name(a.Account),
			"source", r.source(), "granted", err == nil, "reason", core.ReasonOf(err))
	}
}

// inability is what err keeps us from.
func inability(err error) drop {
	switch {
	case errors.Is(err, errReplyUnknown):
		return dropReplyUnknown
	case errors.Is(err, errReplyTooLarge):
		return dropReplyTooLarge
	case core.KindOf(err) == core.KindUnavailable:
		return dropUnavailable
	}
	return dropInternal
}

// accept has an Access-Accept sent at once. That it has room was said before it was
// granted.
func (s *Server) accept(r *request, g *core.Grant, l *lane) {
	reply, err := r.accept(g)
	if err != nil {
		s.give(r, inability(err))
		s.trouble(r, "Access-Accept not sent", err)
		return
	}
	s.complete(r, reply, 0, l)
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

// complete has reply signed, and sent at its time. That comes with the others where
// there is a lane.
func (s *Server) complete(r *request, reply []byte, wait time.Duration, l *lane) {
	a := response{to: r, reply: reply, wait: wait}
	if l != nil {
		l.replies = append(l.replies, a)
		return
	}
	r.key.sign(reply, r.packet.authenticator())
	s.dispatch(a, nil)
}

// dispatch sends a, which is signed: an Access-Reject when it is time, and if its
// client has not had too many.
func (s *Server) dispatch(a response, l *lane) {
	r := a.to
	p, now, due := r.client.peer, l.clock(), r.arrived.Add(a.wait)
	switch {
	case a.reply[0] == codeAccessAccept:
		s.deliver(r, a.reply, l)
	case a.wait >= wheelStep && due.After(now): // less is no delay
		if !s.delays.add(due, r.client.mostDelayed(a.wait), a.reply, &r.path, p, r.exchange) {
			s.hush(r, dropDelayFull)
			return
		}
		r.exchange = nil // it waits with the reply
		s.seeRequest(r, outcome{reply: a.reply, wait: a.wait})
	case !p.failures.pass(now):
		s.hush(r, dropFailureRate)
	default:
		s.deliver(r, a.reply, l)
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

// drop counts r, which gets no answer, and shows it to those who look on.
func (s *Server) drop(r *request, why drop) {
	s.counters.drop(why)
	s.seeRequest(r, outcome{drop: why})
}

// give gives r up in silence; its repeat is tried anew.
func (s *Server) give(r *request, why drop) {
	s.drop(r, why)
	if r.exchange != nil {
		r.client.peer.history.forget(r.exchange)
		r.exchange = nil
	}
}

// hush ends the exchange of r in a silence that lasts.
func (s *Server) hush(r *request, why drop) {
	s.drop(r, why)
	r.client.peer.history.answer(r.exchange, nil, time.Now())
	r.exchange = nil
}
