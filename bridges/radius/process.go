package radius

import (
	"context"
	"errors"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// work decides jobs of p until none waits.
func (s *Server) work(p *peer) {
	defer s.running.Done()
	for j := p.queue.get(); j != nil; j = p.queue.get() {
		s.attend(j, s.process)
	}
}

// attend does j, whose time began when it arrived, and survives it. Then j is over.
func (s *Server) attend(j *job, do func(ctx context.Context, r *request)) {
	defer s.release(j)
	defer func() {
		if v := recover(); v != nil {
			s.give(&j.request, dropPanic)
			s.panicked(v)
		}
	}()
	ctx, cancel := context.WithDeadline(s.ctx, j.arrived.Add(j.table.config.attemptTimeout()))
	defer cancel()
	do(ctx, &j.request)
}

// process decides what is no report.
func (s *Server) process(ctx context.Context, r *request) {
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
		s.drop(r, dropNotReady)
		s.trouble(r, "Status-Server not answered: attempts cannot be decided", errors.Join(err, ctx.Err()))
		return
	}
	reply, err := r.alive()
	if err != nil || len(reply) > len(r.packet.raw) {
		s.drop(r, dropAmplification)
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

// late reports whether ctx is over, also in the moment before its timer runs.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}
