package pam

import (
	"sync/atomic"
	"time"
)

// A closing is why a connection was closed without an answer.
type closing uint8

const (
	closedMalformed closing = iota
	closedLate              // the request did not come in time, or not whole
	closedStranger          // the peer may not ask
	closedFull              // too many connections at once
	closedFault             // a panic of ours
	closedWriting           // the answer was not taken
	closingEnd
)

var closingNames = [closingEnd]string{"malformed", "late", "stranger", "too-many", "fault", "not-taken"}

// quiet is how long the log says nothing more of the same trouble.
const quiet = 10 * time.Second

type counters struct {
	answers [verdictEnd]atomic.Uint64
	closed  [closingEnd]atomic.Uint64
	said    [closingEnd]atomic.Int64 // when the log told of it last, Unix nanoseconds
}

// close counts c, and says whether the log shall tell of it.
func (c *counters) close(why closing, now time.Time) (tell bool) {
	c.closed[why].Add(1)
	last := c.said[why].Load()
	return now.UnixNano()-last >= int64(quiet) && c.said[why].CompareAndSwap(last, now.UnixNano())
}

// Counters say what a server has done.
type Counters struct {
	Answers map[string]uint64 // by verdict
	Closed  map[string]uint64 // connections without an answer, by why
}

// Counters returns what the server has done.
func (s *Server) Counters() Counters {
	c := Counters{map[string]uint64{}, map[string]uint64{}}
	for v := Allow; v < verdictEnd; v++ {
		c.Answers[v.String()] = s.counters.answers[v].Load()
	}
	for i, name := range closingNames {
		c.Closed[name] = s.counters.closed[i].Load()
	}
	return c
}
