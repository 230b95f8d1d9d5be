package core

import (
	"fmt"
	"slices"
	"testing"
	"time"
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
		names := a.take(false, time.Now())
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

// TestBusyAccountsAreWrittenSeldom: an account whose device hammers is written
// once a minute, and every other one with each flush (rule A12).
func TestBusyAccountsAreWrittenSeldom(t *testing.T) {
	a, now := newActivity(), time.Now()
	write := func(due bool) []string {
		t.Helper()
		names := a.take(due, now)
		a.written(names, now, func(string) writeOutcome { return writeDone })
		return names
	}
	sign := func(n int, name string) {
		for i := range n {
			a.add(name, happened{device: fmt.Sprint(i), ref: Ref{ID: "id"}})
		}
	}
	both, quiet := []string{"busy", "quiet"}, []string{"quiet"}
	var written time.Time
	for second := range 130 {
		sign(busy, "busy")
		sign(1, "quiet")
		switch got := write(true); {
		case slices.Equal(got, both):
			if gone := now.Sub(written); second > 0 && (gone < seldomFrom || gone > seldomTo+time.Second) {
				t.Errorf("second %d: written again after %s", second, gone)
			}
			written = now
		case !slices.Equal(got, quiet):
			t.Fatalf("second %d: %q are written", second, got)
		}
		now = now.Add(time.Second)
	}
	if now.Sub(written) > time.Minute {
		t.Errorf("not written for %s", now.Sub(written))
	}
	if sign(1, "busy"); !slices.Equal(write(false), []string{"busy"}) {
		t.Error("a Flush leaves something out")
	}
	sign(busy-1, "busy") // it has calmed down
	if got := write(true); !slices.Equal(got, []string{"busy"}) {
		t.Errorf("%q are written, want what is not busy any more", got)
	}
	if now = now.Add(time.Minute); len(write(true)) != 0 || len(a.seldom) != 0 {
		t.Errorf("%d accounts are remembered as busy", len(a.seldom))
	}
}
