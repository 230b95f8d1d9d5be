package core_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

const step = 30 * time.Second

// enrolled returns an account with two-step verification on, the URI of its
// authenticator app, and what it was given. The step of the code is over.
func enrolled(t *testing.T, edit func(*fixture)) (*fixture, string, core.Confirmation) {
	t.Helper()
	f := newFixture(t, edit)
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	c, err := f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	f.pass(2 * step)
	return f, uri, c
}

// TestA5FirstInOneWrite: turning two-step verification on, the recovery codes
// and the first app password are one write.
func TestA5FirstInOneWrite(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	code := codeOf(t, uri, f.clock())

	f.store.fail(store.ErrUnavailable)
	_, err = f.Confirm(f.ctx, alain, code, core.NewAppPassword{})
	wantKind(t, "while the store is away", err, core.KindUnavailable)
	f.store.fail(nil)
	if a, err := f.Account(f.ctx, alain); err != nil || a.TwoStep || a.AppPasswords != 0 || a.Recovery != 0 {
		t.Errorf("a part of it happened: %+v (%v)", a, err)
	}
	_, err = f.Confirm(f.ctx, alain, code, core.NewAppPassword{Name: "bad\nname"})
	wantKind(t, "a bad name", err, core.KindInvalid)

	f.store.count()
	c, err := f.Confirm(f.ctx, alain, code, core.NewAppPassword{Name: "Laptop"})
	must(t, err)
	if _, applied := f.store.count(); applied != 1 {
		t.Errorf("%d writes, want 1", applied)
	}
	if c.First == nil || c.First.Name != "Laptop" || len(c.Recovery) != 10 {
		t.Fatalf("given %+v and %d recovery codes", c.First, len(c.Recovery))
	}
	must(t, f.try(c.FirstText.Canonical()))
	a, err := f.Account(f.ctx, alain)
	if err != nil || !a.TwoStep || a.AppPasswords != 1 || a.Recovery != 10 || !a.TwoStepSince.Equal(f.clock()) {
		t.Errorf("the account is %+v (%v)", a, err)
	}
}

// TestA5Policy: none is given where the policy says so, or where there is one.
func TestA5Policy(t *testing.T) {
	_, _, c := enrolled(t, func(f *fixture) { f.policy.FirstOnEnroll = false })
	if c.First != nil || c.FirstText.Letters() != 0 {
		t.Errorf("given %+v against the policy", c.First)
	}
	f, _, _ := enrolled(t, nil)
	must(t, f.TurnOffTwoStep(f.ctx, alain))
	if c := f.turnOn(); c.First != nil || c.FirstText.Letters() != 0 {
		t.Errorf("given %+v beside the one that came back", c.First)
	}
}

// TestA6TwoStepOff: every app password stops, and comes back or never does.
func TestA6TwoStepOff(t *testing.T) {
	for consequence, back := range map[core.Consequence]core.Reason{core.Suspend: "", core.Delete: core.ReasonDeleted} {
		f, _, c := enrolled(t, func(f *fixture) { f.policy.OnTwoStepOff = consequence })
		first := c.FirstText.Canonical()
		_, other := f.create("laptop", "")
		suspended, third := f.create("tablet", "")
		_, err := f.Suspend(f.ctx, alain, suspended.ID)
		must(t, err)
		must(t, f.try(first))
		must(t, f.TurnOffTwoStep(f.ctx, alain))
		off := core.ReasonTwoStepOff
		if consequence == core.Delete {
			off = core.ReasonDeleted
		}
		wantReason(t, "off", f.try(first), off)
		wantReason(t, "off, the other", f.try(other), off)
		list, err := f.List(f.ctx, alain)
		must(t, err)
		for _, p := range list {
			if p.Status != core.StatusSuspended || consequence == core.Delete {
				t.Errorf("%s: %q is listed as %s", consequence, p.Name, p.Status)
			}
		}
		wantKind(t, "off twice", f.TurnOffTwoStep(f.ctx, alain), core.KindConflict)
		f.turnOn()
		wantReason(t, "on again", f.try(first), back)
		wantReason(t, "on again, the other", f.try(other), back)
		if consequence == core.Suspend {
			wantReason(t, "on again, one that was suspended by itself", f.try(third), core.ReasonSuspended)
		}
	}
}

