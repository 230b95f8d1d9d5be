package core

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A SessionOutcome is what came of ending a session. The texts are fixed:
// programs outside of the project read them.
type SessionOutcome string

const (
	SessionWaits      SessionOutcome = "waiting"    // the client was asked, and has not answered yet
	SessionEnded      SessionOutcome = "ended"      // it is over
	SessionRefused    SessionOutcome = "refused"    // the client said no
	SessionUnanswered SessionOutcome = "unanswered" // the client did not answer
	SessionNotAsked   SessionOutcome = "not-asked"  // the client is not to be asked, or cannot be
)

// A SessionEnder ends sessions where they are; a bridge is one. Its method is
// called from many goroutines.
type SessionEnder interface {
	// EndSession has the client of s end it, and returns what came of it, in
	// words too where there is more to say. It asks for some seconds, and no
	// longer than ctx.
	EndSession(ctx context.Context, s Session) (SessionOutcome, string)
}

// A SessionEnding is a session that was to be ended, and what came of it.
type SessionEnding struct {
	Session
	Outcome SessionOutcome
	Detail  string
}

const (
	sessionSweep = time.Minute // between looks at every account that has sessions
	maxEnding    = 64          // sessions that are being ended at a time
	maxEndingOf  = 8           // of one client

	endingKept  = 10 * time.Minute // how long an outcome can be asked for
	maxEndings  = 1 << 14          // outcomes that are kept
	endAgain    = time.Minute      // before the second try; doubled with each
	endAgainMax = time.Hour
)

// An ending is a SessionEnding as it goes on.
type ending struct {
	SessionEnding
	of     *session
	began  time.Time
	cancel context.CancelFunc // nil before it is asked for
}

// stop ends the asking: the session is over.
func (n *ending) stop() {
	if n.cancel != nil {
		n.cancel()
	}
}

// endings are the sessions that are being ended, and those that were.
type endings struct {
	all     []*ending // oldest first
	waiting []*ending // not asked for yet
	active  int
	clients map[string]int // active ones
	changed chan struct{}  // closed at the next change
	ender   atomic.Pointer[SessionEnder]
}

func newEndings() endings {
	return endings{clients: make(map[string]int), changed: make(chan struct{})}
}

// EndSessionsWith has sessions ended by x once their app password does not hold
// any more, whoever or whatever took it away.
func (e *Engine) EndSessionsWith(x SessionEnder) {
	e.sessions.endings.ender.Store(&x)
	e.sessions.suspectAll()
}

// SessionEndings returns what came of the sessions of an account that were to
// be ended since then. It has those ended that are still to be, and waits for
// what comes of it as long as ctx lasts: what is not known by then is
// SessionWaits, and goes on.
func (e *Engine) SessionEndings(ctx context.Context, account string, since time.Time) ([]SessionEnding, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return nil, err
	}
	if err := e.checkSessions(ctx, name, since); err != nil {
		return nil, err
	}
	for {
		all, waiting, changed := e.sessions.endingsOf(name, since)
		if !waiting {
			return all, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return all, nil
		}
	}
}

// endingsOf returns the endings of an account since then, whether one is not
// decided, and what is closed when that changes.
func (s *sessions) endingsOf(name string, since time.Time) (all []SessionEnding, waiting bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.endings.all {
		if n.of.name == name && !n.began.Before(since) {
			all = append(all, n.SessionEnding)
			waiting = waiting || n.Outcome == SessionWaits
		}
	}
	return all, waiting, s.endings.changed
}

// suspect has the sessions of an account looked at soon.
func (s *sessions) suspect(name string) {
	s.mu.Lock()
	if len(s.accounts[name]) > 0 {
		s.suspects[name] = struct{}{}
	}
	s.mu.Unlock()
	s.look()
}

func (s *sessions) suspectAll() {
	s.mu.Lock()
	for name := range s.accounts {
		s.suspects[name] = struct{}{}
	}
	s.mu.Unlock()
	s.look()
}

func (s *sessions) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it is told already
	}
}

func (s *sessions) takeSuspects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.suspects {
		names = append(names, name)
	}
	clear(s.suspects)
	return names
}

// sessionLoop ends what does not hold any more, until ctx ends.
func (e *Engine) sessionLoop(ctx context.Context) {
	t := time.NewTicker(sessionSweep)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			e.sweepSessions()
		case <-e.sessions.wake:
		}
		for _, name := range e.sessions.takeSuspects() {
			if err := e.checkSessions(ctx, name, time.Time{}); err != nil {
				e.log.Warn("whether sessions are to be ended could not be found out; trying again", "err", err)
				break // the directory or the store does not answer: the next sweep asks again
			}
		}
		e.endSome(ctx)
	}
}

