package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

// A world is what one writer knows of its own keys, and what it does with them.
type world struct {
	t    *testing.T
	s    *Store
	name int
	has  model
}

func (w *world) key() string {
	key := fmt.Sprintf("%c/%d/%d", "abcd"[rand.IntN(4)], w.name, rand.IntN(60))
	if rand.IntN(20) == 0 {
		key += string(make([]byte, store.MaxKey-len(key)))
	}
	return key
}

// batch returns one of a few operations, and whether its demands hold.
func (w *world) batch() (b store.Batch, holds bool) {
	holds = true
	seen := make(map[string]bool)
	for range 1 + rand.IntN(4) {
		key := w.key()
		if seen[key] {
			continue
		}
		seen[key] = true
		op := store.Op{Action: store.Action(1 + rand.IntN(3)), Key: key, Revokes: rand.IntN(2) == 0}
		if op.Action == store.Put {
			op.Value = make([]byte, rand.IntN(600))
			if rand.IntN(30) == 0 {
				op.Value = make([]byte, rand.IntN(2*largest))
			}
			for i := range op.Value {
				op.Value[i] = byte(rand.Uint32())
			}
		}
		e, there := w.has[key]
		switch n := rand.IntN(10); {
		case n < 2 || op.Action == store.Check && !there:
			op.IfAbsent = true
			holds = holds && !there
		case n < 5 && there || op.Action == store.Check:
			op.IfRevision = e.Revision
		case n == 5:
			op.IfRevision, holds = e.Revision+1, false
		}
		b = append(b, op)
	}
	return b, holds
}

// do carries out one batch, which must end as the demands say.
func (w *world) do() {
	b, holds := w.batch()
	r, err := w.s.Apply(w.t.Context(), b)
	if (err == nil) != holds || err != nil && !errors.Is(err, store.ErrConflict) {
		w.t.Errorf("the demands hold: %v; error %v", holds, err)
		return
	}
	for _, op := range b {
		switch {
		case !holds:
		case op.Action == store.Put:
			w.has[op.Key] = store.Entry{Key: op.Key, Value: op.Value, Revision: r}
		case op.Action == store.Delete:
			delete(w.has, op.Key)
		}
		w.see(op.Key)
	}
	w.see(w.key())
}

// see wants of the store what there is at key.
func (w *world) see(key string) {
	want, there := w.has[key]
	got, err := w.s.Get(w.t.Context(), key)
	if there != (err == nil) || err != nil && !errors.Is(err, store.ErrNotFound) || got.Revision != want.Revision || string(got.Value) != string(want.Value) {
		w.t.Errorf("%q has revision %d, error %v; it is there: %v, of %d", key, got.Revision, err, there, want.Revision)
	}
	if value, r, ok := w.s.AtHand(nil, key); ok && (!there || r != want.Revision || string(value) != string(want.Value)) {
		w.t.Errorf("%q is at hand at revision %d; it is there: %v, of %d", key, r, there, want.Revision)
	}
}

// A store with a memory says what one without would, to those who read and to those who make
// demands, while it is filled, when it is full, and after restarts.
func TestMemoryAgrees(t *testing.T) {
	for name, tt := range map[string]struct {
		limit  int64
		hashes uint64
	}{
		"room for all": {64 << 20, 1 << 63}, "room for some": {pageSize + 400*placeCost, 1 << 63},
		"room for few": {1 << 10, 1 << 63}, "few hashes": {64 << 20, 700},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			var worlds []*world
			for i := range 4 {
				worlds = append(worlds, &world{t: t, name: i, has: model{}})
			}
			for range 4 {
				s, err := Open(dir, Options{})
				if err != nil {
					t.Fatal(err)
				}
				s.memory = newMemory(tt.limit, []string{"a/", "b/"}, []string{"c/"})
				full := s.memory.hash
				s.memory.hash = func(key string) uint64 { return full(key) % tt.hashes }
				s.filling.start(s)
				var all sync.WaitGroup
				for _, w := range worlds {
					w.s = s
					all.Go(func() {
						for range 200 {
							w.do()
						}
					})
				}
				all.Wait()
				s.Filled()
				found := 0
				for _, w := range worlds {
					for key := range w.has {
						w.see(key)
					}
					found += len(w.has)
				}
				if entries, err := s.Scan(context.Background(), "", "", 1<<20); err != nil || len(entries) != found {
					t.Errorf("%d entries, want %d; error %v", len(entries), found, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
