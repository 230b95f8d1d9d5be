package radius

import (
	"context"
	"sync"
	"time"
)

const (
	maxDelayed        = 1 << 16 // Rejects that wait, of all clients
	maxDelayedPerPeer = 256     // 200 a second, each for at most 1.25 s

	wheelStep = time.Millisecond
	wheelLen  = 8192 // steps: more than the longest delay, which is 6.25 s

	// grain is how long whoever sends them sleeps at least, so that many Rejects
	// do not wake it one by one.
	grain = wheelStep

	// fine is what is waited for at last, precisely. A timer of Go's is late by up to a
	// millisecond, and by how much depends on when it was set: so the time of a Reject
	// would tell how long the decision took, and that which names exist.
	fine = 2 * time.Millisecond
)

// A delayed is an Access-Reject that waits for its time.
type delayed struct {
	due      time.Time
	reply    []byte
	path     path
	peer     *peer
	exchange *exchange
	next     *delayed // of the same step, or that are due together
}

// delays holds every Reject back until it is due. What does not fit is never
// sent: an early one would tell which names exist.
//
// It is a wheel of lists, each of a millisecond, so that adding and taking one
// costs the same however many wait.
type delays struct {
	mu     sync.Mutex
	wheel  [wheelLen]*delayed
	begun  time.Time
	step   int64 // that is looked at next; what is before it was sent
	n      int
	spare  *delayed
	first  time.Time     // that run waits for; zero: it waits for nothing
	sooner chan struct{} // there is one before that
}

func newDelays() *delays { return &delays{begun: time.Now(), sooner: make(chan struct{}, 1)} }

func (q *delays) stepOf(t time.Time) int64 { return int64(t.Sub(q.begun) / wheelStep) }

// add has a copy of reply sent at due, or reports that there is no room: of the
// peer for most.
func (q *delays) add(due time.Time, most int32, reply []byte, to *path, p *peer, e *exchange) bool {
	if p.delayed.Add(1) > most {
		p.delayed.Add(-1)
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n >= maxDelayed {
		p.delayed.Add(-1)
		return false
	}
	d := q.spare
	if d == nil {
		d = new(delayed)
	} else {
		q.spare = d.next
	}
	d.due, d.reply, d.path, d.peer, d.exchange = due, append(d.reply[:0], reply...), *to, p, e
	list := &q.wheel[max(q.stepOf(due), q.step)%wheelLen]
	d.next, *list = *list, d
	q.n++
	if q.first.IsZero() || due.Before(q.first) {
		select {
		case q.sooner <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns those that are due, and how long it is until there are others;
// an hour when nothing waits.
func (q *delays) take(now time.Time) (due *delayed, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.stepOf(now)
	for n := 0; q.n > 0 && q.step <= last && n < wheelLen; n++ { // more would be the same lists again
		at := &q.wheel[q.step%wheelLen]
		for *at != nil {
			d := *at
			if d.due.After(now) {
				at = &d.next
				continue
			}
			*at = d.next
			d.next, due = due, d
			q.n--
			d.peer.delayed.Add(-1)
		}
		if q.step == last {
			break // some of it may be due later
		}
		q.step++
	}
	q.step = max(q.step, last)
	q.first = time.Time{}
	if q.n == 0 {
		return due, time.Hour
	}
	q.first = q.soonest()
	return due, q.first.Sub(now)
}

// soonest returns when the next one is due. There is one.
func (q *delays) soonest() (first time.Time) {
	for n := range int64(wheelLen) {
		for d := q.wheel[(q.step+n)%wheelLen]; d != nil; d = d.next {
			if first.IsZero() || d.due.Before(first) {
				first = d.due
			}
		}
		if !first.IsZero() {
			break
		}
	}
	return first
}

// reuse takes back what was sent.
func (q *delays) reuse(d *delayed) {
	d.path, d.peer, d.exchange = path{}, nil, nil
	q.mu.Lock()
	defer q.mu.Unlock()
	d.next, q.spare = q.spare, d
}

// run calls send for each at its time, and flush after those of one moment, until
// ctx ends. What waits then is never sent.
func (q *delays) run(ctx context.Context, send func(*delayed), flush func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		all, wait := q.take(time.Now())
		some := all != nil
		for all != nil {
			d := all
			all = d.next
			send(d)
			q.reuse(d)
		}
		if some {
			flush()
			wait = max(wait, grain)
		}
		if wait > fine {
			wait -= fine
		} else {
			end := time.Now().Add(wait)
			pause(wait)
			wait = time.Until(end) // nothing, but where a test has a clock of its own
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-q.sooner:
		case <-ctx.Done():
			return
		}
	}
}
