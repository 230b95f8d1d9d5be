package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// inUse has x end sessions: "tv" is in use twice, "laptop" once.
func (f *fixture) inUse(x session.Ender) {
	f.t.Helper()
	for n, of := range []session.Owner{tv, tv, laptop} {
		device := fmt.Sprint([]string{"tv", "tv", "laptop"}[n], n)
		must(f.t, f.tell(session.Starts, fmt.Sprint(n), f.grant("vpn1", of), session.Report{Device: device}))
	}
	f.EndWith(x)
	time.Sleep(time.Second)
}

// TestEnds: the sessions of what does not hold any more are ended, and no others.
func TestEnds(t *testing.T) {
	for name, took := range map[string]func(f *fixture){
		"it was told":     func(f *fixture) { f.take(tv) },
		"nobody told":     func(f *fixture) { f.note(func() { f.gone[tv.AppPassword] = true }); time.Sleep(time.Minute) },
		"anything may be": func(f *fixture) { f.note(func() { f.gone[tv.AppPassword] = true }); f.SuspectAll() },
		"before a restart": func(f *fixture) {
			f.note(func() { f.gone[tv.AppPassword] = true })
			f.close()
			f.open()
		},
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, f *fixture) {
				x := newEnder()
				f.inUse(x)
				took(f)
				f.EndWith(x)
				synctest.Wait()
				if got := x.were(); got != "tv0 tv1" {
					t.Errorf("asked to end %s", got)
				}
				if s := f.want(1, f.Table)[0]; s.Device != "laptop2" {
					t.Errorf("%s is left", s.Device)
				}
				if told := f.told(); len(told) != 2 || told[0].Outcome != session.Ended || told[0].AppPassword != "1000000000000000" || told[0].AppPasswordName != "called \x10" {
					t.Errorf("told of %+v", told)
				}
			})
		})
	}
}

// TestEndsALateStart: a client that tells of a session only after its app
// password was deleted is told to end it, also where that happens after it was
// looked at and before the session is known.
func TestEndsALateStart(t *testing.T) {
	for name, deleted := range map[string]func(f *fixture){
		"before":    func(f *fixture) { f.take(tv) },
		"meanwhile": func(f *fixture) { f.stood = func() { f.gone[tv.AppPassword] = true } },
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, f *fixture) {
				x := newEnder()
				f.EndWith(x)
				token := f.grant("vpn1", tv)
				deleted(f)
				must(t, f.tell(session.Starts, "late", token, session.Report{Device: "late"}))
				synctest.Wait()
				if got := x.were(); got != "late" {
					t.Errorf("asked to end %q", got)
				}
				f.want(0, f.Table)
			})
		})
	}
}

// TestEndingFails: a client that refuses or says nothing keeps the session in
// the list, is told of, and is asked again, later each time.
func TestEndingFails(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		f.inUse(x)
		x.answers("tv0", session.Refused)
		x.answers("tv1", session.Unanswered)
		x.answers("laptop2", session.NotAsked)
		began := time.Now()
		f.take(tv, laptop)
		synctest.Wait()
		for device, want := range map[string]session.Outcome{"tv0": session.Refused, "tv1": session.Unanswered, "laptop2": session.NotAsked} {
			if n := f.outcomes(f.ctx, began)[device]; n.Outcome != want || n.Detail != "because" {
				t.Errorf("%s: %s (%s), want %s", device, n.Outcome, n.Detail, want)
			}
		}
		f.want(3, f.Table)
		if told := f.told(); len(told) != 3 || told[0].Outcome == session.Ended {
			t.Errorf("told of %+v", told)
		}
		f.SuspectAll()
		synctest.Wait()
		if n := x.times(); n != 3 {
			t.Errorf("asked %d times within a moment", n)
		}
		x.answers("tv1", session.Ended)
		time.Sleep(2*time.Minute + time.Second) // past the next look after a minute
		f.want(2, f.Table)
		if n := x.times(); n != 6 {
			t.Errorf("asked %d times, want 6", n)
		}
		f.SuspectAll()
		time.Sleep(70 * time.Second)
		if n := x.times(); n != 6 {
			t.Errorf("asked %d times before twice as long has passed", n)
		}
		time.Sleep(3 * time.Minute)
		if n := x.times(); n < 8 {
			t.Errorf("asked %d times, and not again", n)
		}
	})
}