// TestA6Disabled: whichever the consequence is, disabling is no deletion.
func TestA6Disabled(t *testing.T) {
	for _, consequence := range []core.Consequence{core.Suspend, core.Delete} {
		f, _, c := enrolled(t, func(f *fixture) { f.policy.OnTwoStepOff = consequence })
		text := c.FirstText.Canonical()
		must(t, f.try(text))
		must(t, f.SetEnabled(f.ctx, alain, false))
		wantReason(t, "disabled", f.try(text), core.ReasonAccountDisabled)
		wantReason(t, "disabled, a stranger's", f.try(otherText(t)), core.ReasonAccountDisabled)
		if list, err := f.List(f.ctx, alain); err != nil || list[0].Status != core.StatusSuspended {
			t.Errorf("listed as %+v (%v)", list, err)
		}
		must(t, f.SetEnabled(f.ctx, alain, true))
		must(t, f.try(text))
	}
}

// TestTurnOffPending: giving an enrolment up costs no app passwords.
func TestTurnOffPending(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.RequireTwoStep, f.policy.OnTwoStepOff = false, core.Delete })
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	_, text := f.create("laptop", "")
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	must(t, f.TurnOffTwoStep(f.ctx, alain))
	must(t, f.try(text))
	_, err = f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	wantKind(t, "the enrolment that was given up", err, core.KindConflict)
}

// TestRFC6238Steps: a code works one step early and one late, and no further.
func TestRFC6238Steps(t *testing.T) {
	for skew, ok := range map[time.Duration]bool{-2 * step: false, -step: true, 0: true, step: true, 2 * step: false} {
		f, uri, _ := enrolled(t, nil)
		f.pass(10 * step)
		err := f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock().Add(skew)))
		if ok {
			must(t, err)
		} else {
			wantKind(t, fmt.Sprint("skew ", skew), err, core.KindDenied)
		}
	}
}

// TestS7EachStepOnce: a step that was used, and every one before it, is refused
// for good.
func TestS7EachStepOnce(t *testing.T) {
	f, uri, _ := enrolled(t, nil)
	f.pass(10 * step)
	code := codeOf(t, uri, f.clock())
	must(t, f.CheckCode(f.ctx, alain, code[:3]+" "+code[3:]))
	wantKind(t, "again", f.CheckCode(f.ctx, alain, code), core.KindDenied)
	wantKind(t, "the one before", f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock().Add(-step))), core.KindDenied)
	f.reopen()
	wantKind(t, "after a restart", f.CheckCode(f.ctx, alain, code), core.KindDenied)
	must(t, f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock().Add(step))))
	f.pass(-5 * step)
	wantKind(t, "with the clock set back", f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock())), core.KindDenied)
}

// TestC2CodesGoByTheWall: after the clock was wrong for a while, and expiry goes by
// what it said, security codes are those of the time that it is.
func TestC2CodesGoByTheWall(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	f.pass(100 * day)
	_ = f.try(otherText(t)) // so that it is seen
	f.pass(-100 * day)
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	_, err = f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	f.pass(time.Minute)
	must(t, f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock())))
	if f.Stats().ClockBehind < 99*day {
		t.Errorf("the clock is said to be %s behind", f.Stats().ClockBehind)
	}
}

// TestConfirmUsesItsStep: the code that ended the enrolment is used up.
func TestConfirmUsesItsStep(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	code := codeOf(t, uri, f.clock())
	_, err = f.Confirm(f.ctx, alain, code, core.NewAppPassword{})
	must(t, err)
	wantKind(t, "the same code", f.CheckCode(f.ctx, alain, code), core.KindDenied)
	_, err = f.Confirm(f.ctx, alain, code, core.NewAppPassword{})
	wantKind(t, "confirming again", err, core.KindConflict)
}

