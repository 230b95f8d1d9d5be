package core_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// A world is an account with everything that a change can be made to.
type world struct {
	*fixture
	uri     string
	pending string // of an enrolment that waits
	c       core.Confirmation
	laptop  core.AppPassword
	paused  core.AppPassword
	pinned  core.AppPassword // to the device "Xbox"
	fresh   core.AppPassword // will be pinned to the first device
	texts   map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	pinned := func(f *fixture) {
		p := f.policy.Profiles[core.DefaultProfile]
		p.PinDevice = true
		f.policy.Profiles["pinned"] = p
		f.policy.OnPasswordChange = core.Suspend
	}
	f, uri, c := enrolled(t, pinned)
	w := &world{fixture: f, uri: uri, c: c, texts: map[string]string{core.FirstName: c.FirstText.Canonical()}}
	for name, made := range map[string]*core.AppPassword{"laptop": &w.laptop, "paused": &w.paused} {
		*made, w.texts[name] = f.create(name, "")
	}
	w.pinned, w.texts["pinned"] = f.create("pinned", "pinned")
	w.fresh, w.texts["fresh"] = f.create("fresh", "pinned")
	must(t, w.tryFrom("Xbox", "pinned"))
	_, err := f.Suspend(f.ctx, alain, "paused")
	must(t, err)
	w.pending, err = f.Enroll(f.ctx, alain)
	must(t, err)
	for name := range w.texts {
		if name != "fresh" {
			w.tryFrom("Xbox", name) // so that the cache is warm
		}
	}
	return w
}

func (w *world) tryFrom(device, name string) error {
	_, err := w.Verify(w.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(w.texts[name]), Service: "pam/" + name, Device: device})
	return err
}

// view returns all that can be seen of the account, through e.
func (w *world) view(e *core.Engine) string {
	w.t.Helper()
	seen := fmt.Sprint(e.Exists(w.ctx, alain))
	for _, name := range []string{core.FirstName, "laptop", "paused", "pinned"} {
		_, err := e.Verify(w.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(w.texts[name]), Service: "pam/" + name, Device: "Xbox"})
		seen += fmt.Sprintf(" %s=%q", name, core.ReasonOf(err))
	}
	a, _ := e.Account(w.ctx, alain)
	list, _ := e.List(w.ctx, alain)
	for i := range list { // these come later, and from each node by itself
		list[i].LastUse, list[i].Uses = nil, 0
	}
	bob, _ := e.Account(w.ctx, "bob")
	return seen + said(w.t, a) + said(w.t, list) + said(w.t, bob)
}

// mutations are all methods that change an account.
func mutations() map[string]func(w *world) error {
	return map[string]func(w *world) error{
		"create": func(w *world) error {
			_, _, err := w.Create(w.ctx, alain, core.NewAppPassword{Name: "tablet"})
			return err
		},
		"delete":     func(w *world) error { _, err := w.Delete(w.ctx, alain, w.laptop.ID); return err },
		"delete all": func(w *world) error { _, err := w.DeleteAll(w.ctx, alain); return err },
		"suspend":    func(w *world) error { _, err := w.Suspend(w.ctx, alain, w.laptop.ID); return err },
		"resume":     func(w *world) error { _, err := w.Resume(w.ctx, alain, w.paused.ID); return err },
		"rotate":     func(w *world) error { _, _, err := w.Rotate(w.ctx, alain, w.laptop.ID, 0); return err },
		"repin":      func(w *world) error { _, err := w.Repin(w.ctx, alain, w.pinned.ID); return err },
		"pin":        func(w *world) error { return w.tryFrom("TV", "fresh") },
		"enroll":     func(w *world) error { _, err := w.Enroll(w.ctx, alain); return err },
		"confirm": func(w *world) error {
			_, err := w.Confirm(w.ctx, alain, codeOf(w.t, w.pending, w.clock()), core.NewAppPassword{})
			return err
		},
		"turn off":       func(w *world) error { return w.TurnOffTwoStep(w.ctx, alain) },
		"code":           func(w *world) error { return w.CheckCode(w.ctx, alain, codeOf(w.t, w.uri, w.clock())) },
		"recovery":       func(w *world) error { return w.CheckCode(w.ctx, alain, w.c.Recovery[0]) },
		"add account":    func(w *world) error { _, err := w.AddAccount(w.ctx, "bob", nil, nil); return err },
		"disable":        func(w *world) error { return w.SetEnabled(w.ctx, alain, false) },
		"main password":  func(w *world) error { return w.SetMainPassword(w.ctx, alain, []byte("another one")) },
		"delete account": func(w *world) error { return w.DeleteAccount(w.ctx, alain) },
	}
}

// TestStoreFaults: a write that fails acknowledges nothing, whether it was
// really done or not, and what this engine sees afterwards is what is stored.
func TestStoreFaults(t *testing.T) {
	for name, do := range mutations() {
		for fault, set := range map[string]func(*faultyStore, error){"refused": (*faultyStore).refuse, "lost": (*faultyStore).lose} {
			t.Run(name+" "+fault, func(t *testing.T) {
				w := newWorld(t)
				before := w.view(w.Engine)
				w.mu.Lock()
				w.events = nil
				w.mu.Unlock()
				set(w.store, store.ErrUnavailable)
				wantKind(t, "the change", do(w), core.KindUnavailable)
				set(w.store, nil)
				for _, e := range w.events {
					if e.Kind != core.EventAttempt || e.Reason == "" {
						t.Errorf("recorded as done: %+v", e)
					}
				}
				after := w.view(w.Engine)
				if fault == "refused" && after != before {
					t.Errorf("it was refused, but changed\n%s to\n%s", before, after)
				}
				if stored := w.view(w.another().Engine); after != stored {
					t.Errorf("this engine sees\n%s, stored is\n%s", after, stored)
				}
				w.pass(time.Hour)
				switch err := do(w); core.KindOf(err) {
				case 0:
				case core.KindNotFound, core.KindConflict, core.KindDenied: // done the first time
					if fault == "refused" && name != "code" && name != "confirm" {
						t.Errorf("once more: %v", err)
					}
				default:
					t.Errorf("once more: %v", err)
				}
			})
		}
	}
}

