package core

import (
	"fmt"
	"testing"
	"time"
)

// TestFailures: a burst, then one for each share of a second, never more than
// the burst again.
func TestFailures(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	f := newFailures(func() time.Time { return now })
	r := rate{burst: 3, perSecond: 2}
	take := func(want int) {
		t.Helper()
		got := 0
		for f.allow("k", r) {
			if got++; got > 100 {
				break
			}
		}
		if got != want {
			t.Errorf("%d were allowed, want %d", got, want)
		}
	}
	take(3)
	take(0)
	now = now.Add(499 * time.Millisecond)
	take(0)
	now = now.Add(time.Millisecond)
	take(1)
	now = now.Add(time.Hour)
	take(3)
	if !f.allow("another", r) {
		t.Error("one key's failures count for another")
	}
	now = now.Add(-time.Hour) // set back: nothing is given, nothing is taken
	take(0)
	now = now.Add(time.Second)
	take(2)
}

// TestFailuresGiveBack: a success costs nothing and earns nothing.
func TestFailuresGiveBack(t *testing.T) {
	now := time.Now()
	f := newFailures(func() time.Time { return now })
	r := rate{burst: 2, perSecond: 1}
	for range 50 {
		if !f.allow("k", r) {
			t.Fatal("a success was counted")
		}
		f.giveBack("k")
	}
	f.giveBack("k")
	f.giveBack("unknown")
	for i, want := range []bool{true, true, false} {
		if got := f.allow("k", r); got != want {
			t.Errorf("try %d allowed: %v, want %v", i, got, want)
		}
	}
	if len(f.buckets) != 1 {
		t.Errorf("%d keys are remembered, want 1", len(f.buckets))
	}
}

// TestFailuresAreBounded: many keys take no more room than maxFailureKeys, and
// those that still matter are kept for as long as they can be.
func TestFailuresAreBounded(t *testing.T) {
	now := time.Now()
	f := newFailures(func() time.Time { return now })
	slow, quick := rate{burst: 1, perSecond: 0.001}, rate{burst: 1, perSecond: 1000}
	f.allow("guesser", slow)
	for i := range maxFailureKeys {
		f.allow(fmt.Sprint(i), quick)
		now = now.Add(time.Millisecond)
	}
	if len(f.buckets) > maxFailureKeys {
		t.Errorf("%d keys are remembered", len(f.buckets))
	}
	if f.allow("guesser", slow) {
		t.Error("a guesser was forgotten although others could be")
	}
	for i := range 2 * maxFailureKeys {
		f.allow(fmt.Sprint("slow ", i), slow)
		if len(f.buckets) > maxFailureKeys {
			t.Fatalf("%d keys are remembered", len(f.buckets))
		}
	}
}
