package radius

import (
	"cmp"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	logEvery     = 10 * time.Second // one line per source
	logSources   = 256
	maxLogName   = 128
	maxLogReason = 512
)

// printable returns s with every control, bidirectional and invalid octet
// escaped, and no quotes around it.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// cut returns at most n octets of s, escaped.
func cut(s string, n int) string {
	if len(s) > n {
		return printable(s[:n]) + "…"
	}
	return printable(s)
}

// name returns a name from outside as it may stand in the log.
func (t *table) name(name string) string {
	if t.config.Redact == nil {
		return "[hidden]"
	}
	return cut(t.config.Redact(name), maxLogName)
}

// A sieve lets one line per source through in a time. It remembers at most
// logSources of them; while it is full, it lets nobody new through.
type sieve struct {
	every time.Duration // 0: logEvery
	mu    sync.Mutex
	until map[netip.Addr]time.Time
	swept time.Time
	held  uint64 // lines held back since the last one
}

// pass reports whether a line about source may be written now, and how many
// were not since the last one.
func (s *sieve) pass(source netip.Addr, now time.Time) (held uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.until[source]
	if known && now.Before(until) {
		s.held++
		return 0, false
	}
	if !known && len(s.until) >= logSources {
		s.sweep(now)
		if len(s.until) >= logSources {
			s.held++
			return 0, false
		}
	}
	if s.until == nil {
		s.until = make(map[netip.Addr]time.Time)
	}
	s.until[source] = now.Add(cmp.Or(s.every, logEvery))
	held, s.held = s.held, 0
	return held, true
}

// sweep forgets what is over; at most once a second, because it is called by
// those who flood.
func (s *sieve) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	for source, until := range s.until {
		if !now.Before(until) {
			delete(s.until, source)
		}
	}
}