// TestAskedAnew: who asks what came of it now does not get what came of an
// earlier try, and has it tried again.
func TestAskedAnew(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		f.inUse(x)
		x.answers("laptop2", session.Refused)
		f.take(laptop)
		synctest.Wait()
		time.Sleep(time.Second)
		x.answers("laptop2", session.Ended)
		if n := f.outcomes(f.ctx, time.Now())["laptop2"]; n.Outcome != session.Ended {
			t.Errorf("it is %q", n.Outcome)
		}
		f.want(2, f.Table)
		time.Sleep(time.Second)
		if all := f.outcomes(f.ctx, time.Now()); len(all) != 0 {
			t.Errorf("%v since then", all)
		}
	})
}

// TestAskedMeanwhile: who asks while a client has not answered an earlier try
// waits for that one, and gets what comes of it.
func TestAskedMeanwhile(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.inUse(x)
		x.answers("laptop2", session.Unanswered)
		f.take(laptop)
		synctest.Wait()
		time.Sleep(time.Second)
		patience, leave := context.WithTimeout(f.ctx, time.Second)
		defer leave()
		if n, ok := f.outcomes(patience, time.Now())["laptop2"]; !ok || n.Outcome != session.Waits {
			t.Errorf("while it goes on it is %q, %v", n.Outcome, ok)
		}
		began := time.Now()
		go func() { time.Sleep(time.Second); close(x.wait) }()
		if n := f.outcomes(f.ctx, began)["laptop2"]; n.Outcome != session.Unanswered {
			t.Errorf("then it is %q", n.Outcome)
		}
	})
}

// TestEndingWaits: who asked does not wait longer than it wants to, the asking
// goes on, and a client that tells of the end has answered.
func TestEndingWaits(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.inUse(x)
		began := time.Now()
		f.take(tv, laptop)
		patience, leave := context.WithTimeout(f.ctx, 4*time.Second)
		defer leave()
		all := f.outcomes(patience, began)
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("waited %v", took)
		}
		for device, n := range all {
			if n.Outcome != session.Waits {
				t.Errorf("%s: %s", device, n.Outcome)
			}
		}
		if len(all) != 3 {
			t.Errorf("%d endings, want 3", len(all))
		}
		time.Sleep(15 * time.Minute)
		must(t, f.tell(session.Stopped, "0", nil, session.Report{}))
		synctest.Wait()
		if told := f.told(); len(told) != 1 || told[0].Device != "tv0" || told[0].Outcome != session.Ended || told[0].Detail != "" {
			t.Errorf("told of %+v", told)
		}
		go func() { time.Sleep(time.Second); close(x.wait) }()
		all = f.outcomes(f.ctx, began)
		for device, n := range all {
			if n.Outcome != session.Ended {
				t.Errorf("%s: %s", device, n.Outcome)
			}
		}
		if len(all) != 3 {
			t.Errorf("%d endings, want 3", len(all))
		}
		time.Sleep(15 * time.Minute)
		if all = f.outcomes(f.ctx, began); len(all) != 0 {
			t.Errorf("%d endings are kept for ever", len(all))
		}
	})
}

// TestWaitsForNoTurn: a session that the client itself ended while others were
// asked for first is over at once, and is not asked for.
func TestWaitsForNoTurn(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.EndWith(x)
		for n := range 9 {
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), f.grant("vpn1", tv), session.Report{Device: fmt.Sprint(n)}))
		}
		f.take(tv)
		synctest.Wait()
		left := slices.DeleteFunc(f.List(alain), func(s session.Session) bool { return slices.Contains(strings.Fields(x.were()), s.Device) })
		if len(left) != 1 {
			t.Fatalf("%d were not asked for yet", len(left))
		}
		must(t, f.tell(session.Stopped, left[0].Device, nil, session.Report{}))
		synctest.Wait()
		if told := f.told(); len(told) != 1 || told[0].Device != left[0].Device || told[0].Outcome != session.Ended {
			t.Errorf("told of %+v", told)
		}
		close(x.wait)
		synctest.Wait()
		if n := x.times(); n != 8 {
			t.Errorf("asked %d times", n)
		}
		f.want(0, f.Table)
	})
}

