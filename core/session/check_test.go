package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// wantOutcome fails unless the list says that of the session of device.
func (f *fixture) wantOutcome(device string, want session.Outcome, detail string, asked time.Time) {
	f.t.Helper()
	for _, s := range f.List(alain) {
		if s.Device == device && (s.Outcome != want || s.Detail != detail || !s.Asked.Equal(asked)) {
			f.t.Errorf("%s is listed as %q (%s) at %v, want %q (%s) at %v", device, s.Outcome, s.Detail, s.Asked, want, detail, asked)
		}
	}
}

// TestListSaysWhatWasNotEnded: what was to be ended and was not stands in the
// list, also while it is tried again, and until its app password holds again.
func TestListSaysWhatWasNotEnded(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.inUse(x)
		x.answers("tv0", session.Refused)
		x.answers("tv1", session.Unanswered)
		first := time.Now()
		f.wantOutcome("tv0", "", "", time.Time{})
		f.take(tv)
		synctest.Wait()
		f.wantOutcome("tv0", session.Waits, "", first)
		f.wantOutcome("laptop2", "", "", time.Time{})
		time.Sleep(time.Second)
		close(x.wait)
		synctest.Wait()
		f.wantOutcome("tv0", session.Refused, "because", first)
		f.wantOutcome("tv1", session.Unanswered, "because", first)
		f.want(3, f.Table)

		x.mu.Lock()
		x.wait = make(chan struct{})
		x.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := x.times(); n != 4 {
			t.Fatalf("asked %d times", n)
		}
		var again time.Time
		for _, s := range f.List(alain) {
			if s.Device == "tv0" {
				again = s.Asked
			}
		}
		if !again.After(first) {
			t.Errorf("asked again at %v", again)
		}
		f.wantOutcome("tv0", session.Refused, "because", again) // what is known of it
		close(x.wait)
		synctest.Wait()
		f.note(func() { clear(f.gone) })
		f.Suspect(alain)
		synctest.Wait()
		f.wantOutcome("tv0", "", "", time.Time{})

		x.answers("tv0", session.Ended)
		f.take(tv)
		time.Sleep(time.Second) // and not as long as after two tries in vain
		if n := x.times(); n != 6 {
			t.Errorf("asked %d times", n)
		}
		f.want(2, f.Table)
		f.wantOutcome("tv1", session.Unanswered, "because", time.Now().Add(-time.Second))
	})
}

// TestListSaysWhatWasNotEndedOfBefore: also of a session that another one of the
// same device took the place of.
func TestListSaysWhatWasNotEndedOfBefore(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.answers("xbox", session.Unanswered)
		f.EndWith(x)
		for _, id := range []string{"1", "2"} {
			time.Sleep(time.Second)
			must(t, f.tell(session.Starts, id, f.grant("vpn1", tv), session.Report{Device: "xbox", Port: "7"}))
		}
		f.want(1, f.Table)
		f.take(tv)
		synctest.Wait()
		f.want(2, f.Table)
		f.wantOutcome("xbox", session.Unanswered, "because", time.Now())
	})
}

// TestOneThatNobodyCanTellOf: an account that nobody can tell of holds up no
// others; where nobody tells anything, that is found out by a few.
func TestOneThatNobodyCanTellOf(t *testing.T) {
	const accounts, faulty = 100, 10
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		f.EndWith(x)
		synctest.Wait()
		for n := range accounts {
			of := tv
			of.Account = fmt.Sprint(n)
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), f.grant("vpn1", of), session.Report{Device: fmt.Sprint(n)}))
		}
		synctest.Wait()
		f.note(func() {
			f.gone[tv.AppPassword] = true
			f.awayFor = func(account string) error {
				if strings.HasSuffix(account, "7") {
					return errors.New("the directory answered for another account")
				}
				return nil
			}
		})
		f.SuspectAll()
		synctest.Wait()
		if n := x.times(); n != accounts-faulty {
			t.Errorf("%d are ended, want %d", n, accounts-faulty)
		}

		f.note(func() { f.awayFor = nil })
		for n := range accounts {
			of := laptop
			of.Account = fmt.Sprint(n)
			must(t, f.tell(session.GoesOn, fmt.Sprint("l", n), f.grant("vpn1", of), session.Report{Device: fmt.Sprint("l", n)}))
		}
		synctest.Wait()
		asked := 0
		f.note(func() {
			f.awayFor = func(string) error { asked++; return errors.New("down") }
		})
		f.SuspectAll()
		synctest.Wait()
		if asked > 8 {
			t.Errorf("%d were asked about while nobody answers", asked)
		}
		f.note(func() { f.awayFor, f.gone[laptop.AppPassword] = nil, true })
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(f.List("")); n != 0 {
			t.Errorf("%d are left once it answers again", n)
		}
	})
}

