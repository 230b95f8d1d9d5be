package core_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/core/store/replica"
)

// A farStore is a shared store that a node can be cut off from: then it also
// tells nothing of what others change.
type farStore struct {
	*faultyStore
	cut chan struct{} // closed at the cut
}

func (s *farStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	s.mu.Lock()
	err, cut := s.down, s.cut
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	in, err := s.faultyStore.Watch(ctx, prefix)
	if err != nil {
		stop()
		return nil, err
	}
	out := make(chan store.Event)
	go func() {
		defer close(out)
		defer stop()
		for {
			select {
			case <-cut:
				cut = nil
				stop()
				in = nil
			case e, ok := <-in:
				if !ok {
					in = nil
					continue
				}
				select {
				case out <- e:
				case <-ctx.Done():
				}
			case <-ctx.Done():
				if in != nil || cut == nil {
					return
				}
			}
		}
	}()
	return out, nil
}

// away cuts the node off, home ends it.
func (s *farStore) away() {
	s.fail(store.ErrUnavailable)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.cut)
	s.cut = make(chan struct{})
}

func (s *farStore) home() { s.fail(nil) }

// withReplica opens a node over a shared store and a copy of it, and another
// node over the shared store alone.
func withReplica(t *testing.T, test func(f, other *fixture, far *farStore)) {
	synctest.Test(t, func(t *testing.T) {
		far := &farStore{cut: make(chan struct{})}
		var s *replica.Store
		f := newFixture(t, func(f *fixture) {
			far.faultyStore = f.store
			var err error
			s, err = replica.Open(t.Context(), far, memstore.New(), replica.Options{
				Prefixes: []string{record.PrefixAccount, record.PrefixLocal, "meta/", "fact/"},
			})
			must(t, err)
			synctest.Wait()
			f.opt.Store, f.opt.Node = s, "a"
			f.opt.Directory = local.New(s, f.keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
		})
		test(f, f.another(), far)
		must(t, f.Close()) // also in a cut
		must(t, s.Close())
	})
}

// settle lets time pass in which the copy follows.
func settle() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

// TestReplicaGoesOn: a node that is cut off lets in and refuses as before, makes
// and takes away nothing, and knows what happened when it is back.
func TestReplicaGoesOn(t *testing.T) {
	withReplica(t, func(f, other *fixture, far *farStore) {
		first, text := f.addAlain()
		doomed, doomedText := f.create("doomed", "")
		settle()
		must(t, f.try(text))
		must(t, f.Flush(f.ctx))
		far.away()
		settle()
		must(t, f.Ready(f.ctx))
		must(t, f.try(text))
		must(t, f.try(doomedText))
		wantReason(t, "a wrong one", f.try(otherText(t)), core.ReasonWrong)
		_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "new"})
		wantKind(t, "create", err, core.KindUnavailable)
		_, err = f.Delete(f.ctx, alain, first.ID)
		wantKind(t, "delete", err, core.KindUnavailable)
		for _, name := range []string{"doomed", "made elsewhere"} { // neither "taken" nor "there is none": nobody can tell here
			_, _, err = f.Create(f.ctx, alain, core.NewAppPassword{Name: name})
			wantKind(t, "create "+name, err, core.KindUnavailable)
			_, err = f.Delete(f.ctx, alain, name)
			wantKind(t, "delete "+name, err, core.KindUnavailable)
		}
		wantKind(t, "a code", f.CheckCode(f.ctx, alain, "000000"), core.KindUnavailable)
		must(t, f.try(text))
		wantKind(t, "flush", f.Flush(f.ctx), core.KindUnavailable)

		_, err = other.Delete(other.ctx, alain, doomed.ID)
		must(t, err)
		must(t, f.try(doomedText)) // nobody could tell
		far.home()
		settle()
		wantReason(t, "deleted during the cut", f.try(doomedText), core.ReasonDeleted)
		must(t, f.try(text))
		must(t, f.Flush(f.ctx))
		list, err := other.List(other.ctx, alain)
		must(t, err)
		if len(list) != 1 || list[0].Uses != 4 {
			t.Errorf("%+v, want 4 uses: one before the cut, two in it, one after", list)
		}
		settle()
		far.away()
		settle()
		wantReason(t, "deleted, in the next cut", f.try(doomedText), core.ReasonDeleted)
	})
}

// TestReplicaDeletedHere: what this node has deleted, or has refused because
// another did, stays deleted when the shared store goes away that moment.
func TestReplicaDeletedHere(t *testing.T) {
	withReplica(t, func(f, other *fixture, far *farStore) {
		first, text := f.addAlain()
		second, secondText := f.create("second", "")
		settle()
		must(t, f.try(text))
		_, err := f.Delete(f.ctx, alain, first.ID)
		must(t, err)
		far.away()
		wantReason(t, "deleted here", f.try(text), core.ReasonDeleted)
		settle()
		wantReason(t, "deleted here, some time ago", f.try(text), core.ReasonDeleted)
		far.home()
		settle()
		_, err = other.Delete(other.ctx, alain, second.ID)
		must(t, err)
		synctest.Wait()
		wantReason(t, "deleted elsewhere", f.try(secondText), core.ReasonDeleted)
		far.away()
		wantReason(t, "deleted elsewhere, cut off", f.try(secondText), core.ReasonDeleted)
	})
}

// TestReplicaTooOld: after its time the copy lets nobody in, also whom the
// engine has in its cache.
func TestReplicaTooOld(t *testing.T) {
	withReplica(t, func(f, _ *fixture, far *farStore) {
		_, text := f.addAlain()
		settle()
		must(t, f.try(text))
		far.away()
		time.Sleep(time.Hour - 10*time.Second)
		synctest.Wait()
		must(t, f.try(text))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		wantReason(t, "after an hour", f.try(text), core.ReasonUnavailable)
		if err := f.Ready(f.ctx); core.KindOf(err) != core.KindUnavailable {
			t.Errorf("ready: %v", err)
		}
		far.home()
		settle()
		must(t, f.try(text))
	})
}

// TestFlushStopsWhenAway: while the store does not answer, a flush does not ask
// it for every account, and nothing that waits is lost.
func TestFlushStopsWhenAway(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for range 20 {
		must(t, f.try(text))
		_, _ = f.Verify(f.ctx, core.Attempt{Account: otherText(t)[:8] + string(rune('a'+len(f.events))), Proof: proof.Cleartext(text), Service: "radius/vpn1"})
	}
	f.store.fail(store.ErrUnavailable)
	f.store.count()
	wantKind(t, "flush", f.Flush(f.ctx), core.KindUnavailable)
	if gets, _ := f.store.count(); len(gets) > 3 {
		t.Errorf("asked for %d records of a store that is away: %q", len(gets), gets)
	}
	f.store.fail(nil)
	must(t, f.Flush(f.ctx))
	list, err := f.List(f.ctx, alain)
	must(t, err)
	if list[0].Uses != 20 {
		t.Errorf("%d uses, want 20", list[0].Uses)
	}
}
