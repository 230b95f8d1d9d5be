package core_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
)

// An ender is a SessionEnder that answers as the test says.
type ender struct {
	mu      sync.Mutex
	asked   []string // devices
	outcome map[string]session.Outcome
	wait    chan struct{} // nil: nothing is waited for
	active  map[string]int
	most    map[string]int // at a time, by client; "" is all
}

func newEnder() *ender {
	return &ender{outcome: map[string]session.Outcome{}, active: map[string]int{}, most: map[string]int{}}
}

func (x *ender) EndSession(ctx context.Context, s session.Session) (session.Outcome, string) {
	x.mu.Lock()
	x.asked = append(x.asked, s.Device)
	outcome, wait := x.outcome[s.Device], x.wait
	for _, by := range []string{"", s.Client} {
		x.active[by]++
		x.most[by] = max(x.most[by], x.active[by])
	}
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.active[""]--
		x.active[s.Client]--
	}()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return session.Unanswered, ""
		}
	}
	if outcome == "" {
		return session.Ended, ""
	}
	return outcome, "because"
}

func (x *ender) were() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(slices.Values(x.asked))
}

func (x *ender) answers(device string, o session.Outcome) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outcome[device] = o
}

// until waits for what happens in the background.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// inUse is an account with two app passwords in use: "tv" twice, "laptop" once.
func inUse(t *testing.T, edit func(*fixture)) (f *fixture, x *ender, texts map[string]string) {
	f = newFixture(t, edit)
	f.addAlain()
	x, texts = newEnder(), map[string]string{}
	for _, name := range []string{"tv", "laptop"} {
		_, texts[name] = f.create(name, "")
	}
	f.EndSessionsWith(x)
	for n, name := range []string{"tv", "tv", "laptop"} {
		device := fmt.Sprintf("%s %d", name, n)
		must(t, f.report(session.Starts, fmt.Sprint(n), f.signIn("vpn1", texts[name]), session.Report{Device: device}))
	}
	f.pass(time.Second)
	return f, x, texts
}

func (f *fixture) endings(since time.Time) []session.Ending {
	f.t.Helper()
	all, err := f.SessionEndings(f.ctx, alain, since)
	must(f.t, err)
	return all
}

// TestDeletingEndsIt: whatever takes an app password away ends its sessions,
// and no other.
func TestDeletingEndsIt(t *testing.T) {
	tv, all := []string{"tv 0", "tv 1"}, []string{"laptop 2", "tv 0", "tv 1"}
	for name, tt := range map[string]struct {
		do   func(f *fixture) error
		want []string
	}{
		"delete":          {func(f *fixture) error { _, err := f.Delete(f.ctx, alain, "tv"); return err }, tv},
		"suspend":         {func(f *fixture) error { _, err := f.Suspend(f.ctx, alain, "tv"); return err }, tv},
		"delete all":      {func(f *fixture) error { _, err := f.DeleteAll(f.ctx, alain); return err }, all},
		"disable":         {func(f *fixture) error { return f.SetEnabled(f.ctx, alain, false) }, all},
		"two-step off":    {func(f *fixture) error { return f.TurnOffTwoStep(f.ctx, alain) }, all},
		"account deleted": {func(f *fixture) error { return f.DeleteAccount(f.ctx, alain) }, all},
		"disallowed": {func(f *fixture) error {
			p := f.policy
			p.Deny = true
			return f.SetPolicy(p)
		}, all},
		"main password set": {func(f *fixture) error { return f.SetMainPassword(f.ctx, alain, []byte("another one, long")) }, all},
		"resume":            {func(f *fixture) error { _, err := f.Resume(f.ctx, alain, "tv"); return err }, nil},
		"rotate":            {func(f *fixture) error { _, _, err := f.Rotate(f.ctx, alain, "tv", 0); return err }, nil},
		"create":            {func(f *fixture) error { f.create("another", ""); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, x, _ := inUse(t, func(f *fixture) { f.policy.OnPasswordChange = core.Suspend })
			must(t, tt.do(f))
			endings := f.endings(f.clock())
			if got := x.were(); !slices.Equal(got, tt.want) {
				t.Errorf("asked to end %q, want %q", got, tt.want)
			}
			if len(endings) != len(tt.want) {
				t.Errorf("%d endings, want %d", len(endings), len(tt.want))
			}
			for _, n := range endings {
				if n.Outcome != session.Ended {
					t.Errorf("%s: %s", n.Device, n.Outcome)
				}
			}
			f.wantSessions(3 - len(tt.want))
			until(t, "the audit", func() bool { return len(f.recorded(core.EventSessionEnded)) == len(tt.want) })
			for _, ev := range f.recorded(core.EventSessionEnded) {
				if ev.Account != alain || ev.AppPassword.ID == "" || ev.Device == "" || ev.Detail != "vpn1: ended" {
					t.Errorf("recorded as %+v", ev)
				}
			}
		})
	}
}

