package core

import (
	"fmt"
	"strings"
	"testing"
)

// What is expected is not used by that, whether it is there or not, can be a name
// or not, and however much of it there is: nothing is different afterwards, and
// nothing was allocated.
func TestExpect(t *testing.T) {
	e := &Engine{cache: newCache(1 << 20)}
	names := [][]byte{nil, []byte(strings.Repeat("x", 10_000)), []byte("Älain"), []byte("a\x00b")}
	for i := range 3*maxExpected + 1 {
		name := fmt.Sprint("account ", i)
		names = append(names, []byte(name), []byte(strings.ToUpper(name)), []byte("no "+name))
		_, _, ticket := e.cache.get(name)
		e.cache.put(named(name, 1, 0), ticket)
	}
	type state struct {
		n, size int
		changes uint64
	}
	states := func() (all []state) {
		for i := range e.cache.shards {
			s := &e.cache.shards[i]
			if !s.mu.TryLock() {
				t.Fatal("a shard is still locked")
			}
			for _, a := range s.ring {
				if a.cached.used {
					t.Errorf("%q was used", a.name)
				}
			}
			all = append(all, state{s.table.Len(), s.size, s.changes})
			s.mu.Unlock()
		}
		return all
	}
	before := fmt.Sprint(states())
	if n := testing.AllocsPerRun(10, func() { e.Expect(names) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if after := fmt.Sprint(states()); after != before {
		t.Errorf("%s before, %s after", before, after)
	}
}
