package core

import (
	"sync"
	"time"
)

// maxFailureKeys is how many keys a failures remembers.
const maxFailureKeys = 1 << 16

// A rate allows burst events at once and every more of them after its share of
// a second.
type rate struct {
	burst     float64
	perSecond float64
}

// A failures counts failures by key, as token buckets, bounded in number. When
// it is full, the keys whose buckets are full again are forgotten, and if none
// is, all: forgetting allows more failures, and never refuses a success.
type failures struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[[2]string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
	rate   rate
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, buckets: make(map[[2]string]bucket)}
}

// allow takes one token of key's bucket, and says whether there was one.
func (f *failures) allow(key string, r rate) bool { return f.allowPair(key, "", r) }

// allowPair is allow for a key of two parts.
func (f *failures) allowPair(first, second string, r rate) bool {
	key := [2]string{first, second}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	b, known := f.buckets[key]
	if !known {
		f.makeRoom(now)
		b = bucket{tokens: r.burst, rate: r}
	} else {
		b.rate = r
		b.tokens = b.filled(now)
	}
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	f.buckets[key] = b
	return ok
}

// giveBack returns the token that a success did not need.
func (f *failures) giveBack(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.buckets[[2]string{key}]; ok {
		b.tokens = min(b.rate.burst, b.tokens+1)
		f.buckets[[2]string{key}] = b
	}
}

// filled returns the tokens at now. A clock that went back adds none.
func (b bucket) filled(now time.Time) float64 {
	gone := max(0, now.Sub(b.at).Seconds())
	return min(b.rate.burst, b.tokens+gone*b.rate.perSecond)
}

func (f *failures) makeRoom(now time.Time) {
	if len(f.buckets) < maxFailureKeys {
		return
	}
	for key, b := range f.buckets {
		if b.filled(now) >= b.rate.burst {
			delete(f.buckets, key)
		}
	}
	if len(f.buckets) >= maxFailureKeys {
		clear(f.buckets)
	}
}
