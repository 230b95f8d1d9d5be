package core

import (
	"fmt"
	"slices"
	"testing"
)

// neighbour returns a name whose attempts wait beside those at other.
func neighbour(a *activity, other string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("account ", i); name != other && a.inbox(name) == a.inbox(other) {
			return name
		}
	}
}

// TestAttemptsByChunks: what is collected over several chunks is found in its
// order, forgotten by name, grouped whole, and its chunks are used again.
func TestAttemptsByChunks(t *testing.T) {
	a := newActivity()
	names := [2]string{"account", neighbour(a, "account")}
	b := a.inbox(names[0])
	for round := range 3 {
		for i := range 3*chunkLength + 1 {
			a.add(attemptAt{name: names[i%2], happened: happened{device: fmt.Sprint(i)}})
		}
		if got := len(b.fresh.chunks); got != 4 {
			t.Fatalf("round %d: %d chunks, want 4", round, got)
		}
		i := 0
		for at := range b.fresh.all {
			if at.device != fmt.Sprint(i) {
				t.Fatalf("round %d: attempt %d is %q", round, i, at.device)
			}
			i++
		}
		if i != b.fresh.n || i != 3*chunkLength+1 || a.waiting.Load() != int64(i) {
			t.Fatalf("round %d: %d attempts, counted %d, waiting %d", round, i, b.fresh.n, a.waiting.Load())
		}
		a.forget(names[1])
		if want := 3*chunkLength/2 + 1; b.fresh.n != want || a.waiting.Load() != int64(want) {
			t.Fatalf("round %d: %d attempts are left, waiting %d, want %d", round, b.fresh.n, a.waiting.Load(), want)
		}
		a.group()
		got := a.devices(t, names[0])
		if len(got) != historyLength || got[historyLength-1] != fmt.Sprint(3*chunkLength) || len(a.byName) != 1 {
			t.Fatalf("round %d: grouped are %q", round, got)
		}
		if len(b.spare) != 4 || b.fresh.n != 0 || len(b.grouping.chunks) != 0 || a.waiting.Load() != 0 {
			t.Fatalf("round %d: %d spare chunks, %d attempts, waiting %d", round, len(b.spare), b.fresh.n, a.waiting.Load())
		}
		for _, chunk := range b.spare {
			if slices.ContainsFunc(chunk[:chunkLength], func(at attemptAt) bool { return at != (attemptAt{}) }) {
				t.Fatalf("round %d: a spare chunk keeps an attempt", round)
			}
		}
	}
}
