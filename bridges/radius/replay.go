package radius

import (
	"hash/maphash"
	"slices"
	"time"
)

const (
	replayKept = 5 * time.Minute

	// replayBudget is the authenticators of all clients together; each has an
	// equal part. They take 8 octets each, but only as many as have come.
	replayBudget = 1 << 25

	firstBuckets = 64 // of a client's first table: 4 KiB
	growth       = 4  // a power of two
	bucketLen    = 8  // fingerprints that are looked at together: 64 octets

	replayUnit = 250 * time.Millisecond
	clockBits  = 20 // of a fingerprint say when it came: it goes round in 3 days
	clockMask  = 1<<clockBits - 1
)

// A replays remembers Request Authenticators for replayKept. Of each it keeps 44
// bits of a keyed hash, and when it came. So one that never came is taken for
// one that did, once in 10^12 times with a full table; a device then repeats its
// request under a new one, or asks its next server.
//
// A table is two choices of a bucket for each authenticator. It becomes full
// when both are, at nine tenths; then a larger one is begun beside it, up to a
// limit, and from there on the oldest of a bucket goes before its time.
type replays struct {
	tables []*replayTable // the newest last, which alone is added to
	limit  int            // fingerprints of all tables
	begun  time.Time
	seeds  [2]maphash.Seed
}

type replayTable struct {
	buckets []replayBucket // a power of two
	last    time.Time      // when something was added
}

// A replayBucket has fingerprints; 0 is none.
type replayBucket [bucketLen]uint64

func newReplays(now time.Time) replays {
	return replays{begun: now, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// A replayMark is what is left of an authenticator.
type replayMark struct {
	print  uint64 // 44 bits in the places above the clock; never 0
	choice [2]uint32
}

func (r *replays) mark(a authenticator) replayMark {
	print, choice := maphash.Bytes(r.seeds[0], a[:]), maphash.Bytes(r.seeds[1], a[:])
	return replayMark{max(print&^clockMask, 1<<clockBits), [2]uint32{uint32(choice), uint32(choice >> 32)}}
}

func (r *replays) clock(now time.Time) uint64 { return uint64(now.Sub(r.begun)/replayUnit) & clockMask }

// age is how long before clock p came, in units.
func age(p, clock uint64) uint64 { return (clock - p) & clockMask }

const replayUnits = uint64(replayKept / replayUnit)

// bucket is the i-th choice for m.
func (t *replayTable) bucket(m replayMark, i int) *replayBucket {
	return &t.buckets[m.choice[i]&uint32(len(t.buckets)-1)]
}

// find returns where m is in t, or nil.
func (t *replayTable) find(m replayMark) *uint64 {
	for i := range m.choice {
		b := t.bucket(m, i)
		for j := range b {
			if b[j]&^clockMask == m.print {
				return &b[j]
			}
		}
	}
	return nil
}

// seen says whether a came in the last replayKept.
func (r *replays) seen(a authenticator, now time.Time) bool {
	for len(r.tables) > 1 && now.Sub(r.tables[0].last) >= replayKept {
		r.tables = slices.Delete(r.tables, 0, 1)
	}
	m, clock := r.mark(a), r.clock(now)
	for _, t := range r.tables {
		if p := t.find(m); p != nil && age(*p, clock) < replayUnits {
			return true
		}
	}
	return false
}

// add remembers a from now on.
func (r *replays) add(a authenticator, now time.Time) {
	m, clock := r.mark(a), r.clock(now)
	if len(r.tables) == 0 {
		r.tables = append(r.tables, &replayTable{buckets: make([]replayBucket, firstBuckets)})
	}
	t := r.tables[len(r.tables)-1]
	place, full := t.place(m, clock)
	if full {
		if next := r.grow(); next != nil {
			t = next
			place, _ = t.place(m, clock)
		}
	}
	*place, t.last = m.print|clock, now
}

// place returns where m goes: to where there is more room, and where there is
// none, instead of the oldest.
func (t *replayTable) place(m replayMark, clock uint64) (place *uint64, full bool) {
	if place = t.find(m); place != nil {
		return place, false
	}
	var free [len(m.choice)]int
	var oldest [len(m.choice)]*uint64
	for i := range m.choice {
		b := t.bucket(m, i)
		oldest[i] = &b[0]
		for j := range b {
			if b[j] == 0 || age(b[j], clock) >= replayUnits {
				free[i]++
				b[j] = 0
			}
			if b[j] == 0 || *oldest[i] != 0 && age(b[j], clock) > age(*oldest[i], clock) {
				oldest[i] = &b[j]
			}
		}
	}
	i := 0
	if free[1] > free[0] || free[1] == free[0] && *oldest[0] != 0 && age(*oldest[1], clock) > age(*oldest[0], clock) {
		i = 1
	}
	return oldest[i], free[i] == 0
}

// size is how many there is room for.
func (r *replays) size() (n int) {
	for _, t := range r.tables {
		n += len(t.buckets) * bucketLen
	}
	return n
}

// grow begins a table of four times the size, so that there are few to look into,
// or returns nil at the limit.
func (r *replays) grow() *replayTable {
	last := r.tables[len(r.tables)-1]
	if r.size()+growth*len(last.buckets)*bucketLen > r.limit {
		return nil
	}
	t := &replayTable{buckets: make([]replayBucket, growth*len(last.buckets))}
	r.tables = append(r.tables, t)
	return t
}

// forget makes a as if it had never come.
func (r *replays) forget(a authenticator) {
	m := r.mark(a)
	for _, t := range r.tables {
		if p := t.find(m); p != nil {
			*p = 0
		}
	}
}
