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
	"github.com/keywicket/keywicket/core/store"
)

// An ender is a session.Ender that ends what it is asked for, or refuses.
type ender struct {
	mu      sync.Mutex
	asked   []string // devices
	refuses bool
}

func (x *ender) EndSession(_ context.Context, s session.Session) (session.Outcome, string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, s.Device)
	if x.refuses {
		return session.Refused, "because"
	}
	return session.Ended, ""
}

func (x *ender) were() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(slices.Values(x.asked))
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
	x, texts = &ender{}, map[string]string{}
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

func (f *fixture) endings(since time.Time) []session.Session {
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
// another node deletes, when the directory or the policy says so, and when the
// deletion was before a restart.
func TestEndingInTheBackground(t *testing.T) {
	for name, do := range map[string]func(f *fixture, x *ender){
		"another node": func(f *fixture, _ *ender) {
			_, err := f.another().DeleteAll(f.ctx, alain)
			must(f.t, err)
		},
		"the directory": func(f *fixture, _ *ender) {
			must(f.t, f.opt.Directory.(directory.Editor).SetEnabled(f.ctx, alain, false))
		},
		"the policy": func(f *fixture, _ *ender) {
			f.policy.Deny = true
			must(f.t, f.SetPolicy(f.policy))
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

// TestEndingIsRefused: what a client does not end is told of, with its words.
func TestEndingIsRefused(t *testing.T) {
	f, x, _ := inUse(t, nil)
	x.refuses = true
	_, err := f.Delete(f.ctx, alain, "laptop")
	must(t, err)
	if all := f.endings(f.clock()); len(all) != 1 || all[0].Outcome != session.Refused || all[0].Detail != "because" {
		t.Errorf("ended as %+v", all)
	}
	until(t, "the audit", func() bool { return len(f.recorded(core.EventSessionNotEnded)) == 1 })
	if ev := f.recorded(core.EventSessionNotEnded)[0]; ev.Account != alain || ev.AppPassword.Name != "laptop" || ev.Device != "laptop 2" || ev.Detail != "vpn1: refused, because" {
		t.Errorf("recorded as %+v", ev)
	}
}

// TestEndingsOfADamagedRecord: while nobody can read what holds, what goes on
// goes on.
func TestEndingsOfADamagedRecord(t *testing.T) {
	f, x, texts := inUse(t, nil)
	_, err := f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "account/" + alain, Value: []byte("x")}})
	must(t, err)
	until(t, "it is seen", func() bool { return core.KindOf(f.try(texts["tv"])) == core.KindDamaged })
	if all := f.endings(f.clock()); len(all) != 0 || len(x.were()) != 0 {
		t.Errorf("ended as %+v", all)
	}
	f.wantSessions(3)
}

// TestEndingsWithoutAnAnswer: while the directory does not answer, nobody is
// cut off, and who asks is told.
func TestEndingsWithoutAnAnswer(t *testing.T) {
	m := &mirror{accounts: []directory.Account{{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}}}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	p, text := f.create("tv", "")
	x := &ender{}
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
