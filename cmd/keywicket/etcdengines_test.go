package main_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

// A countingStore counts what is asked of it.
type countingStore struct {
	store.Store
	calls atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, key string) (store.Entry, error) {
	s.calls.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *countingStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	s.calls.Add(1)
	return s.Store.Apply(ctx, b)
}

func (s *countingStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	s.calls.Add(1)
	return s.Store.Scan(ctx, prefix, after, limit)
}

// TestEtcdEngines: a sign-in of an account in the cache asks nothing of etcd, what
// one engine deletes all others refuse, and of sessions all know the same.
func TestEtcdEngines(t *testing.T) {
	const nodes = 3
	c := etcdtest.Start(t, nodes, etcdtest.Options{})
	keys, err := keyring.New(time.Now())
	must(t, err)
	var engines []*core.Engine
	var stores []*countingStore
	for i := range nodes {
		shared, err := etcdstore.Open(etcdstore.Config{Endpoints: append(c.URLs()[i:], c.URLs()[:i]...)})
		must(t, err)
		s := &countingStore{Store: shared}
		e, err := core.Open(t.Context(), core.Options{
			Store: s, Keyring: keys, Flush: time.Hour, Node: fmt.Sprint("node", i),
			Directory: local.New(s, keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}}),
		})
		must(t, err)
		t.Cleanup(func() {
			_ = e.Close()
			_ = shared.Close()
		})
		engines, stores = append(engines, e), append(stores, s)
	}
	ctx := t.Context()
	_, err = engines[0].AddAccount(ctx, alain, nil, []byte("correct horse battery"))
	must(t, err)
	uri, err := engines[0].Enroll(ctx, alain)
	must(t, err)
	code, err := core.CodeFor(uri, time.Now())
	must(t, err)
	_, err = engines[0].Confirm(ctx, alain, code, core.NewAppPassword{})
	must(t, err)
	try := func(e *core.Engine, text string) error {
		_, err := e.Verify(ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1"})
		return err
	}
	for round := range 5 {
		made, text, err := engines[round%nodes].Create(ctx, alain, core.NewAppPassword{Name: "device"})
		must(t, err)
		for i, e := range engines {
			until(t, "it is in the cache", func() bool {
				before := stores[i].calls.Load()
				return try(e, text.Canonical()) == nil && stores[i].calls.Load() == before
			})
			before := stores[i].calls.Load()
			for range 100 {
				must(t, try(e, text.Canonical()))
			}
			if n := stores[i].calls.Load() - before; n > 0 {
				t.Errorf("100 sign-ins of a cached account asked etcd %d times", n)
			}
		}
		_, err = engines[(round+1)%nodes].Delete(ctx, alain, made.ID)
		must(t, err)
		deleted := time.Now()
		if core.ReasonOf(try(engines[(round+1)%nodes], text.Canonical())) != core.ReasonDeleted {
			t.Error("granted where it was deleted")
		}
		for _, e := range engines {
			until(t, "it is refused", func() bool { return core.ReasonOf(try(e, text.Canonical())) == core.ReasonDeleted })
		}
		t.Logf("refused on all nodes %v after the deletion", time.Since(deleted).Round(10*time.Microsecond))
	}
	_, text, err := engines[0].Create(ctx, alain, core.NewAppPassword{Name: "device"})
	must(t, err)
	sessionsAgree(t, engines, text.Canonical())
}

// sessionsAgree: each engine knows of the sessions that any of them hears of, and of
// their end, also where that is told to another one.
func sessionsAgree(t *testing.T, engines []*core.Engine, text string) {
	ctx := t.Context()
	known := func(n int) {
		t.Helper()
		for i, e := range engines {
			until(t, fmt.Sprintf("engine %d knows of %d sessions", i, n), func() bool {
				all, err := e.Sessions(alain)
				must(t, err)
				return len(all) == n
			})
		}
	}
	for round := range 5 {
		var tokens [][]byte
		tell := func(at int, event session.Event, id int) {
			t.Helper()
			must(t, engines[at%len(engines)].ReportSession(ctx, session.Report{
				Event: event, Client: "vpn1", ID: fmt.Sprint(round, id), Tokens: tokens[id : id+1], At: time.Now(), Device: fmt.Sprint(id), Every: time.Minute,
			}))
		}
		for id, e := range engines {
			g, err := e.Verify(ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Client: "vpn1"})
			must(t, err)
			tokens = append(tokens, g.Session)
			tell(round+id, session.Starts, id)
		}
		known(len(engines))
		for id := range engines {
			tell(id, session.Stopped, id)
		}
		known(0)
	}
}
