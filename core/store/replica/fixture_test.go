package replica_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/core/store/replica"
)

// A shared is a store that others write to, and that this node can be cut off
// from.
type shared struct {
	store.Store

	mu    sync.Mutex
	how   error         // what a call gets; nil: an answer
	hangs bool          // and only when its context ends
	deaf  bool          // no event comes through
	gone  chan struct{} // closed while cut off
}

func newShared(s store.Store) *shared { return &shared{Store: s, gone: make(chan struct{})} }

var errCut = fmt.Errorf("%w: cut off", store.ErrUnavailable)

// cut lets nothing through any more.
func (s *shared) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how, s.deaf = errCut, true
}

// hang is cut, but nothing says so.
func (s *shared) hang() {
	s.cut()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangs = true
}

// deafen lets calls through, and no events.
func (s *shared) deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

func (s *shared) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how, s.hangs, s.deaf = nil, false, false
}

func (s *shared) through(ctx context.Context) error {
	s.mu.Lock()
	how, hangs := s.how, s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	return how
}

func (s *shared) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := s.through(ctx); err != nil {
		return store.Entry{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *shared) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if err := s.through(ctx); err != nil {
		return nil, err
	}
	return s.Store.Scan(ctx, prefix, after, limit)
}

func (s *shared) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := s.through(ctx); err != nil {
		return 0, err
	}
	return s.Store.Apply(ctx, b)
}

func (s *shared) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if err := s.through(ctx); err != nil {
		return nil, err
	}
	in, err := s.Store.Watch(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(chan store.Event)
	go func() {
		defer close(out)
		for e := range in {
			s.mu.Lock()
			deaf := s.deaf
			s.mu.Unlock()
			if deaf {
				continue // what is missed is missed: a watch from before is of no use
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// A fixture is a node with a copy, and another one that writes to the shared
// store. It lives in a synctest bubble.
type fixture struct {
	*replica.Store
	t      *testing.T
	remote *shared
	local  *faulty
	opt    replica.Options

	wrong time.Duration // how far the wall clock is off
}

// A faulty is a store whose writes can be made to fail.
type faulty struct {
	store.Store
	mu    sync.Mutex
	fault error
}

func (s *faulty) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func (s *faulty) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	s.mu.Lock()
	err := s.fault
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.Store.Apply(ctx, b)
}

// try runs test in a bubble, with a node that has joined.
func try(t *testing.T, test func(f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, remote: newShared(memstore.New()), local: &faulty{Store: memstore.New()}}
		f.opt = replica.Options{Now: func() time.Time { return time.Now().Add(f.wrong) }}
		f.start()
		defer func() { f.stop() }()
		test(f)
	})
}

func (f *fixture) start() {
	f.t.Helper()
	s, err := replica.Open(f.t.Context(), f.remote, f.local, f.opt)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Store = s
	synctest.Wait()
}

func (f *fixture) stop() {
	f.t.Helper()
	if err := f.Close(); err != nil {
		f.t.Error(err)
	}
}

// crash ends the node without its last words.
func (f *fixture) crash() {
	f.local.fail(errCut)
	_ = f.Close() // cannot write
	f.local.fail(nil)
}

// pass lets time pass, and all that is due in it happen.
func (f *fixture) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// put writes as another node, which is not cut off.
func (f *fixture) put(key, value string) store.Revision {
	f.t.Helper()
	return f.apply(f.remote.Store, store.Op{Action: store.Put, Key: key, Value: []byte(value)})
}

func (f *fixture) del(key string) store.Revision {
	f.t.Helper()
	return f.apply(f.remote.Store, store.Op{Action: store.Delete, Key: key})
}

func (f *fixture) apply(s store.Store, b ...store.Op) store.Revision {
	f.t.Helper()
	r, err := s.Apply(f.t.Context(), b)
	if err != nil {
		f.t.Fatal(err)
	}
	synctest.Wait()
	return r
}

// has wants value at key.
func (f *fixture) has(key, value string) {
	f.t.Helper()
	e, err := f.Get(f.t.Context(), key)
	if err != nil || string(e.Value) != value || e.Key != key {
		f.t.Errorf("%q is %q, error %v; want %q", key, e.Value, err, value)
	}
}

// hasNot wants the error want at key.
func (f *fixture) hasNot(key string, want error) {
	f.t.Helper()
	if e, err := f.Get(f.t.Context(), key); !errors.Is(err, want) {
		f.t.Errorf("%q is %q, error %v; want %v", key, e.Value, err, want)
	}
}

func (f *fixture) joined(want bool) {
	f.t.Helper()
	if st := f.Status(); st.Joined != want || (st.Trouble == nil) != want {
		f.t.Errorf("status %+v, want joined %v", st, want)
	}
}