// TestCodeRaces: one of many who present a code at once, on two nodes, is let in.
func TestCodeRaces(t *testing.T) {
	f, uri, c := enrolled(t, nil)
	nodes := []*fixture{f, f.another()}
	for name, codeAt := range map[string]func(time.Time) string{
		"totp":     func(now time.Time) string { return codeOf(t, uri, now) },
		"recovery": func(time.Time) string { return c.Recovery[3] },
	} {
		f.pass(time.Hour)
		nodes[1].pass(time.Hour)
		code := codeAt(f.clock())
		var right atomic.Int64
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				switch err := nodes[i%2].CheckCode(f.ctx, alain, code); core.KindOf(err) {
				case 0:
					right.Add(1)
				case core.KindDenied, core.KindLimited:
				default:
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
		if right.Load() != 1 {
			t.Errorf("%s: %d of 50 were let in, want 1", name, right.Load())
		}
	}
}

// TestEnrollAgain: the app of before works until the new one is confirmed.
func TestEnrollAgain(t *testing.T) {
	f, old, c := enrolled(t, nil)
	again, err := f.Enroll(f.ctx, alain)
	must(t, err)
	f.pass(2 * step)
	must(t, f.CheckCode(f.ctx, alain, codeOf(t, old, f.clock())))
	wantKind(t, "the new app, not confirmed", f.CheckCode(f.ctx, alain, codeOf(t, again, f.clock())), core.KindDenied)
	_, err = f.Confirm(f.ctx, alain, codeOf(t, old, f.clock().Add(step)), core.NewAppPassword{})
	wantKind(t, "confirming with the old app", err, core.KindDenied)
	second, err := f.Enroll(f.ctx, alain)
	must(t, err)
	_, err = f.Confirm(f.ctx, alain, codeOf(t, again, f.clock()), core.NewAppPassword{})
	wantKind(t, "confirming an enrolment that another replaced", err, core.KindDenied)
	renewed, err := f.Confirm(f.ctx, alain, codeOf(t, second, f.clock()), core.NewAppPassword{})
	must(t, err)
	if renewed.First != nil {
		t.Errorf("given %+v, a second first app password", renewed.First)
	}
	must(t, f.try(c.FirstText.Canonical()))
	f.pass(time.Hour)
	wantKind(t, "the old app", f.CheckCode(f.ctx, alain, codeOf(t, old, f.clock())), core.KindDenied)
	wantKind(t, "an old recovery code", f.CheckCode(f.ctx, alain, c.Recovery[0]), core.KindDenied)
	must(t, f.CheckCode(f.ctx, alain, renewed.Recovery[0]))
}

// TestEnrollmentWaits for a day.
func TestEnrollmentWaits(t *testing.T) {
	for wait, ok := range map[time.Duration]bool{24 * time.Hour: true, 24*time.Hour + time.Second: false} {
		f := newFixture(t, nil)
		_, err := f.AddAccount(f.ctx, alain, nil, nil)
		must(t, err)
		uri, err := f.Enroll(f.ctx, alain)
		must(t, err)
		f.pass(wait)
		_, err = f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
		if ok {
			must(t, err)
		} else {
			wantKind(t, wait.String(), err, core.KindConflict)
		}
	}
}

// TestRecoveryCodes work once each, however they are typed.
func TestRecoveryCodes(t *testing.T) {
	f, _, c := enrolled(t, nil)
	for i, code := range c.Recovery {
		typed := []string{code, strings.ToUpper(code), strings.ReplaceAll(code, "-", ""), strings.ReplaceAll(code, "-", " ")}[i%4]
		must(t, f.CheckCode(f.ctx, alain, typed))
		if i == 4 {
			f.reopen()
		}
		wantKind(t, "used already", f.CheckCode(f.ctx, alain, code), core.KindDenied)
		if a, err := f.Account(f.ctx, alain); err != nil || a.Recovery != 9-i {
			t.Errorf("%d codes are left (%v), want %d", a.Recovery, err, 9-i)
		}
		f.pass(time.Hour)
	}
	used := f.recorded(core.EventCodeUsed)
	if len(used) != 10 || used[0].Detail != "recovery code" || strings.Contains(fmt.Sprint(used), c.Recovery[0]) {
		t.Errorf("recorded %+v", used)
	}
}

// TestCodesAreThrottled: wrong ones are counted, right ones are not.
func TestCodesAreThrottled(t *testing.T) {
	f, uri, c := enrolled(t, nil)
	for range 20 {
		f.pass(2 * step)
		must(t, f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock())))
	}
	f.pass(time.Hour)
	for range 5 {
		wantKind(t, "a wrong code", f.CheckCode(f.ctx, alain, "000000"), core.KindDenied)
	}
	wantKind(t, "the sixth", f.CheckCode(f.ctx, alain, "000000"), core.KindLimited)
	right := codeOf(t, uri, f.clock())
	wantKind(t, "a right one, while limited", f.CheckCode(f.ctx, alain, right), core.KindLimited)
	wantKind(t, "a recovery code, while limited", f.CheckCode(f.ctx, alain, c.Recovery[0]), core.KindLimited)
	must(t, f.try(c.FirstText.Canonical())) // app passwords go on
	f.pass(2 * time.Minute)
	must(t, f.CheckCode(f.ctx, alain, codeOf(t, uri, f.clock())))
	if n := len(f.recorded(core.EventCodeRefused)); n != 5 {
		t.Errorf("%d refusals recorded, want 5", n)
	}
	wantKind(t, "no such account", f.CheckCode(f.ctx, "nobody", "000000"), core.KindNotFound)
}