// TestHoldsAgain: what was to be ended goes on where its app password holds again
// before the client has answered, or was asked.
func TestHoldsAgain(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.EndWith(x)
		for n := range 10 { // of which eight are asked for
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), f.grant("vpn1", tv), session.Report{Device: fmt.Sprint(n)}))
		}
		began := time.Now()
		f.take(tv)
		synctest.Wait()
		f.note(func() { clear(f.gone) })
		f.Suspect(alain)
		synctest.Wait()
		for device, n := range f.outcomes(f.ctx, began) {
			if n.Outcome != session.NotAsked || n.Detail != "its app password works again" {
				t.Errorf("%s: %s (%s)", device, n.Outcome, n.Detail)
			}
		}
		if told := f.told(); len(told) != 10 {
			t.Errorf("told of %d", len(told))
		}
		f.want(10, f.Table)
		time.Sleep(time.Hour)
		if n := x.times(); n != 8 {
			t.Errorf("asked %d times", n)
		}
		f.take(tv)
		close(x.wait)
		synctest.Wait()
		f.want(0, f.Table)
	})
}

// TestTakenOnceMore: what is taken away once more, while a client that need not be
// asked any more is not left yet, is ended.
func TestTakenOnceMore(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		asked := 0
		f.inUse(endFunc(func(ctx context.Context, _ session.Session) (session.Outcome, string) {
			if asked++; asked > 1 {
				return session.Ended, ""
			}
			<-ctx.Done()
			time.Sleep(time.Second)
			return session.Unanswered, ""
		}))
		f.take(laptop)
		synctest.Wait()
		f.note(func() { clear(f.gone) })
		f.Suspect(alain)
		synctest.Wait()
		f.take(laptop)
		time.Sleep(2 * time.Second)
		if f.want(2, f.Table); asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// An endFunc is a session.Ender.
type endFunc func(ctx context.Context, s session.Session) (session.Outcome, string)

func (fn endFunc) EndSession(ctx context.Context, s session.Session) (session.Outcome, string) {
	return fn(ctx, s)
}

// TestEndingsAreBounded: not more than a few sessions of a client are asked for
// at a time, so that one that is silent holds up no other for long.
func TestEndingsAreBounded(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.EndWith(x)
		report := func(n int, client string, of session.Owner) {
			must(t, f.tell(session.GoesOn, fmt.Sprint(client, n), f.grant(client, of), session.Report{Client: client, Device: fmt.Sprint(client, n)}))
		}
		for n := range 20 {
			report(n, "vpn1", laptop)
		}
		for client := range 12 {
			for n := range 3 {
				report(n, fmt.Sprint("nas", client), tv)
			}
		}
		f.take(tv, laptop)
		synctest.Wait()
		if n := x.times(); n != 8+36 || x.mostOf("vpn1") != 8 {
			t.Errorf("%d asked for, and %d of one client", n, x.mostOf("vpn1"))
		}
		phone := tv
		phone.AppPassword[0]++
		for n := range 60 {
			report(n, fmt.Sprint("ap", n), phone)
		}
		f.take(phone)
		synctest.Wait()
		close(x.wait)
		synctest.Wait()
		f.want(0, f.Table)
		if x.mostOf("vpn1") != 8 || x.mostOf("") != 64 {
			t.Errorf("at a time: %d of one client, %d in all", x.mostOf("vpn1"), x.mostOf(""))
		}
	})
}

// TestEndDoesNotWaitForAClient: what was not answered is asked for again by the
// next one, and nobody is told of it.
func TestEndDoesNotWaitForAClient(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x := newEnder()
		x.wait = make(chan struct{})
		f.inUse(x)
		f.take(tv, laptop)
		synctest.Wait()
		f.close()
		if n, told := x.times(), f.told(); n != 3 || len(told) != 0 {
			t.Errorf("%d asked for, and told of %+v", n, told)
		}
		f.open()
		f.want(3, f.Table)
		close(x.wait)
		f.EndWith(x)
		synctest.Wait()
		f.want(0, f.Table)
	})
}

// TestNobodyCanTell: while nobody can tell what holds, nobody is cut off, and who
// asks is told.
func TestNobodyCanTell(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		x, down := newEnder(), errors.New("down")
		f.inUse(x)
		f.note(func() { f.away = down })
		f.take(tv)
		time.Sleep(time.Hour)
		if _, err := f.Endings(f.ctx, alain, time.Now()); !errors.Is(err, down) {
			t.Errorf("it says %v", err)
		}
		if x.were() != "" {
			t.Errorf("asked to end %s", x.were())
		}
		f.note(func() { f.away = nil })
		time.Sleep(time.Minute)
		f.want(1, f.Table)
	})
}
