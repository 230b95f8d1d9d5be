package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A faulty is a right store behind a wrong one: a method that is set replaces
// the right one.
type faulty struct {
	store.Store
	get   func(ctx context.Context, key string) (store.Entry, error)
	scan  func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error)
	apply func(ctx context.Context, b store.Batch) (store.Revision, error)
	watch func(ctx context.Context, prefix string) (<-chan store.Event, error)
}

func (f *faulty) Get(ctx context.Context, key string) (store.Entry, error) {
	if f.get != nil {
		return f.get(ctx, key)
	}
	return f.Store.Get(ctx, key)
}

func (f *faulty) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if f.scan != nil {
		return f.scan(ctx, prefix, after, limit)
	}
	return f.Store.Scan(ctx, prefix, after, limit)
}

func (f *faulty) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if f.apply != nil {
		return f.apply(ctx, b)
	}
	return f.Store.Apply(ctx, b)
}

func (f *faulty) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if f.watch != nil {
		return f.watch(ctx, prefix)
	}
	return f.Store.Watch(ctx, prefix)
}

// plants are the faults, each built over a right store of its own.
func plants() map[string]func(f *faulty, right store.Store) {
	all := make(map[string]func(f *faulty, right store.Store))
	for _, part := range []map[string]func(f *faulty, right store.Store){readPlants(), scanPlants(), applyPlants(), limitPlants(), watchPlants()} {
		for name, plant := range part {
			all[name] = plant
		}
	}
	return all
}

// silent says which faults show only as something that never comes.
func silent(name string) bool { return strings.HasPrefix(name, "silent: ") }

func open(t *testing.T) store.Store {
	s := memstore.New()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The suite finds each planted fault, and none where there is none.
func TestFindsPlantedFaults(t *testing.T) {
	all := plants()
	if len(all) < 60 {
		t.Errorf("only %d faults are planted", len(all))
	}
	all["no fault"] = func(*faulty, store.Store) {}
	for name, plant := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait := 5 * time.Second
			switch {
			case name == "no fault":
				wait = patience
			case silent(name):
				wait = 200 * time.Millisecond
			}
			found := firstFault(t, plant, wait, silent(name))
			switch {
			case name == "no fault" && found != nil:
				t.Errorf("a fault where none is: %v", found)
			case name != "no fault" && found == nil:
				t.Error("the suite does not find it")
			}
			t.Log(found)
		})
	}
}

// firstFault is what the first case says that finds one. That time ran out
// counts only where silence is the fault: a busy machine is none.
func firstFault(t *testing.T, plant func(*faulty, store.Store), wait time.Duration, silent bool) error {
	for _, c := range Cases() {
		right := open(t)
		f := &faulty{Store: right}
		plant(f, right)
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		err := c.Check(ctx, f)
		cancel()
		if err != nil && !errors.Is(err, ErrNotOffered) && (silent || !errors.Is(err, context.DeadlineExceeded)) {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// CheckClosed too finds a method that answers.
func TestCheckClosedFindsAnswers(t *testing.T) {
	closed := memstore.New()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := CheckClosed(t.Context(), closed); err != nil {
		t.Error(err)
	}
	right := open(t)
	for name, f := range map[string]*faulty{
		"Get":   {Store: closed, get: right.Get},
		"Scan":  {Store: closed, scan: right.Scan},
		"Apply": {Store: closed, apply: right.Apply},
		"Watch": {Store: closed, watch: right.Watch},
	} {
		if CheckClosed(t.Context(), f) == nil {
			t.Errorf("%s answers on a closed store, and nobody minds", name)
		}
	}
}

func readPlants() map[string]func(*faulty, store.Store) {
	get := func(change func(e *store.Entry, err *error)) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := right.Get(ctx, key)
				change(&e, &err)
				return e, err
			}
		}
	}
	return map[string]func(*faulty, store.Store){
		"nothing is no error": get(func(_ *store.Entry, err *error) {
			if errors.Is(*err, store.ErrNotFound) {
				*err = nil
			}
		}),
		"nothing is unavailable": get(func(_ *store.Entry, err *error) {
			if errors.Is(*err, store.ErrNotFound) {
				*err = store.ErrUnavailable
			}
		}),
		"Get leaves out the key":      get(func(e *store.Entry, _ *error) { e.Key = "" }),
		"Get leaves out the revision": get(func(e *store.Entry, _ *error) { e.Revision = 0 }),
		"an empty value is nothing": get(func(e *store.Entry, err *error) {
			if *err == nil && len(e.Value) == 0 {
				*err = store.ErrNotFound
			}
		}),
		"values end at a NUL": get(func(e *store.Entry, _ *error) {
			before, _, _ := strings.Cut(string(e.Value), "\x00")
			e.Value = []byte(before)
		}),
		"keys end at a NUL": func(f *faulty, right store.Store) {
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				if before, _, ok := strings.Cut(key, "\x00"); ok && before != "" {
					e, err := right.Get(ctx, before)
					e.Key = key
					return e, err
				}
				return right.Get(ctx, key)
			}
		},
		"Get falls back on a shorter key": func(f *faulty, right store.Store) {
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := right.Get(ctx, key)
				if errors.Is(err, store.ErrNotFound) {
					if page, _ := right.Scan(ctx, key, "", 1); len(page) == 1 {
						return page[0], nil
					}
				}
				return e, err
			}
		},
		"Get answers from a cache": func(f *faulty, right store.Store) {
			cache := make(map[string]store.Entry)
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				if e, ok := cache[key]; ok {
					return e, nil
				}
				e, err := right.Get(ctx, key)
				if err == nil {
					cache[key] = e
				}
				return e, err
			}
		},
		"Get shares the value": func(f *faulty, right store.Store) {
			shared := make(map[store.Revision]store.Entry)
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := right.Get(ctx, key)
				if err != nil {
					return e, err
				}
				if old, ok := shared[e.Revision]; ok && old.Key == key {
					return old, nil
				}
				shared[e.Revision] = e
				return e, nil
			}
		},
		"Apply keeps the caller's value": func(f *faulty, right store.Store) {
			kept := make(map[string][]byte)
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				for _, op := range b {
					kept[op.Key] = op.Value
				}
				return right.Apply(ctx, b)
			}
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := right.Get(ctx, key)
				if v, ok := kept[key]; ok && len(v) == len(e.Value) {
					e.Value = v
				}
				return e, err
			}
		},
		"Get does not look at the context": func(f *faulty, right store.Store) {
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				return right.Get(context.WithoutCancel(ctx), key)
			}
		},
		"an ended context is not found": func(f *faulty, right store.Store) {
			f.get = func(ctx context.Context, key string) (store.Entry, error) {
				if ctx.Err() != nil {
					return store.Entry{}, store.ErrNotFound
				}
				return right.Get(ctx, key)
			}
		},
	}
}

