package pluginhost

import (
	"errors"
	"sync/atomic"
	"time"
)

// A breaker keeps calls from a plugin that answers none: after some failures
// that were not answers, calls fail at once, but for one in a while.
type breaker struct {
	failures atomic.Int64
	next     atomic.Int64 // when one may try, in nanoseconds since 1970
}

const (
	breakAfter = 5
	breakFor   = time.Second
)

var errBroken = errors.New("it answered none of the last calls")

func (b *breaker) allow(now time.Time) bool {
	if b.failures.Load() < breakAfter {
		return true
	}
	next := b.next.Load()
	return now.UnixNano() >= next && b.next.CompareAndSwap(next, now.Add(breakFor).UnixNano())
}

func (b *breaker) failed(now time.Time) {
	if b.failures.Add(1) >= breakAfter {
		b.next.Store(now.Add(breakFor).UnixNano())
	}
}

func (b *breaker) answered() { b.failures.Store(0) }

func (b *breaker) open() bool { return b.failures.Load() >= breakAfter }
