package core

import (
	"context"
	"sync"
	"testing"
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
	const crowds = 4 // twice as many as there is room for
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
