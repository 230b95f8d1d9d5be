package pam

import (
	"sync"
	"time"
)

const (
	ownTries     = 5           // requests of a user for his own account ...
	ownPer       = time.Minute // ... in this time
	maxTriers    = 4096        // users that are remembered
	maxOwnAtOnce = 8           // connections of one such user
)

// A limiter counts what users ask for themselves: by the minute, and at once.
type limiter struct {
	now func() time.Time

	mu     sync.Mutex
	tries  map[uint32][]time.Time // those of the last minute
	atOnce map[uint32]int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, tries: map[uint32][]time.Time{}, atOnce: map[uint32]int{}}
}

// try takes one of the tries that uid has in a minute.
func (l *limiter) try(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := l.now().Add(-ownPer)
	recent := after(l.tries[uid], start)
	if len(recent) >= ownTries {
		l.tries[uid] = recent
		return false
	}
	if _, known := l.tries[uid]; !known && len(l.tries) >= maxTriers {
		for other, times := range l.tries {
			if len(after(times, start)) == 0 {
				delete(l.tries, other)
			}
		}
		if len(l.tries) >= maxTriers {
			return false
		}
	}
	l.tries[uid] = append(recent, l.now())
	return true
}

// after returns the times after start, of a list in order.
func after(times []time.Time, start time.Time) []time.Time {
	for len(times) > 0 && !times[0].After(start) {
		times = times[1:]
	}
	return times
}

// enter takes one of the connections that uid has at once; leave gives it back.
func (l *limiter) enter(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.atOnce[uid] >= maxOwnAtOnce {
		return false
	}
	l.atOnce[uid]++
	return true
}

func (l *limiter) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.atOnce[uid]--; l.atOnce[uid] <= 0 {
		delete(l.atOnce, uid)
	}
}