// TestUsedCodeIsUsed: a code whose use could not be acknowledged to be written
// may be used up, but never lets two in.
func TestUsedCodeIsUsed(t *testing.T) {
	for _, name := range []string{"code", "recovery"} {
		w := newWorld(t)
		w.store.lose(store.ErrUnavailable)
		wantKind(t, name, mutations()[name](w), core.KindUnavailable)
		w.store.lose(nil)
		wantKind(t, name+" once more", mutations()[name](w), core.KindDenied)
	}
}

// TestConflictsAreRetried: a change that another node was faster than is made
// on top of the other's.
func TestConflictsAreRetried(t *testing.T) {
	for name, do := range mutations() {
		if name == "add account" || name == "delete all" || name == "delete account" || name == "disable" {
			continue // the other's change is lost in these, or they have no record of the account to share
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.another()
			var once atomic.Bool
			w.store.intercept(func(b store.Batch) {
				if b[0].Key == "account/"+alain && once.CompareAndSwap(false, true) {
					_, err := g.Suspend(g.ctx, alain, core.FirstName)
					must(t, err)
				}
			})
			must(t, do(w))
			if !once.Load() {
				t.Fatal("no conflict was made")
			}
			wantReasonOneOf(t, w.tryFrom("", core.FirstName), core.ReasonSuspended, core.ReasonTwoStepOff)
			if got := w.listed(w.c.First.ID).Status; got != core.StatusSuspended {
				t.Errorf("the other's change is lost: %s", got)
			}
		})
	}
}

func wantReasonOneOf(t *testing.T, err error, want ...core.Reason) {
	t.Helper()
	for _, r := range want {
		if core.ReasonOf(err) == r {
			return
		}
	}
	t.Errorf("reason %q, want one of %q", core.ReasonOf(err), want)
}

// TestConflictsEnd: a record that changes all the time is an inability.
func TestConflictsEnd(t *testing.T) {
	w := newWorld(t)
	w.store.refuse(fmt.Errorf("%w: as always", store.ErrConflict))
	for name, do := range mutations() {
		switch err := do(w); core.KindOf(err) {
		case core.KindUnavailable:
		case core.KindConflict: // of the directory
			if name != "add account" && name != "disable" && name != "main password" {
				t.Errorf("%s: %v", name, err)
			}
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStoreAway: nothing is answered without the store but what the cache
// knows, and no answer is a verdict.
func TestStoreAway(t *testing.T) {
	for _, fault := range []error{store.ErrUnavailable, fmt.Errorf("disk on fire"), fmt.Errorf("%w: bad request", store.ErrInvalid)} {
		synctest.Test(t, func(t *testing.T) { storeAway(t, fault) })
	}
}

func storeAway(t *testing.T, fault error) {
	w := newWorld(t)
	g := w.another()
	synctest.Wait() // the news of the changes so far have come
	must(t, w.tryFrom("", "laptop"))
	g.store.fail(fault)
	w.store.fail(fault)
	must(t, w.tryFrom("", "laptop")) // cached
	if err := g.try(w.texts["laptop"]); core.ReasonOf(err) != core.ReasonUnavailable {
		t.Errorf("%v: not cached: %v, want unavailable", fault, err)
	}
	for name, do := range mutations() {
		if err := do(w); core.KindOf(err) != core.KindUnavailable && core.KindOf(err) != core.KindInternal {
			t.Errorf("%v: %s: %v", fault, name, err)
		}
	}
	g.pass(time.Second)
	if err := g.Ready(g.ctx); err == nil {
		t.Errorf("%v: ready", fault)
	}
	w.store.fail(nil)
	g.store.fail(nil)
	g.pass(time.Second)
	must(t, g.Ready(g.ctx))
	must(t, g.try(w.texts["laptop"]))
}

// TestReadyOfALeaver: that one caller left is no news of the store.
func TestReadyOfALeaver(t *testing.T) {
	f := newFixture(t, nil)
	f.pass(time.Minute)
	wantKind(t, "a caller that left", f.Ready(ended(f)), core.KindUnavailable)
	must(t, f.Ready(f.ctx))
}

// TestDirectoryFaults: what a directory says of a change reaches the caller by
// its kind.
func TestDirectoryFaults(t *testing.T) {
	for err, want := range map[error]core.Kind{
		directory.ErrNotFound: core.KindNotFound, directory.ErrUnavailable: core.KindUnavailable,
		directory.ErrDenied: core.KindDenied, fmt.Errorf("disk on fire"): core.KindUnavailable,
	} {
		m := &mirror{}
		f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
		m.fail(err)
		_, _, got := f.Create(f.ctx, alain, core.NewAppPassword{Name: "x"})
		wantKind(t, err.Error(), got, want)
	}
}