// sweepSessions forgets what is over, and has every account looked at: a date
// comes and a policy changes without a word.
func (e *Engine) sweepSessions() {
	now := e.opt.Now()
	e.sessions.expire(now)
	for _, key := range e.sessions.sweepEndings(now) {
		e.recordTamper("", &Error{Op: "read session", Kind: KindDamaged, Err: fmt.Errorf("the record %q cannot be opened", key)})
	}
	e.sessions.suspectAll()
}

// sweepEndings forgets old outcomes, and returns the keys of records that
// could not be opened.
func (s *sessions) sweepEndings(now time.Time) (damaged []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endings.all = slices.DeleteFunc(s.endings.all, func(n *ending) bool { return n.Outcome != SessionWaits && now.Sub(n.began) > endingKept })
	damaged, s.damaged = s.damaged, nil
	return damaged
}

// checkSessions begins to end those sessions of an account whose app password
// does not hold any more. Where a try has failed the next one waits, unless it
// was before since.
func (e *Engine) checkSessions(ctx context.Context, name string, since time.Time) error {
	if e.sessions.endings.ender.Load() == nil || !e.sessions.has(name) {
		return nil
	}
	a, err := e.lookup(ctx, name)
	switch KindOf(err) {
	case 0, KindNotFound:
	case KindDamaged: // nobody can tell; sign-in is refused, and what goes on goes on
		return nil
	default:
		return err
	}
	policy := e.policy.Load()
	e.sessions.begin(name, e.opt.Now(), since, func(t token) bool { return a != nil && e.holds(policy, a, t) })
	e.sessions.look()
	return nil
}

func (s *sessions) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accounts[name]) > 0
}

// begin notes the sessions of an account that are to be ended.
func (s *sessions) begin(name string, now, since time.Time, holds func(token) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for each := range s.accounts[name] {
		if each.ending != nil || holds(each.token) || now.Before(each.again) && !each.asked.Before(since) {
			continue
		}
		each.asked = now
		each.ending = &ending{SessionEnding: SessionEnding{Session: each.Session, Outcome: SessionWaits}, of: each, began: now}
		if len(s.endings.all) >= maxEndings {
			s.endings.all = s.endings.all[1:]
		}
		s.endings.all = append(s.endings.all, each.ending)
		s.endings.waiting = append(s.endings.waiting, each.ending)
	}
}

// endSome asks for as many endings as may go on at a time.
func (e *Engine) endSome(ctx context.Context) {
	for _, n := range e.sessions.takeEndings() {
		asked, cancel := context.WithCancel(ctx)
		e.sessions.started(n, cancel)
		e.done.Go(func() {
			defer cancel()
			outcome, detail := (*e.sessions.endings.ender.Load()).EndSession(asked, n.Session)
			if ctx.Err() != nil {
				return // the engine is being closed: the next one asks anew
			}
			e.sessions.ended(n, outcome, detail, e.opt.Now())
			e.recordEnding(n)
			e.sessions.look()
		})
	}
}

// started notes how n can be stopped, and does it where its session is over.
func (s *sessions) started(n *ending, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.cancel = cancel
	if s.all[n.of.key] != n.of {
		cancel()
	}
}

func (s *sessions) takeEndings() []*ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.endings
	var taken []*ending
	x.waiting = slices.DeleteFunc(x.waiting, func(n *ending) bool {
		if x.active >= maxEnding || x.clients[n.Client] >= maxEndingOf {
			return false
		}
		x.active++
		x.clients[n.Client]++
		taken = append(taken, n)
		return true
	})
	return taken
}

// ended notes what came of n.
func (s *sessions) ended(n *ending, outcome SessionOutcome, detail string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.endings
	x.active--
	if x.clients[n.Client]--; x.clients[n.Client] == 0 {
		delete(x.clients, n.Client)
	}
	if s.all[n.of.key] != n.of && outcome != SessionEnded { // the client has told that it is over
		outcome, detail = SessionEnded, ""
	}
	n.Outcome, n.Detail, n.of.ending = outcome, detail, nil
	if outcome == SessionEnded {
		s.end(n.of, now)
	} else {
		n.of.again = now.Add(min(endAgain<<min(n.of.tries, 10), endAgainMax))
		n.of.tries++
	}
	close(x.changed)
	x.changed = make(chan struct{})
}

// recordEnding tells the audit what came of n.
func (e *Engine) recordEnding(n *ending) {
	ev := Event{Kind: EventSessionNotEnded, Account: n.of.name, AppPassword: n.AppPassword, Device: n.Device, Detail: n.Client + ": " + string(n.Outcome)}
	if n.Outcome == SessionEnded {
		ev.Kind = EventSessionEnded
	}
	if n.Detail != "" {
		ev.Detail += ", " + n.Detail
	}
	e.record(context.Background(), ev)
}
