package core

import (
	"fmt"
	"testing"
)

// TestAttemptsByChunks: what is collected over several chunks is found in its
// order, forgotten by name, grouped whole, and its chunks are used again.
func TestAttemptsByChunks(t *testing.T) {
	a := newActivity()
	fill := func() {
		for i := range 3*chunkLength + 1 {
			a.add(fmt.Sprint("account ", i%2), happened{device: fmt.Sprint(i)})
		}
	}
	for round := range 3 {
		fill()
		if got := len(a.fresh.chunks); got != 4 {
			t.Fatalf("round %d: %d chunks, want 4", round, got)
		}
		i := 0
		for at := range a.fresh.all {
			if at.device != fmt.Sprint(i) {
				t.Fatalf("round %d: attempt %d is %q", round, i, at.device)
			}
			i++
		}
		if i != a.fresh.n || i != 3*chunkLength+1 {
			t.Fatalf("round %d: %d attempts, counted %d", round, i, a.fresh.n)
		}
		a.forget("account 1")
		if want := 3*chunkLength/2 + 1; a.fresh.n != want {
			t.Fatalf("round %d: %d attempts are left, want %d", round, a.fresh.n, want)
		}
		names := a.take()
		d := a.writing["account 0"]
		if len(names) != 1 || d == nil || d.attempts[len(d.attempts)-1].device != fmt.Sprint(3*chunkLength) {
			t.Fatalf("round %d: %q are to be written, with %+v", round, names, d)
		}
		if len(a.spare) != 4 || a.fresh.n != 0 || len(a.grouping.chunks) != 0 {
			t.Fatalf("round %d: %d spare chunks, %d attempts", round, len(a.spare), a.fresh.n)
		}
		for _, chunk := range a.spare {
			for _, at := range chunk[:chunkLength] {
				if at != (attemptAt{}) {
					t.Fatalf("round %d: a spare chunk keeps %+v", round, at)
				}
			}
		}
	}
}
