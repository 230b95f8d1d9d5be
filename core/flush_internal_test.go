package core

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A heldStore has whoever writes wait while it is held.
type heldStore struct {
	store.Store
	writing chan struct{} // a token for each who waits
	held    chan struct{} // nil: it is not
}

func (s *heldStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if s.held != nil {
		s.writing <- struct{}{}
		<-s.held
	}
	return s.Store.Apply(ctx, b)
}

// TestSlowStore: while the store takes its time to write what was collected, much
// more may come than there is room for at once, and nothing is lost.
func TestSlowStore(t *testing.T) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	slow := &heldStore{Store: memstore.New(), writing: make(chan struct{}, 100)}
	opt := Options{Store: slow, Directory: everybody{}, Keyring: keys, Flush: time.Hour}
	populate(t, openBench(t, opt), 1)
	e := openBench(t, opt)
	account, err := e.lookup(t.Context(), accountName(0))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(n int) {
		for range n {
			e.activity.add(attemptAt{account.name, account, happened{at: time.Now(), ref: account.passwords[0].ref}})
		}
	}
	sign(1)
	slow.held = make(chan struct{})
	release := sync.OnceFunc(func() { close(slow.held) })
	defer release()
	flushed := make(chan error)
	go func() { flushed <- e.Flush(t.Context()) }()
	<-slow.writing
	const crowds = 2 * maxFresh / crowd // twice as many as there is room for
	for i := range crowds {
		sign(crowd)
		for deadline := time.Now().Add(20 * time.Second); e.activity.waiting.Load() >= crowd; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("crowd %d: %d attempts wait, and nobody makes room", i, e.activity.waiting.Load())
			}
		}
	}
	release()
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := e.List(t.Context(), account.name)
	if err != nil || all[0].Uses != 1+crowds*crowd {
		t.Errorf("%d uses are written, want %d: %v", all[0].Uses, 1+crowds*crowd, err)
	}
	if lost := e.Stats().LostAttempts; lost != 0 {
		t.Errorf("%d attempts are lost", lost)
	}
}

// withAttempts returns an engine that flushes every so often, with an attempt at
// each of many accounts that is not written.
func withAttempts(t *testing.T, every time.Duration) *Engine {
	t.Helper()
	keys, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	const accounts = 1000
	e := openBench(t, Options{Store: memstore.New(), Directory: everybody{}, Keyring: keys, Flush: every})
	populate(t, e, accounts)
	for i := range accounts {
		e.activity.add(attemptAt{accountName(i), nil, happened{at: time.Now()}})
	}
	return e
}

// TestWritingIsSpread: what is written because its time has come is so over half
// of the time until the next.
func TestWritingIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * flushTime // a context that ended too soon would be an error
		e, begun := withAttempts(t, every), time.Now()
		if err := e.flushSoon(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun).Round(every / 20); took != every/2 {
			t.Errorf("took %s, want %s", took, every/2)
		}
	})
}

// TestWritingHurries: nobody waits until what is spread over half an hour is written.
func TestWritingHurries(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, e *Engine) error{
		"flush": func(ctx context.Context, e *Engine) error { return e.Flush(ctx) },
		"close": func(_ context.Context, e *Engine) error { return e.Close() },
		"look":  func(ctx context.Context, e *Engine) error { _, err := e.List(ctx, accountName(0)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			e := withAttempts(t, time.Hour)
			flushed := make(chan error, 1)
			e.done.Go(func() { flushed <- e.flushSoon(t.Context()) }) // as flushLoop does
			for e.activity.flushing.TryLock() {
				e.activity.flushing.Unlock()
				time.Sleep(time.Millisecond)
			}
			done := make(chan error, 1)
			go func() { done <- wait(t.Context(), e) }()
			for range 2 {
				select {
				case err := <-flushed:
					flushed = nil
					if err != nil {
						t.Error(err)
					}
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("it waits")
				}
			}
		})
	}
}

// TestPauseForACrowd: a flush that takes its time makes room for many attempts that
// come meanwhile.
func TestPauseForACrowd(t *testing.T) {
	a := newActivity()
	a.lock()
	paused := make(chan struct{})
	go func() {
		a.pause(time.Now().Add(time.Hour), nil)
		close(paused)
	}()
	for range crowd {
		a.add(attemptAt{"user", nil, happened{}})
	}
	select {
	case <-paused:
	case <-time.After(20 * time.Second):
		t.Error("it waits, and what comes next is lost before long")
	}
}
