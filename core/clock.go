package core

import (
	"sync/atomic"
	"time"
)

// A clock tells the time that expiry goes by: the wall clock, but never earlier
// than it was seen before, so that a clock set back revives nothing. Delays
// and deadlines use the monotonic clock instead, and TOTP the wall clock.
type clock struct {
	wall func() time.Time
	seen atomic.Int64 // Unix milliseconds
}

func (c *clock) now() time.Time {
	wall := c.wall()
	if seen := c.advance(wall); seen > wall.UnixMilli() {
		return time.UnixMilli(seen)
	}
	return wall
}

// advance notes that it was t, and returns the latest time that was noted.
func (c *clock) advance(t time.Time) int64 {
	for {
		seen, ms := c.seen.Load(), toMillis(t)
		if ms <= seen || c.seen.CompareAndSwap(seen, ms) {
			return max(seen, ms)
		}
	}
}

// behind returns how far the wall clock is behind what was seen before.
func (c *clock) behind() time.Duration {
	return max(0, time.Duration(c.seen.Load()-c.wall().UnixMilli())*time.Millisecond)
}
