package core_test

import (
	"cmp"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

// TestA6OtherNode: what another node changed holds here at once: no time passes
// in the bubble, so it is within the second that the rule allows.
func TestA6OtherNode(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(g *fixture, id string) error
		undo   func(g *fixture, id string) error
		want   core.Reason
	}{
		"deletion": {func(g *fixture, id string) error { _, err := g.Delete(g.ctx, alain, id); return err }, nil, core.ReasonDeleted},
		"all":      {func(g *fixture, _ string) error { _, err := g.DeleteAll(g.ctx, alain); return err }, nil, core.ReasonDeleted},
		"suspension": {
			func(g *fixture, id string) error { _, err := g.Suspend(g.ctx, alain, id); return err },
			func(g *fixture, id string) error { _, err := g.Resume(g.ctx, alain, id); return err },
			core.ReasonSuspended,
		},
		"disabled": {
			func(g *fixture, _ string) error { return g.SetEnabled(g.ctx, alain, false) },
			func(g *fixture, _ string) error { return g.SetEnabled(g.ctx, alain, true) },
			core.ReasonAccountDisabled,
		},
		"two-step off": {
			func(g *fixture, _ string) error { return g.TurnOffTwoStep(g.ctx, alain) },
			func(g *fixture, _ string) error { g.turnOn(); return nil },
			core.ReasonTwoStepOff,
		},
		"rotation":        {func(g *fixture, id string) error { _, _, err := g.Rotate(g.ctx, alain, id, 0); return err }, nil, core.ReasonDeleted},
		"account deleted": {func(g *fixture, _ string) error { return g.DeleteAccount(g.ctx, alain) }, nil, core.ReasonUnknownAccount},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nil)
				first, text := f.addAlain()
				g := f.another()
				synctest.Wait()
				must(t, f.try(text)) // cached here
				f.store.count()
				must(t, f.try(text))
				if gets, _ := f.store.count(); len(gets) != 0 {
					t.Fatalf("read %q, want the cache to serve", gets)
				}
				must(t, tt.change(g, first.ID))
				synctest.Wait()
				wantReason(t, "here", f.try(text), tt.want)
				if tt.undo != nil {
					must(t, tt.undo(g, first.ID))
					synctest.Wait()
					must(t, f.try(text))
				}
			})
		})
	}
}

// A deafStore is a store whose watches of accounts, or what it is deaf to, can be
// ended.
type deafStore struct {
	*faultyStore
	to   string
	mu   sync.Mutex
	stop context.CancelFunc
}

func (s *deafStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if prefix != cmp.Or(s.to, "account/") {
		return s.faultyStore.Watch(ctx, prefix)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, s.stop = context.WithCancel(ctx)
	return s.faultyStore.Watch(ctx, prefix)
}

// cut ends the watch.
func (s *deafStore) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

// TestWatchEnds: without a watch nothing is served from the cache, and with it
// back the cache serves again.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &deafStore{}
		f := newFixture(t, func(f *fixture) {
			s.faultyStore = f.store
			f.opt.Store = s
		})
		first, text := f.addAlain()
		must(t, f.try(text))
		g := f.another()
		s.cut()
		synctest.Wait()
		_, err := g.Suspend(g.ctx, alain, first.ID)
		must(t, err)
		wantReason(t, "changed unheard", f.try(text), core.ReasonSuspended)
		_, err = g.Resume(g.ctx, alain, first.ID)
		must(t, err)
		must(t, f.try(text))

		time.Sleep(2 * time.Second) // of the bubble's clock: the engine watches again
		synctest.Wait()
		must(t, f.try(text))
		f.store.count()
		must(t, f.try(text))
		if gets, _ := f.store.count(); len(gets) != 0 {
			t.Errorf("read %q, want the cache to serve again", gets)
		}
	})
}

// A slowStore is a store whose news of accounts come later.
type slowStore struct{ *faultyStore }

func (s slowStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	in, err := s.faultyStore.Watch(ctx, prefix)
	if err != nil || prefix != "account/" {
		return in, err
	}
	out := make(chan store.Event)
	go func() {
		defer close(out)
		for e := range in {
			time.Sleep(500 * time.Millisecond)
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// TestMadeElsewhere: what another node has made is not wrong here, also before
// the news of it have come; what is wrong is.
func TestMadeElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(f *fixture) { f.opt.Store, f.opt.Node = slowStore{f.store}, "a" })
		_, first := f.addAlain()
		time.Sleep(10 * time.Second) // of the bubble's clock: all news have come
		must(t, f.try(first))
		_, text := f.node("b").create("elsewhere", "")
		var g core.Grant
		if decided, err := f.VerifyText(&core.Attempt{Service: "radius/vpn1"}, []byte(alain), []byte(text), &g); decided {
			t.Errorf("decided in a hurry: %v", err)
		}
		must(t, f.try(text))
		wantReason(t, "nobody's", f.try(otherText(t)), core.ReasonWrong)
		f.store.fail(store.ErrUnavailable)
		wantReason(t, "nobody's, while the store cannot tell", f.try(otherText(t)), core.ReasonUnavailable)
		must(t, f.try(text)) // no worse than before
	})
}

// TestGoneIsKnown: once a directory has said that an account is gone or
// disabled, an answer from before does not serve while it is away.
func TestGoneIsKnown(t *testing.T) {
	for name, said := range map[string][]directory.Account{
		"gone":     nil,
		"disabled": {{ID: "1", Name: alain, TwoStep: directory.On}},
		"replaced": {{ID: "2", Name: alain, Enabled: true, TwoStep: directory.On}},
	} {
		synctest.Test(t, func(t *testing.T) { goneIsKnown(t, name, said) })
	}
}

func goneIsKnown(t *testing.T, name string, said []directory.Account) {
	m := &mirror{}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	m.set(directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On})
	_, text := f.create("laptop", "")
	synctest.Wait()
	must(t, f.try(text)) // cached
	f.pass(time.Minute)
	m.set(said...)
	if name != "gone" {
		f.store.fail(store.ErrUnavailable)
		wantReason(t, name+", while the store is away", f.try(text), core.ReasonUnavailable)
		f.store.fail(nil)
	} else {
		wantReason(t, name, f.try(text), core.ReasonUnknownAccount)
	}
	m.fail(directory.ErrUnavailable)
	if f.try(text) == nil {
		t.Errorf("%s: granted by an answer from before", name)
	}
}

// TestOutageKeepsTheAnswer: a store that was away for a moment does not cost
// what the directory said, which may be all there is of that.
func TestOutageKeepsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mirror{}
		f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
		m.set(directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On})
		_, text := f.create("laptop", "")
		synctest.Wait() // the news of the change have come
		must(t, f.try(text))
		f.pass(time.Minute)
		m.fail(directory.ErrUnavailable)
		f.store.fail(store.ErrUnavailable)
		wantReason(t, "all away", f.try(text), core.ReasonUnavailable)
		f.store.fail(nil)
		must(t, f.try(text))
	})
}
