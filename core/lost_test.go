package core_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

// A lossyStore is a store that can be cut off from the changes of others, and
// says so.
type lossyStore struct {
	*faultyStore
	cut  atomic.Bool
	says chan store.Event
}

func (s *lossyStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	in, err := s.faultyStore.Watch(ctx, prefix)
	if err != nil || prefix != "account/" {
		return in, err
	}
	out := make(chan store.Event)
	go func() {
		defer close(out)
		for {
			var ev store.Event
			select {
			case e, ok := <-in:
				if !ok {
					return
				}
				if s.cut.Load() {
					continue
				}
				ev = e
			case ev = <-s.says:
			}
			select {
			case out <- ev:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// TestStoreLost: while a store says that changes may be missed, nothing is
// served from the cache.
func TestStoreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lossyStore{says: make(chan store.Event)}
		f := newFixture(t, func(f *fixture) {
			s.faultyStore = f.store
			f.opt.Store = s
		})
		first, text := f.addAlain()
		must(t, f.try(text))
		g := f.another()
		s.cut.Store(true)
		s.says <- store.Event{Lost: true}
		synctest.Wait()
		_, err := g.Suspend(g.ctx, alain, first.ID)
		must(t, err)
		wantReason(t, "changed unheard", f.try(text), core.ReasonSuspended)
		_, err = g.Resume(g.ctx, alain, first.ID)
		must(t, err)
		must(t, f.try(text))

		s.cut.Store(false)
		s.says <- store.Event{Reset: true}
		synctest.Wait()
		must(t, f.try(text))
		f.store.count()
		must(t, f.try(text))
		if gets, _ := f.store.count(); len(gets) != 0 {
			t.Errorf("read %q, want the cache to serve again", gets)
		}
	})
}

// A watchedMirror is a directory that tells of changes, or that it cannot.
type watchedMirror struct {
	*mirror
	says chan directory.Change
}

func (m *watchedMirror) Watch(ctx context.Context) (<-chan directory.Change, error) {
	out := make(chan directory.Change)
	go func() {
		defer close(out)
		for {
			select {
			case c := <-m.says:
				out <- c
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// TestDirectoryLost: what a directory said before it lost its watch holds as
// long as what one without a watch said, and serves as long while it is away.
func TestDirectoryLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &watchedMirror{mirror: &mirror{}, says: make(chan directory.Change)}
		m.set(directory.Account{ID: "1", Name: alain, Enabled: true})
		f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
		f.turnOn()
		_, text := f.create("den", "")
		synctest.Wait() // until the engine has heard of it
		must(t, f.try(text))
		m.fail(directory.ErrUnavailable)
		f.pass(24 * time.Hour)
		must(t, f.try(text)) // nothing changed, says the watch

		m.says <- directory.Change{Lost: true}
		synctest.Wait()
		wantReason(t, "the last answer is a day old", f.try(text), core.ReasonUnavailable)

		m.fail(nil)
		m.says <- directory.Change{Reset: true}
		synctest.Wait()
		must(t, f.try(text))
		m.fail(directory.ErrUnavailable)
		f.pass(24 * time.Hour)
		must(t, f.try(text))
	})
}
