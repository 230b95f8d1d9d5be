package radius

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/keywicket/keywicket/core/prefetch"
)

const (
	replayKept = 5 * time.Minute

	// replayBudget is the authenticators of all clients together; each has an
	// equal part. They take 8 octets each, and up to twice that while there is
	// room, but only as many as have come.
	replayBudget = 1 << 25

	bucketLen   = 8  // fingerprints that are looked at together: 64 octets
	pageBuckets = 64 // 4 KiB
	pageLen     = pageBuckets * bucketLen
	leastPages  = 8 // that a client may have at least

	replayUnit = time.Second
	clockBits  = 9 // of a fingerprint say when it came; more would be taken from the hash
	clockMask  = 1<<clockBits - 1
)

const replayUnits = uint64(replayKept / replayUnit)

// A replays remembers Request Authenticators for replayKept. Of each it keeps 55
// bits of a keyed hash, and when it came. So one that never came is taken for one
// that did, once in 10^10 times with as many as there is room for; a device then
// repeats its request under a new one, or asks its next server.
//
// The clock goes round in 8 minutes. What is over is cleared where something is
// added, and all of it after replayKept in which nothing came; what is left in a
// corner meanwhile is known for a second time, to nobody's harm: one who sends the
// same again after so long does what a good device never does.
//
// They lie in pages, which the first bits of the hash choose (extendible hashing),
// and there in one of two buckets: so that one is looked for in two lines of
// memory that lie together, however many there are. When both are full, at nine
// tenths, the page is divided by the next bit of the hash, up to a limit, and from
// there on the oldest of a bucket goes before its time.
type replays struct {
	pages []*replayPage // by the first bits of the hash: a power of two; a page may stand there several times, side by side
	count int           // pages, each counted once
	limit int           // fingerprints
	begun time.Time
	last  time.Time // when something was added
	seed  maphash.Seed
}

type replayPage [pageBuckets]replayBucket

// A replayBucket has fingerprints; 0 is none.
type replayBucket [bucketLen]uint64

func newReplays(now time.Time) replays { return replays{begun: now, seed: maphash.MakeSeed()} }

// A replayMark is the keyed hash of an authenticator. Its first bits choose the
// page and are in the fingerprint too, its last the buckets.
type replayMark uint64

func (r *replays) mark(a authenticator) replayMark {
	return max(replayMark(maphash.Bytes(r.seed, a[:])), 1<<clockBits)
}

// print is m in the places above the clock; never 0.
func (m replayMark) print() uint64 { return uint64(m) &^ clockMask }

// bucket is the i-th choice for m.
func (p *replayPage) bucket(m replayMark, i int) *replayBucket {
	if i > 0 {
		m /= pageBuckets
	}
	return &p[m%pageBuckets]
}

// clock never goes back: those who read at the same time may be a little apart.
func (r *replays) clock(now time.Time) uint64 {
	if now.Before(r.last) {
		now = r.last
	}
	return uint64(now.Sub(r.begun)/replayUnit) & clockMask
}

// age is how long before clock p came, in units.
func age(p, clock uint64) uint64 { return (clock - p) & clockMask }

// index is where in pages the one for m is. There is one.
func (r *replays) index(m replayMark) int {
	hi, _ := bits.Mul64(uint64(m), uint64(len(r.pages)))
	return int(hi)
}

// fetch has the buckets of marks fetched from memory.
func (r *replays) fetch(marks []replayMark) {
	if len(r.pages) == 0 {
		return
	}
	for _, m := range marks {
		p := r.pages[r.index(m)]
		for i := range 2 {
			prefetch.Value(p.bucket(m, i))
		}
	}
}

// find returns where m is, or nil.
func (r *replays) find(m replayMark) *uint64 {
	if len(r.pages) == 0 {
		return nil
	}
	p := r.pages[r.index(m)]
	for i := range 2 {
		b := p.bucket(m, i)
		for j := range b {
			if b[j]&^clockMask == m.print() {
				return &b[j]
			}
		}
	}
	return nil
}

// seen says whether what m is of came in the last replayKept.
func (r *replays) seen(m replayMark, now time.Time) bool {
	if r.count > 0 && now.Sub(r.last) >= replayKept {
		r.pages, r.count = nil, 0
	}
	p := r.find(m)
	return p != nil && age(*p, r.clock(now)) < replayUnits
}

// add remembers what m is of from now on. It was not seen lately.
func (r *replays) add(m replayMark, now time.Time) {
	if r.count == 0 {
		r.pages, r.count = []*replayPage{new(replayPage)}, 1
	}
	clock := r.clock(now)
	at := r.index(m)
	place, full := r.pages[at].place(m, clock)
	for full && r.divide(at, clock) {
		at = r.index(m)
		place, full = r.pages[at].place(m, clock)
	}
	*place = m.print() | clock
	if now.After(r.last) {
		r.last = now
	}
}

// place returns where m goes: to where there is more room, and where there is
// none, instead of the oldest.
func (p *replayPage) place(m replayMark, clock uint64) (place *uint64, full bool) {
	first, firstFree, firstAge := p.bucket(m, 0).oldest(clock)
	second, secondFree, secondAge := p.bucket(m, 1).oldest(clock)
	if secondFree > firstFree || secondFree == firstFree && secondAge > firstAge {
		first, firstFree = second, secondFree
	}
	return first, firstFree == 0
}

// oldest clears what is over, and returns the oldest place and how many are free.
// It is written without branches: nobody can predict them.
func (b *replayBucket) oldest(clock uint64) (place *uint64, free int, oldest uint64) {
	var at uint64
	for j, print := range b {
		a := age(print, clock)
		if print == 0 {
			a = clockMask
		}
		if a >= replayUnits {
			print, a = 0, clockMask
		}
		if print == 0 {
			free++
		}
		b[j] = print
		at = max(at, a*bucketLen+uint64(j))
	}
	return &b[at%bucketLen], free, at / bucketLen
}

// size is how many there is room for.
func (r *replays) size() int { return r.count * pageLen }

// divide makes two pages of the one at an index, by the next bit of the hash. All
// that is in it stays in its place of the one or the other. At the limit it says
// false.
func (r *replays) divide(at int, clock uint64) bool {
	if r.size()+pageLen > r.limit {
		return false
	}
	old, next := r.pages[at], new(replayPage)
	first, end := at, at+1
	for first > 0 && r.pages[first-1] == old {
		first--
	}
	for end < len(r.pages) && r.pages[end] == old {
		end++
	}
	if end-first == 1 {
		twice := make([]*replayPage, 0, 2*len(r.pages))
		for _, p := range r.pages {
			twice = append(twice, p, p)
		}
		r.pages, first, end = twice, 2*first, 2*end
	}
	middle := (first + end) / 2
	for i := middle; i < end; i++ {
		r.pages[i] = next
	}
	r.count++
	for i := range old {
		for j, print := range old[i] {
			switch {
			case age(print, clock) >= replayUnits:
				old[i][j] = 0
			case r.index(replayMark(print)) >= middle:
				old[i][j], next[i][j] = 0, print
			}
		}
	}
	return true
}

// forget makes a as if it had never come.
func (r *replays) forget(a authenticator) {
	if p := r.find(r.mark(a)); p != nil {
		*p = 0
	}
}