// TestEndingInTheBackground: sessions end without anybody who waits: when
// another node deletes, when the directory says so, when the date comes, and
// when the deletion was before a restart.
func TestEndingInTheBackground(t *testing.T) {
	for name, do := range map[string]func(f *fixture, x *ender){
		"another node": func(f *fixture, _ *ender) {
			_, err := f.another().DeleteAll(f.ctx, alain)
			must(f.t, err)
		},
		"the directory": func(f *fixture, _ *ender) {
			must(f.t, f.opt.Directory.(directory.Editor).SetEnabled(f.ctx, alain, false))
		},
		"before a restart": func(f *fixture, x *ender) {
			must(f.t, f.Close())
			g := f.another()
			_, err := g.DeleteAll(f.ctx, alain)
			must(f.t, err)
			must(f.t, g.Close())
			f.open()
			f.EndSessionsWith(x)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where time passes only while everybody waits
				f, x, _ := inUse(t, nil)
				began := time.Now()
				do(f, x)
				until(t, "all are ended", func() bool { return len(f.sessions()) == 0 })
				if len(x.were()) != 3 {
					t.Errorf("asked for %q", x.were())
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("after %v: that is what is found by looking at all now and then", took)
				}
			})
		})
	}
}

// TestEndingAtItsDate: an app password that ends takes its sessions with it.
func TestEndingAtItsDate(t *testing.T) {
	f, x, _ := inUse(t, nil)
	_, text, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "guest", Expires: f.clock().Add(time.Hour)})
	must(t, err)
	must(t, f.report(session.Starts, "9", f.signIn("vpn1", text.Canonical()), session.Report{Device: "guest"}))
	if n := len(f.endings(f.clock())); n != 0 {
		t.Fatalf("%d endings", n)
	}
	f.pass(time.Hour)
	f.endings(f.clock())
	if got := x.were(); !slices.Equal(got, []string{"guest"}) {
		t.Errorf("asked to end %q", got)
	}
}

// TestEndingOfALateStart: a client that tells of a session only after its app
// password was deleted is told to end it.
func TestEndingOfALateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, x, texts := inUse(t, nil)
		token := f.signIn("vpn1", texts["laptop"])
		_, err := f.Delete(f.ctx, alain, "laptop")
		must(t, err)
		f.endings(f.clock())
		began := time.Now()
		must(t, f.report(session.Starts, "late", token, session.Report{Device: "late"}))
		until(t, "it is ended", func() bool { return slices.Contains(x.were(), "late") && len(f.sessions()) == 2 })
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("after %v: that is what is found by looking at all now and then", took)
		}
		until(t, "the audit", func() bool { return len(f.recorded(core.EventSessionEnded)) == 2 })
		if ev := f.recorded(core.EventSessionEnded)[1]; ev.AppPassword.Name != "laptop" {
			t.Errorf("recorded as %+v", ev)
		}
	})
}

// TestEndingFails: a client that refuses or says nothing keeps the session in
// the list, is told of, and is asked again.
func TestEndingFails(t *testing.T) {
	f, x, _ := inUse(t, nil)
	x.answers("tv 0", session.Refused)
	x.answers("tv 1", session.Unanswered)
	x.answers("laptop 2", session.NotAsked)
	_, err := f.DeleteAll(f.ctx, alain)
	must(t, err)
	endings := f.endings(f.clock())
	if len(endings) != 3 {
		t.Errorf("%d endings, want one of each session", len(endings))
	}
	for _, n := range endings {
		if want := x.outcome[n.Device]; n.Outcome != want || n.Detail != "because" {
			t.Errorf("%s: %s, want %s", n.Device, n.Outcome, want)
		}
	}
	f.wantSessions(3)
	until(t, "the audit", func() bool { return len(f.recorded(core.EventSessionNotEnded)) == 3 })
	if len(f.recorded(core.EventSessionEnded)) != 0 {
		t.Error("one was recorded as ended")
	}
	f.EndSessionsWith(x) // looks at all, and leaves alone what failed just now
	time.Sleep(10 * time.Millisecond)
	if n := len(x.were()); n != 3 {
		t.Errorf("asked %d times within a moment", n)
	}
	f.pass(2 * time.Minute)
	x.answers("tv 1", session.Ended)
	f.EndSessionsWith(x)
	until(t, "it is asked again", func() bool { return len(f.sessions()) == 2 })
	until(t, "all are", func() bool { return len(x.were()) == 6 })
}