// A keeper is a directory that keeps two-step verification itself.
type keeper struct {
	mirror
	code string
}

func (k *keeper) VerifyCode(ctx context.Context, name, code string) error {
	if _, err := k.Lookup(ctx, name); err != nil {
		return err
	}
	if code != k.code || code == "" {
		return directory.ErrDenied
	}
	k.code = ""
	return nil
}

// TestDirectoryKeepsTwoStep: then the engine has no say in it, and follows.
func TestDirectoryKeepsTwoStep(t *testing.T) {
	k := &keeper{code: "424242"}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = k })
	account := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
	k.set(account)
	_, text := f.create("laptop", "")
	must(t, f.try(text))

	_, err := f.Enroll(f.ctx, alain)
	wantKind(t, "enrolling", err, core.KindInvalid)
	_, err = f.Confirm(f.ctx, alain, "424242", core.NewAppPassword{})
	wantKind(t, "confirming", err, core.KindInvalid)
	wantKind(t, "turning off", f.TurnOffTwoStep(f.ctx, alain), core.KindInvalid)

	wantKind(t, "a wrong code", f.CheckCode(f.ctx, alain, "000000"), core.KindDenied)
	f.store.count()
	must(t, f.CheckCode(f.ctx, alain, "424242"))
	if _, applied := f.store.count(); applied != 0 {
		t.Errorf("%d writes for a code of the directory's, want none", applied)
	}
	wantKind(t, "a second time", f.CheckCode(f.ctx, alain, "424242"), core.KindDenied)
	k.fail(directory.ErrUnavailable)
	wantKind(t, "while the directory is away", f.CheckCode(f.ctx, alain, "424242"), core.KindUnavailable)
	k.fail(nil)

	account.TwoStep = directory.Off
	k.set(account)
	f.pass(time.Minute)
	wantReason(t, "off there", f.try(text), core.ReasonTwoStepOff)
	_, _, err = f.Create(f.ctx, alain, core.NewAppPassword{Name: "tablet"})
	wantKind(t, "creating while it is off there", err, core.KindDenied)
	account.TwoStep = directory.On
	k.set(account)
	f.pass(time.Minute)
	must(t, f.try(text))

	plain := &mirror{}
	g := newFixture(t, func(f *fixture) { f.opt.Directory = plain })
	plain.set(account)
	wantKind(t, "a directory that checks no code", g.CheckCode(g.ctx, alain, "424242"), core.KindInvalid)
	if err := g.CheckCode(g.ctx, alain, "424242"); errors.Is(err, directory.ErrDenied) {
		t.Errorf("%v is a verdict on a code that nobody checked", err)
	}
}
