package session

import (
	"context"
	"slices"
	"sync"
	"time"
)

// An Outcome is what came of ending a session. The texts are fixed: programs
// outside of the project read them.
type Outcome string

const (
	Waits      Outcome = "waiting"    // the client was asked, and has not answered yet
	Ended      Outcome = "ended"      // it is over
	Refused    Outcome = "refused"    // the client said no
	Unanswered Outcome = "unanswered" // the client did not answer
	NotAsked   Outcome = "not-asked"  // the client is not to be asked, or cannot be
)

// An Ender ends sessions where they are; a bridge is one. Its method is called
// from many goroutines.
type Ender interface {
	// EndSession has the client of s end it, and returns what came of it, in
	// words too where there is more to say. It asks for some seconds, and no
	// longer than ctx.
	EndSession(ctx context.Context, s Session) (Outcome, string)
}

const (
	sweepEvery  = time.Minute // between looks at every account that has sessions
	maxActive   = 64          // sessions that are being ended at a time
	maxActiveOf = 8           // of one client

	checkTime = 10 * time.Second // for what Standing says of one account
	maxUnable = 8                // accounts in a row that nobody can tell of

	endingKept  = 10 * time.Minute // how long an outcome can be asked for
	maxEndings  = 1 << 14          // outcomes that are kept
	endAgain    = time.Minute      // before the second try; doubled with each
	endAgainMax = time.Hour

	// headStart is how long the node that heard of a session last has to end it before
	// another one asks: as long as an Ender takes, and as news of what came of it do.
	headStart = 15 * time.Second
)

// A request is a session that is to be ended, and what came of it.
type request struct {
	Session
	row    *row
	from   time.Time          // nobody is asked before
	over   time.Time          // when it was known what came of it
	cancel context.CancelFunc // nil before the client is asked
	spared bool               // its app password holds again
	lost   bool               // its session found no room any more: nobody knows whether it is over
}

// stop ends the asking: the session is over, or may go on.
func (q *request) stop() {
	if q.cancel != nil {
		q.cancel()
	}
}

// requests are the sessions that are being ended, and those that were.
type requests struct {
	ender   Ender      // nil: nobody can
	all     []*request // oldest first
	waiting []*request // not asked for yet
	active  int
	clients map[string]int // active ones
	changed chan struct{}  // closed at the next change
}

func newRequests() requests {
	return requests{clients: make(map[string]int), changed: make(chan struct{})}
}

// EndWith has sessions ended by x once their app password does not hold any
// more, whoever or whatever took it away; nil: by nobody.
func (t *Table) EndWith(x Ender) {
	t.mu.Lock()
	t.requests.ender = x
	t.mu.Unlock()
	t.SuspectAll()
}

// Endings returns what came of the sessions of an account that were to be ended
// since then, or still were to be then. It has those ended that are still to be,
// and waits for what comes of it as long as ctx lasts: what is not known by then
// Waits, and goes on. The error is one of Standing.
func (t *Table) Endings(ctx context.Context, account string, since time.Time) ([]Session, error) {
	if err := t.check(ctx, account, since); err != nil {
		return nil, err
	}
	for {
		all, waiting, changed := t.endingsOf(account, since)
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
func (t *Table) endingsOf(account string, since time.Time) (all []Session, waiting bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.requests.all {
		if q.Account == account && (q.Outcome == Waits || !q.over.Before(since)) {
			all = append(all, q.Session)
			waiting = waiting || q.Outcome == Waits
		}
	}
	return all, waiting, t.requests.changed
}

// endLoop has those asked for who are to be ended, until ctx ends. It counts them
// in done.
func (t *Table) endLoop(ctx context.Context, done *sync.WaitGroup) {
	for {
		begin, over, later := t.takeRequests()
		for _, q := range begin {
			done.Go(func() { t.ask(ctx, q) })
		}
		for _, q := range over {
			t.opt.Ended(q.Session)
		}
		var due <-chan time.Time
		if later > 0 {
			due = time.After(later)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-due:
		}
	}
}

func (t *Table) look() {
	select {
	case t.wake <- struct{}{}:
	default: // it is told already
	}
}

// sweepEndings forgets old outcomes.
func (t *Table) sweepEndings() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opt.Now()
	t.requests.all = slices.DeleteFunc(t.requests.all, func(q *request) bool { return q.Outcome != Waits && now.Sub(q.over) > endingKept })
}

// takeRequests returns those that may begin, as many as may go on at a time, those
// that nobody needs to be asked for any more, and how long it is until the next one of
// the others has its time; 0 where none waits for that.
func (t *Table) takeRequests() (begin, over []*request, later time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, now := &t.requests, t.opt.Now()
	x.waiting = slices.DeleteFunc(x.waiting, func(q *request) bool {
		switch {
		case t.all[q.row.key] != q.row, q.spared:
			t.settle(q, Unanswered, "")
			over = append(over, q)
			return true
		case now.Before(q.from):
			if wait := q.from.Sub(now); later == 0 || wait < later {
				later = wait
			}
			return false
		case x.active >= maxActive, x.clients[q.Client] >= maxActiveOf:
			return false
		}
		x.active++
		x.clients[q.Client]++
		begin = append(begin, q)
		return true
	})
	return begin, over, later
}

// ask has q ended, and tells what came of it.
func (t *Table) ask(ctx context.Context, q *request) {
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	outcome, detail := NotAsked, "there is nobody to ask it"
	if x := t.started(q, cancel); x != nil {
		outcome, detail = x.EndSession(asked, q.Session)
	}
	if ctx.Err() != nil {
		return // the end of Run: the next one asks anew
	}
	t.ended(q, outcome, detail)
	t.opt.Ended(q.Session)
	t.look()
}

// started notes how q can be stopped, does it where its session is over, and
// returns who asks, if anybody.
func (t *Table) started(q *request, cancel context.CancelFunc) Ender {
	t.mu.Lock()
	defer t.mu.Unlock()
	q.cancel = cancel
	if t.all[q.row.key] != q.row || q.spared {
		cancel()
	}
	return t.requests.ender
}

// ended notes what came of asking for q.
func (t *Table) ended(q *request, outcome Outcome, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &t.requests
	x.active--
	if x.clients[q.Client]--; x.clients[q.Client] == 0 {
		delete(x.clients, q.Client)
	}
	t.settle(q, outcome, detail)
}

// settle ends q with what came of asking for it. t.mu is held.
func (t *Table) settle(q *request, outcome Outcome, detail string) {
	q.row.request = nil
	switch {
	case t.all[q.row.key] != q.row && !q.lost: // the client has told that it is over
		outcome, detail = Ended, ""
	case outcome == Ended:
		t.end(q.row, false)
		t.writes.soon() // before another node asks, too
	case q.spared:
		outcome, detail = NotAsked, "its app password works again"
		t.suspects.told[q.Account] = struct{}{} // unless it was taken away once more meanwhile
		t.suspects.look()
	default:
		q.row.Outcome, q.row.Detail = outcome, detail
		q.row.again = t.opt.Now().Add(min(endAgain<<min(q.row.tries, 10), endAgainMax))
		q.row.tries++
	}
	q.Outcome, q.Detail, q.over = outcome, detail, t.opt.Now()
	close(t.requests.changed)
	t.requests.changed = make(chan struct{})
}
