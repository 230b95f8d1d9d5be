package core_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// TestA11ByDate: works to the last moment before its date and not at it.
func TestA11ByDate(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		p := f.policy.Profiles[core.DefaultProfile]
		p.ExpiresAfter = 30 * day
		f.policy.Profiles["guest"] = p
	})
	f.addAlain()
	for _, name := range []string{"own date", "profile"} {
		n := core.NewAppPassword{Name: name, Profile: "guest"}
		if name == "own date" {
			n = core.NewAppPassword{Name: name, Expires: f.clock().Add(30 * day)}
		}
		made, text, err := f.Create(f.ctx, alain, n)
		must(t, err)
		if want := f.clock().Add(30 * day); !made.Expires.Equal(want) {
			t.Errorf("%s: expires %v, want %v", name, made.Expires, want)
		}
		f.pass(30*day - time.Millisecond)
		must(t, f.try(text.Canonical()))
		f.pass(time.Millisecond)
		wantReason(t, name, f.try(text.Canonical()), core.ReasonExpired)
		if got := f.listed(made.ID).Status; got != core.StatusExpired {
			t.Errorf("%s: listed as %s", name, got)
		}
		f.reopen()
		wantReason(t, name+", reopened", f.try(text.Canonical()), core.ReasonExpired)
	}
}

// TestUseIsNoted: a use in the second half of the time is noted in the account's
// record by the flush, whichever rule sets the time, so that a sign-in later on
// need not read what happened before.
func TestUseIsNoted(t *testing.T) {
	for name, set := range map[string]func(p *core.Policy, own *core.Profile){
		"unused":                       func(p *core.Policy, _ *core.Profile) { p.UnusedAfter = 30 * day },
		"first use":                    func(p *core.Policy, _ *core.Profile) { p.FirstUseWithin = 30 * day },
		"unused, of the profile":       func(_ *core.Policy, own *core.Profile) { own.UnusedAfter = 30 * day },
		"first use, of the profile":    func(_ *core.Policy, own *core.Profile) { own.FirstUseWithin = 30 * day },
		"unused, and longer otherwise": func(p *core.Policy, own *core.Profile) { p.UnusedAfter, own.UnusedAfter = 300*day, 30*day },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) {
				own := f.policy.Profiles[core.DefaultProfile]
				set(&f.policy, &own)
				f.policy.Profiles[core.DefaultProfile] = own
			})
			_, text := f.addAlain()
			f.pass(20 * day)
			must(t, f.try(text))
			must(t, f.Flush(f.ctx))
			f.pass(20 * day)
			f.store.forgetCounts()
			must(t, f.try(text))
			if gets, _ := f.store.count(); slices.Contains(gets, "activity/"+alain) {
				t.Errorf("it had to read %q", gets)
			}
		})
	}
}

// TestA11Unused: expires when it was not used for as long as the policy or its
// profile says, to the moment, whether its uses were written or not.
func TestA11Unused(t *testing.T) {
	const after = 30 * day
	for name, between := range map[string]func(f *fixture){
		"collected": func(*fixture) {},
		"written":   func(f *fixture) { must(f.t, f.Flush(f.ctx)) },
		"reopened":  func(f *fixture) { f.reopen() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) { f.policy.UnusedAfter = after })
			first, text := f.addAlain()
			f.pass(after - time.Millisecond)
			must(t, f.try(text))
			for range 60 { // used every few hours, it never expires
				between(f)
				f.pass(17 * time.Hour)
				must(t, f.try(text))
			}
			between(f)
			f.pass(after - time.Millisecond)
			if got := f.listed(first.ID).Status; got != core.StatusActive {
				t.Errorf("listed as %s within the time", got)
			}
			must(t, f.try(text))
			between(f)
			f.pass(after)
			wantReason(t, "at the end of the time", f.try(text), core.ReasonUnusedExpired)
			if got := f.listed(first.ID).Status; got != core.StatusUnusedExpired {
				t.Errorf("listed as %s after the time", got)
			}
			between(f)
			wantReason(t, "a try is no use", f.try(text), core.ReasonUnusedExpired)
		})
	}
}

