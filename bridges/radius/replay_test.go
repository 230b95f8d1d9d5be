package radius

import (
	"encoding/binary"
	"testing"
	"time"
)

func numbered(n int) (a authenticator) {
	binary.BigEndian.PutUint64(a[:], uint64(n))
	return a
}

// R8: whatever comes, within the room that there is, is known for five minutes
// and not for longer, and nothing else is.
func TestR8Replays(t *testing.T) {
	const perSecond, seconds = 400, 330
	now := time.Now()
	r := newReplays(now)
	r.limit = replayBudget
	at := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second / perSecond) }
	for n := range perSecond * seconds {
		if r.seen(r.mark(numbered(n)), at(n)) {
			t.Fatalf("number %d never came", n)
		}
		r.add(r.mark(numbered(n)), at(n))
	}
	last := perSecond*seconds - 1
	end := at(last)
	for n := range last {
		gone := end.Sub(at(n))
		if seen := r.seen(r.mark(numbered(n)), end); seen != (gone < replayKept) && (gone-replayKept).Abs() > replayUnit {
			t.Fatalf("number %d came %v ago: seen %v", n, gone, seen)
		}
	}
	if size := r.size(); size > 3*perSecond*300 {
		t.Errorf("room for %d", size)
	}
	r.forget(numbered(last))
	if r.seen(r.mark(numbered(last)), end) || !r.seen(r.mark(numbered(last-1)), end) {
		t.Error("not that one is forgotten")
	}
	// Others look at their clocks a little earlier, and know it too.
	if !r.seen(r.mark(numbered(last-1)), end.Add(-2*replayUnit)) {
		t.Error("it is not known to one whose clock is behind")
	}
	// When nothing came for so long, nothing is left.
	if r.seen(r.mark(numbered(last-1)), end.Add(replayKept)) || r.size() > 0 {
		t.Errorf("room for %d after that", r.size())
	}
}

// R8: where there is no more room the oldest go, and never the newest.
func TestR8ReplaysAtTheLimit(t *testing.T) {
	now := time.Now()
	r := newReplays(now)
	r.limit = leastPages * pageLen
	for n := range 100_000 {
		at := now.Add(time.Duration(n) * time.Millisecond)
		r.add(r.mark(numbered(n)), at)
		if n >= 500 && !r.seen(r.mark(numbered(n-500)), at) {
			t.Fatalf("number %d is gone after 500 others", n-500)
		}
		if r.size() > r.limit {
			t.Fatalf("room for %d, the limit is %d", r.size(), r.limit)
		}
	}
}

func BenchmarkReplays(b *testing.B) {
	now := time.Now()
	r := newReplays(now)
	r.limit = replayBudget
	n := 0
	for ; n < 3_000_000; n++ { // of a minute
		r.add(r.mark(numbered(n)), now.Add(time.Duration(n)*20*time.Microsecond))
	}
	for name, together := range map[string]int{"one by one": 1, "together": atHand} {
		b.Run(name, func(b *testing.B) {
			var marks [atHand]replayMark
			for i := 0; b.Loop(); i++ {
				if i%together == 0 {
					for j := range together {
						marks[j] = r.mark(numbered(n + j))
					}
					if together > 1 {
						r.fetch(marks[:])
					}
				}
				at := now.Add(time.Duration(n) * 20 * time.Microsecond) // 50,000 a second
				if r.seen(marks[i%together], at) {
					b.Fatal("it never came")
				}
				r.add(marks[i%together], at)
				n++
			}
		})
	}
}