func scanPlants() map[string]func(*faulty, store.Store) {
	type ask struct {
		prefix, after string
		limit         int
	}
	scan := func(question func(*ask), answer func(ask, []store.Entry) []store.Entry) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.scan = func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
				a := ask{prefix, after, limit}
				if question != nil {
					question(&a)
				}
				entries, err := right.Scan(ctx, a.prefix, a.after, a.limit)
				if answer != nil && err == nil {
					entries = answer(ask{prefix, after, limit}, entries)
				}
				return entries, err
			}
		}
	}
	return map[string]func(*faulty, store.Store){
		"Scan ignores prefix": scan(func(a *ask) { a.prefix = "" }, nil),
		"Scan ignores after":  scan(func(a *ask) { a.after = "" }, nil),
		"Scan ignores limit":  scan(func(a *ask) { a.limit = max(a.limit, 1<<30*min(a.limit, 1)) }, nil),
		"Scan takes limit 0":  scan(func(a *ask) { a.limit = max(a.limit, 1) }, nil),
		"Scan begins at after, not behind it": func(f *faulty, right store.Store) {
			f.scan = func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
				entries, err := right.Scan(ctx, prefix, after, limit)
				if e, getErr := right.Get(ctx, after); err == nil && getErr == nil && strings.HasPrefix(after, prefix) {
					entries = append([]store.Entry{e}, entries...)[:min(limit, len(entries)+1)]
				}
				return entries, err
			}
		},
		"Scan goes on behind what begins with after": scan(func(a *ask) {
			if a.after != "" {
				a.after += "\x00"
			}
		}, nil),
		"Scan gives short pages": scan(nil, func(a ask, e []store.Entry) []store.Entry {
			return e[:min(len(e), max(a.limit-1, 1))]
		}),
		"Scan gives 128 at most": scan(func(a *ask) { a.limit = min(a.limit, 128) }, nil),
		"Scan is in no order": scan(nil, func(_ ask, e []store.Entry) []store.Entry {
			for i := 1; i < len(e); i += 2 {
				e[i-1], e[i] = e[i], e[i-1]
			}
			return e
		}),
		"Scan finds nothing under 0xff": scan(nil, func(a ask, e []store.Entry) []store.Entry {
			if strings.HasSuffix(a.prefix, "\xff") {
				return nil
			}
			return e
		}),
		"Scan ignores case": scan(nil, func(a ask, e []store.Entry) []store.Entry {
			if a.prefix == "B" {
				return []store.Entry{{Key: "b"}}
			}
			return e
		}),
		"Scan leaves out values": scan(nil, func(_ ask, e []store.Entry) []store.Entry {
			for i := range e {
				e[i].Value = nil
			}
			return e
		}),
		"Scan leaves out revisions": scan(nil, func(_ ask, e []store.Entry) []store.Entry {
			for i := range e {
				e[i].Revision = 0
			}
			return e
		}),
		"Scan leaves out keys without value": scan(nil, func(_ ask, e []store.Entry) []store.Entry {
			var kept []store.Entry
			for _, e := range e {
				if len(e.Value) > 0 {
					kept = append(kept, e)
				}
			}
			return kept
		}),
		"Scan does not look at the context": func(f *faulty, right store.Store) {
			f.scan = func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
				return right.Scan(context.WithoutCancel(ctx), prefix, after, limit)
			}
		},
		"Scan sees half of a batch that is being written": halfScan,
	}
}

// halfScan shows, while a batch is being written, the first of its keys as it
// was before. Apply gives a Scan some time to fall into that.
func halfScan(f *faulty, right store.Store) {
	var mu sync.Mutex
	var old *store.Entry // while a batch is being written
	fell := make(chan struct{}, 1)
	f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
		if len(b) != 2 {
			return right.Apply(ctx, b)
		}
		e, err := right.Get(ctx, b[0].Key)
		if err != nil {
			return right.Apply(ctx, b)
		}
		mu.Lock()
		old = &e
		select {
		case <-fell: // by a Scan of the batch before
		default:
		}
		mu.Unlock()
		r, err := right.Apply(ctx, b)
		select {
		case <-fell:
		case <-time.After(5 * time.Millisecond):
		}
		mu.Lock()
		old = nil
		mu.Unlock()
		return r, err
	}
	f.scan = func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
		entries, err := right.Scan(ctx, prefix, after, limit)
		mu.Lock()
		defer mu.Unlock()
		if old != nil && len(entries) == 2 && entries[0].Key == old.Key && entries[0].Revision != old.Revision {
			entries[0] = *old
			select {
			case fell <- struct{}{}:
			default:
			}
		}
		return entries, err
	}
}
