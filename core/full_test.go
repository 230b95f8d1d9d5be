package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// A fullDisk takes only what may use its reserve, while it is full; and its
// audit log is on the same disk.
type fullDisk struct {
	store.Store
	core.Recorder
	full atomic.Bool
}

func (d *fullDisk) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if d.full.Load() && !slices.ContainsFunc(b, func(op store.Op) bool { return op.Revokes }) {
		return 0, fmt.Errorf("%w: 0 MiB are free; delete something", store.ErrFull)
	}
	return d.Store.Apply(ctx, b)
}

func (d *fullDisk) Ready() error {
	if d.full.Load() {
		return errors.New("the audit log has no room")
	}
	return nil
}

// S8: on a full disk everything that takes access away still works, nothing
// else does, and sign-ins go on.
func TestFullDisk(t *testing.T) {
	revokes := map[string]func(f *fixture) error{
		"delete":       func(f *fixture) error { _, err := f.Delete(f.ctx, alain, "laptop"); return err },
		"delete all":   func(f *fixture) error { _, err := f.DeleteAll(f.ctx, alain); return err },
		"suspend":      func(f *fixture) error { _, err := f.Suspend(f.ctx, alain, "laptop"); return err },
		"two-step off": func(f *fixture) error { return f.TurnOffTwoStep(f.ctx, alain) },
		"disable":      func(f *fixture) error { return f.SetEnabled(f.ctx, alain, false) },
		"delete user":  func(f *fixture) error { return f.DeleteAccount(f.ctx, alain) },
	}
	refused := map[string]func(f *fixture) error{
		"create": func(f *fixture) error {
			_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "new"})
			return err
		},
		"rotate": func(f *fixture) error { _, _, err := f.Rotate(f.ctx, alain, "laptop", 0); return err },
		"resume": func(f *fixture) error { _, err := f.Resume(f.ctx, alain, "paused"); return err },
		"enable": func(f *fixture) error { return f.SetEnabled(f.ctx, alain, true) },
		"enroll": func(f *fixture) error { _, err := f.Enroll(f.ctx, alain); return err },
		"add":    func(f *fixture) error { _, err := f.AddAccount(f.ctx, "bob", nil, nil); return err },
	}
	for _, audit := range []bool{false, true} {
		for name, change := range revokes {
			t.Run(fmt.Sprint(name, ", audit full ", audit), func(t *testing.T) {
				f, d, text := newFullDisk(t, audit)
				attempt := core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "pam/sshd"}
				d.full.Store(true)
				for name, change := range refused {
					err := change(f)
					wantKind(t, name, err, core.KindUnavailable)
					if !audit && !strings.Contains(err.Error(), "delete something") {
						t.Errorf("%s does not say what to do: %v", name, err)
					}
				}
				if _, err := f.Verify(f.ctx, attempt); err != nil {
					t.Errorf("sign-in: %v", err)
				}
				must(t, change(f))
				if err := f.Flush(f.ctx); name != "delete user" && core.KindOf(err) != core.KindUnavailable {
					t.Errorf("Flush: %v", err)
				}
				if _, err := f.Verify(f.ctx, attempt); core.KindOf(err) != core.KindDenied {
					t.Errorf("sign-in afterwards: %v", err)
				}
				must(t, f.Close()) // the last uses are dropped
			})
		}
	}
}

// newFullDisk makes alain with the app passwords laptop, whose text it returns,
// and paused.
func newFullDisk(t *testing.T, audit bool) (*fixture, *fullDisk, string) {
	d := &fullDisk{}
	f := newFixture(t, func(f *fixture) {
		d.Store, d.Recorder = f.store, f
		f.opt.Store = d
		f.opt.Directory = local.New(d, f.keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
		if audit {
			f.opt.Recorder = d
		}
	})
	f.addAlain()
	_, text := f.create("laptop", "")
	f.create("paused", "")
	_, err := f.Suspend(f.ctx, alain, "paused")
	must(t, err)
	return f, d, text
}
