package core

import (
	"fmt"
	"slices"
	"testing"
)

// TestAttemptsByChunks: what is collected over several chunks is found in its
// order, forgotten by name, grouped whole, and its chunks are used again.
func TestAttemptsByChunks(t *testing.T) {
	a := newActivity()
	for round := range 3 {
		for i := range 3*chunkLength + 1 {
			a.add(attemptAt{name: fmt.Sprint("account ", i%2), happened: happened{device: fmt.Sprint(i)}})
		}
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
		a.group()
		got := a.devices(t, "account 0")
		if len(got) != historyLength || got[historyLength-1] != fmt.Sprint(3*chunkLength) || len(a.byName) != 1 {
			t.Fatalf("round %d: grouped are %q", round, got)
		}
		if len(a.spare) != 4 || a.fresh.n != 0 || len(a.grouping.chunks) != 0 {
			t.Fatalf("round %d: %d spare chunks, %d attempts", round, len(a.spare), a.fresh.n)
		}
		for _, chunk := range a.spare {
			if slices.ContainsFunc(chunk[:chunkLength], func(at attemptAt) bool { return at != (attemptAt{}) }) {
				t.Fatalf("round %d: a spare chunk keeps an attempt", round)
			}
		}
	}
}
