package replica

import (
	"sync"
	"time"
)

// A clock tells a time that never goes back: it goes on with the monotonic
// clock, and jumps ahead with the wall clock. So a wall clock that is set back
// makes nothing younger.
type clock struct {
	wall func() time.Time

	mu   sync.Mutex
	last time.Time // read from wall
	now  time.Time // told
}

// newClock returns a clock that begins at seen, or now if that is later.
func newClock(wall func() time.Time, seen time.Time) *clock {
	c := &clock{wall: wall, last: wall(), now: seen}
	c.time()
	return c
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.wall()
	if passed := t.Sub(c.last); passed > 0 { // by the monotonic clock, where t has it
		c.now = c.now.Add(passed)
	}
	c.last = t
	if t = t.Round(0); t.After(c.now) {
		c.now = t
	}
	return c.now
}