// TestChangeDoesNotWaitForASweep: what something was told of is looked at, and
// what is to be ended is ended, while a slow directory is asked about all others.
func TestChangeDoesNotWaitForASweep(t *testing.T) {
	const accounts = 100
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		f.inUse(x)
		for n := range accounts {
			of := tv
			of.Account = fmt.Sprint(n)
			must(t, f.tell(session.GoesOn, fmt.Sprint("other", n), f.grant("vpn1", of), session.Report{}))
		}
		synctest.Wait()
		f.note(func() { f.slow = time.Second })
		f.SuspectAll()
		time.Sleep(10 * time.Second)
		f.note(func() { f.gone[laptop.AppPassword] = true })
		f.Suspect(alain)
		time.Sleep(3 * time.Second)
		if got := x.were(); got != "laptop2" {
			t.Errorf("asked to end %q", got)
		}
		f.note(func() { f.gone[tv.AppPassword] = true })
		began := time.Now()
		if all := f.outcomes(f.ctx, began); len(all) != 2 || all["tv0"].Outcome != session.Ended {
			t.Errorf("%+v", all)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("who asked waited for %v", took)
		}
	})
}

// TestStandingThatHangs: what never answers is not waited for for ever.
func TestStandingThatHangs(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		f.inUse(x)
		f.note(func() { f.slow = 24 * time.Hour })
		f.take(tv)
		time.Sleep(time.Minute)
		f.note(func() { f.slow = 0 })
		time.Sleep(time.Minute)
		if got := x.were(); got != "tv0 tv1" {
			t.Errorf("asked to end %q", got)
		}
	})
}

// TestOutcomeIsKeptFromItsEnd: what came of a session can be asked for a while from
// when it is known, however long it took.
func TestOutcomeIsKeptFromItsEnd(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.inUse(x)
		began := time.Now()
		f.take(laptop)
		time.Sleep(time.Hour)
		close(x.wait)
		time.Sleep(5 * time.Minute)
		if n := f.outcomes(f.ctx, began)["laptop2"]; n.Outcome != session.Ended {
			t.Errorf("five minutes after its end it is %q", n.Outcome)
		}
		time.Sleep(10 * time.Minute)
		if all := f.outcomes(f.ctx, began); len(all) != 0 {
			t.Errorf("%d are kept for ever", len(all))
		}
	})
}

// TestNobodyEnds: without anybody who asks clients nothing is ended, also where he
// leaves while some wait.
func TestNobodyEnds(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		f.inUse(nil)
		f.take(tv)
		time.Sleep(2 * time.Minute)
		f.want(3, f.Table)
		f.wantOutcome("tv0", "", "", time.Time{})

		left := f.load() // which nobody runs yet
		left.EndWith(newEnder())
		gone, leave := context.WithCancel(f.ctx)
		leave()
		_, err := left.Endings(gone, alain, time.Now())
		must(t, err)
		left.EndWith(nil)
		ctx, stop := context.WithCancel(f.ctx)
		defer stop()
		go left.Run(ctx)
		synctest.Wait()
		for _, n := range f.told() {
			if n.Outcome != session.NotAsked {
				t.Errorf("%s: %s", n.Device, n.Outcome)
			}
		}
		if n := len(f.told()); n != 2 {
			t.Errorf("told of %d", n)
		}
	})
}
