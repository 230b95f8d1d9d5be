package radius

import (
	"sync"
	"time"
)

const (
	failuresPerSecond    = 200
	maxFailuresPerSecond = 100_000
	statusPerSecond      = 10
)

// A window lets through at most n events in any span of one second.
type window struct {
	n    int
	mu   sync.Mutex
	past []time.Time // ring of the last n that passed
	next int
}

// limit sets n. Where it differs, the past is forgotten.
func (w *window) limit(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n != n {
		w.n, w.past, w.next = n, nil, 0
	}
}

func (w *window) pass(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.past) < w.n {
		w.past = append(w.past, now)
		return true
	}
	if now.Sub(w.past[w.next]) < time.Second {
		return false
	}
	w.past[w.next] = now
	w.next = (w.next + 1) % w.n
	return true
}