// TestEndingWaits: who asked does not wait longer than it wants to, the asking
// goes on, and a client that tells of the end has answered.
func TestEndingWaits(t *testing.T) {
	f, x, _ := inUse(t, nil)
	x.wait = make(chan struct{})
	began := f.clock()
	_, err := f.DeleteAll(f.ctx, alain)
	must(t, err)
	ctx, leave := context.WithCancel(f.ctx)
	go func() {
		until(t, "all are asked for", func() bool { return len(x.were()) == 3 })
		leave()
	}()
	all, err := f.SessionEndings(ctx, alain, began)
	must(t, err)
	for _, n := range all {
		if n.Outcome != session.Waits {
			t.Errorf("%s: %s", n.Device, n.Outcome)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d endings, want 3", len(all))
	}
	must(t, f.report(session.Stopped, "0", nil, session.Report{}))
	until(t, "one is over", func() bool { return len(f.recorded(core.EventSessionEnded)) == 1 })
	close(x.wait)
	if all = f.endings(began); len(all) != 3 || slices.ContainsFunc(all, func(n session.Ending) bool { return n.Outcome != session.Ended }) {
		t.Errorf("ended as %+v", all)
	}
	f.pass(time.Second)
	if all = f.endings(f.clock()); len(all) != 0 {
		t.Errorf("%d endings since then", len(all))
	}
}

// TestEndingsAreBounded: not more than a few sessions of a client are asked
// for at a time, so that one that is silent holds up no other for long.
func TestEndingsAreBounded(t *testing.T) {
	f, x, texts := inUse(t, nil)
	x.wait = make(chan struct{})
	for client := range 12 {
		name := fmt.Sprint("nas", client)
		token := f.signIn(name, texts["tv"])
		for n := range 3 {
			must(t, f.report(session.GoesOn, fmt.Sprint(client, n), token, session.Report{Client: name, Device: name}))
		}
	}
	token := f.signIn("vpn1", texts["laptop"])
	for n := range 20 {
		must(t, f.report(session.GoesOn, fmt.Sprint("more", n), token, session.Report{Device: "more"}))
	}
	_, err := f.DeleteAll(f.ctx, alain)
	must(t, err)
	until(t, "as many as may", func() bool { return len(x.were()) == 8+36 })
	if x.most["vpn1"] != 8 {
		t.Errorf("%d of one client at a time", x.most["vpn1"])
	}
	close(x.wait)
	f.endings(f.clock())
	f.wantSessions(0)
	if x.most["vpn1"] > 8 || x.most[""] > 64 {
		t.Errorf("at a time: %v", x.most)
	}
}

// TestCloseDoesNotWaitForAClient: what was not answered is asked for again by
// the next engine, and nothing is recorded of it.
func TestCloseDoesNotWaitForAClient(t *testing.T) {
	f, x, _ := inUse(t, nil)
	x.wait = make(chan struct{})
	_, err := f.DeleteAll(f.ctx, alain)
	must(t, err)
	until(t, "all are asked for", func() bool { return len(x.were()) == 3 })
	must(t, f.Close())
	if n := len(f.recorded(core.EventSessionNotEnded)); n != 0 {
		t.Errorf("%d recorded", n)
	}
	f.open()
	f.wantSessions(3)
	close(x.wait)
	f.EndSessionsWith(x)
	until(t, "all are ended", func() bool { return len(f.sessions()) == 0 })
}

// TestEndingsWithoutAnAnswer: while the directory does not answer, nobody is
// cut off, and who asks is told.
func TestEndingsWithoutAnAnswer(t *testing.T) {
	m := &mirror{accounts: []directory.Account{{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}}}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	p, text := f.create("tv", "")
	x := newEnder()
	f.EndSessionsWith(x)
	g, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Client: "vpn1"})
	must(t, err)
	must(t, f.report(session.Starts, "1", g.Session, session.Report{Device: "tv"}))
	m.fail(directory.ErrUnavailable)
	f.pass(time.Hour)
	_, err = f.SessionEndings(f.ctx, alain, f.clock())
	wantKind(t, "directory down", err, core.KindUnavailable)
	if len(x.were()) != 0 {
		t.Error("it was ended")
	}
	m.fail(nil)
	m.set()
	f.endings(f.clock())
	if len(x.were()) != 1 || len(f.sessions()) != 0 {
		t.Errorf("the account is gone, and %s goes on", p.Name)
	}
}