// TestA11RefusedIsNoUse: a right text that is refused does not count as used.
func TestA11RefusedIsNoUse(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.UnusedAfter = 10 * day })
	first, text := f.addAlain()
	_, err := f.Suspend(f.ctx, alain, first.ID)
	must(t, err)
	f.pass(9 * day)
	wantReason(t, "suspended", f.try(text), core.ReasonSuspended)
	_, err = f.Resume(f.ctx, alain, first.ID)
	must(t, err)
	f.pass(day)
	wantReason(t, "unused", f.try(text), core.ReasonUnusedExpired)
	if p := f.listed(first.ID); p.LastUse != nil || p.Uses != 0 {
		t.Errorf("listed with a use: %+v", p)
	}
}

// TestA11FirstUse: unless it is first used in time, and from then on no more.
func TestA11FirstUse(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.FirstUseWithin = time.Hour
		p := f.policy.Profiles[core.DefaultProfile]
		p.FirstUseWithin, p.UnusedAfter = 2*time.Hour, 20*day
		f.policy.Profiles["slow"] = p
	})
	_, text := f.addAlain()
	late, lateText := f.create("late", "")
	_, slow := f.create("slow", "slow")
	f.pass(time.Hour - time.Millisecond)
	must(t, f.try(text))
	f.pass(time.Millisecond)
	wantReason(t, "first used late", f.try(lateText), core.ReasonUnusedExpired)
	if got := f.listed(late.ID).Status; got != core.StatusUnusedExpired {
		t.Errorf("listed as %s", got)
	}
	must(t, f.try(slow)) // its profile gives it longer
	f.reopen()
	f.pass(10 * day)
	must(t, f.try(text))
	must(t, f.try(slow))
	f.pass(20 * day)
	must(t, f.try(text))
	wantReason(t, "by the profile", f.try(slow), core.ReasonUnusedExpired)
}

// TestA11StoreAway: the account's record is behind with the last use. When
// what knows better is away, an attempt that hangs on it is undecided.
func TestA11StoreAway(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.UnusedAfter = 10 * day })
	_, text := f.addAlain()
	must(t, f.try(text))
	must(t, f.Flush(f.ctx))
	f.pass(23 * time.Hour)
	must(t, f.try(text)) // the account's record does not hear of this one
	must(t, f.Flush(f.ctx))
	f.pass(9*day + 2*time.Hour)
	f.store.fail(store.ErrUnavailable)
	wantReason(t, "while the store is away", f.try(text), core.ReasonUnavailable)
	f.store.fail(nil)
	must(t, f.try(text))
}

// TestC2ClockSetBack: what has expired stays so when the clock is set back, and
// a restart in between changes nothing.
func TestC2ClockSetBack(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.UnusedAfter = 20 * day
		p := f.policy.Profiles[core.DefaultProfile]
		p.Methods = append(p.Methods, proof.MethodCHAP)
		f.policy.Profiles[core.DefaultProfile] = p
	})
	first, unused := f.addAlain()
	made, text, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "guest", Expires: f.clock().Add(10 * day)})
	must(t, err)
	_, fresh, err := f.Rotate(f.ctx, alain, first.ID, day)
	must(t, err)
	f.pass(20 * day)
	for _, state := range []string{"in time", "set back", "reopened"} {
		wantReason(t, state+": by date", f.try(text.Canonical()), core.ReasonExpired)
		wantReason(t, state+": unused", f.try(fresh.Canonical()), core.ReasonUnusedExpired)
		wantReason(t, state+": the overlap", f.try(unused), core.ReasonDeleted)
		if got := f.listed(made.ID).Status; got != core.StatusExpired {
			t.Errorf("%s: listed as %s", state, got)
		}
		if state == "in time" {
			must(t, f.Flush(f.ctx))
			f.pass(-20 * day)
		} else {
			f.reopen()
		}
	}
	_, _, err = f.Create(f.ctx, alain, core.NewAppPassword{Name: "past", Expires: f.clock().Add(5 * day)})
	wantKind(t, "a date that was over before the clock was set back", err, core.KindInvalid)
	if !strings.Contains(err.Error(), "the clock of this host is behind") {
		t.Errorf("the refusal does not say why: %v", err)
	}
	if got := f.Stats().ClockBehind; got != 20*day {
		t.Errorf("the clock is said to be %s behind, want %s", got, 20*day)
	}
}
