package core_test

import (
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

// TestDamagedAccountCanBeDeleted: a record that cannot be opened locks nobody
// out of the name for good.
func TestDamagedAccountCanBeDeleted(t *testing.T) {
	for _, key := range []string{"account/" + alain, "local/" + alain} {
		f := newFixture(t, nil)
		_, text := f.addAlain()
		f.damage(key)
		wantReason(t, key+" damaged", f.try(text), core.ReasonTamper)
		must(t, f.DeleteAccount(f.ctx, alain))
		wantReason(t, key+" deleted", f.try(text), core.ReasonUnknownAccount)
		_, again := f.addAlain()
		must(t, f.try(again))
		wantReason(t, key+" added again", f.try(text), core.ReasonWrong)
	}
}

// TestA13RotatedIsUsable: a new text does not inherit the disuse of the old.
func TestA13RotatedIsUsable(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.UnusedAfter = 30 * 24 * time.Hour })
	first, text := f.addAlain()
	f.pass(31 * 24 * time.Hour)
	wantReason(t, "disused", f.try(text), core.ReasonUnusedExpired)
	made, fresh, err := f.Rotate(f.ctx, alain, first.ID, 0)
	must(t, err)
	if made.Status != core.StatusActive {
		t.Errorf("status %q after it was rotated, want active", made.Status)
	}
	must(t, f.try(fresh.Canonical()))
}

// TestC2ClockThatJumped: after a clock was ahead and came back, what is used
// every day does not end by disuse.
func TestC2ClockThatJumped(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.UnusedAfter = 30 * 24 * time.Hour })
	_, text := f.addAlain()
	f.pass(20 * 24 * time.Hour)
	must(t, f.try(text)) // the clock is ahead
	f.pass(-20 * 24 * time.Hour)
	for range 40 {
		must(t, f.try(text))
		must(t, f.Flush(f.ctx))
		f.pass(24 * time.Hour)
	}
}
