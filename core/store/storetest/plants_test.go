package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// The functions of plants are tables; that is why they are long.

func applyPlants() map[string]func(*faulty, store.Store) {
	// without applies the batch that change makes of the caller's.
	without := func(change func(op *store.Op)) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				if err := b.Validate(); err != nil {
					return 0, err
				}
				c := append(store.Batch{}, b...)
				for i := range c {
					change(&c[i])
					if c[i].Action == store.Check && !c[i].IfAbsent && c[i].IfRevision == 0 {
						c[i] = store.Op{Action: store.Check, Key: "\x00\x00never", IfAbsent: true}
					}
				}
				return right.Apply(ctx, c)
			}
		}
	}
	result := func(change func(b store.Batch, r *store.Revision, err *error)) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				r, err := right.Apply(ctx, b)
				change(b, &r, &err)
				return r, err
			}
		}
	}
	return map[string]func(*faulty, store.Store){
		"IfAbsent is ignored":   without(func(op *store.Op) { op.IfAbsent = false }),
		"IfRevision is ignored": without(func(op *store.Op) { op.IfRevision = 0 }),
		"demands of a Delete are ignored": without(func(op *store.Op) {
			if op.Action == store.Delete {
				op.IfAbsent, op.IfRevision = false, 0
			}
		}),
		"demands of a Check are ignored": without(func(op *store.Op) {
			if op.Action == store.Check {
				op.IfAbsent, op.IfRevision = false, 0
			}
		}),
		"a Check writes": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				c := append(store.Batch{}, b...)
				for i, op := range c {
					if e, err := right.Get(ctx, op.Key); op.Action == store.Check && err == nil && b.Validate() == nil {
						c[i].Action, c[i].Value = store.Put, e.Value
					}
				}
				return right.Apply(ctx, c)
			}
		},
		"a conflict is invalid": result(func(_ store.Batch, _ *store.Revision, err *error) {
			if errors.Is(*err, store.ErrConflict) {
				*err = store.ErrInvalid
			}
		}),
		"a conflict is no error": result(func(_ store.Batch, r *store.Revision, err *error) {
			if errors.Is(*err, store.ErrConflict) {
				*r, *err = 1, nil
			}
		}),
		"all revisions are 0": result(func(_ store.Batch, r *store.Revision, _ *error) { *r = 0 }),
		"all revisions are 1": result(func(_ store.Batch, r *store.Revision, _ *error) { *r = min(*r, 1) }),
		"Apply returns the revision before": result(func(_ store.Batch, r *store.Revision, _ *error) {
			if *r > 1 {
				*r--
			}
		}),
		"removing nothing is an error": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				for _, op := range b {
					if _, err := right.Get(ctx, op.Key); op.Action == store.Delete && b.Validate() == nil && errors.Is(err, store.ErrNotFound) {
						return 0, err
					}
				}
				return right.Apply(ctx, b)
			}
		},
		"operations are applied one by one": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (r store.Revision, err error) {
				if err := b.Validate(); err != nil {
					return 0, err
				}
				for _, op := range b {
					if r, err = right.Apply(ctx, store.Batch{op}); err != nil {
						return 0, err
					}
				}
				return r, nil
			}
		},
		"demands are looked at before the lock": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				if err := b.Validate(); err != nil {
					return 0, err
				}
				c := append(store.Batch{}, b...)
				for i, op := range c {
					e, err := right.Get(ctx, op.Key)
					if ctx.Err() == nil && (op.IfAbsent && err == nil || op.IfRevision != 0 && (err != nil || e.Revision != op.IfRevision)) {
						return 0, store.ErrConflict
					}
					if op.Action != store.Check {
						c[i].IfAbsent, c[i].IfRevision = false, 0
					}
				}
				time.Sleep(100 * time.Microsecond)
				return right.Apply(ctx, c)
			}
		},
		"a deleted key is still taken": func(f *faulty, right store.Store) {
			var mu sync.Mutex
			deleted := make(map[string]bool)
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				mu.Lock()
				defer mu.Unlock()
				for _, op := range b {
					if op.IfAbsent && deleted[op.Key] && b.Validate() == nil {
						return 0, store.ErrConflict
					}
				}
				r, err := right.Apply(ctx, b)
				for _, op := range b {
					if op.Action == store.Delete && err == nil {
						deleted[op.Key] = true
					}
				}
				return r, err
			}
		},
		"a deleted key is kept empty": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				c := append(store.Batch{}, b...)
				for i, op := range c {
					if op.Action == store.Delete && b.Validate() == nil {
						c[i].Action, c[i].Value = store.Put, []byte{}
					}
				}
				return right.Apply(ctx, c)
			}
		},
		"revisions count for each key": perKey,
		"Apply does not look at the context": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				return right.Apply(context.WithoutCancel(ctx), b)
			}
		},
		"silent: Apply is answered before it is done": func(f *faulty, right store.Store) {
			var mu sync.Mutex
			guess := store.Revision(0)
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				if err := b.Validate(); err != nil {
					return 0, err
				}
				mu.Lock()
				guess++
				r := guess
				mu.Unlock()
				time.AfterFunc(time.Millisecond, func() { _, _ = right.Apply(ctx, b) })
				return r, nil
			}
		},
	}
}

// perKey gives each key a count of its own that begins anew after a deletion.
func perKey(f *faulty, right store.Store) {
	var mu sync.Mutex
	own := make(map[string]store.Revision)
	f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
		if len(b) != 1 {
			return right.Apply(ctx, b)
		}
		mu.Lock()
		defer mu.Unlock()
		op := b[0]
		if op.IfRevision != 0 && op.IfRevision != own[op.Key] {
			return 0, store.ErrConflict
		}
		op.IfRevision = 0
		if op.Action == store.Check && !op.IfAbsent {
			return own[op.Key], nil
		}
		if _, err := right.Apply(ctx, store.Batch{op}); err != nil {
			return 0, err
		}
		own[op.Key]++
		if op.Action == store.Delete {
			delete(own, op.Key)
			return 1, nil
		}
		return own[op.Key], nil
	}
	f.get = func(ctx context.Context, key string) (store.Entry, error) {
		e, err := right.Get(ctx, key)
		mu.Lock()
		defer mu.Unlock()
		if r, ok := own[key]; ok {
			e.Revision = r
		}
		return e, err
	}
}

func limitPlants() map[string]func(*faulty, store.Store) {
	// refuse makes a store that refuses more than it may.
	refuse := func(broken func(b store.Batch) bool) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				if broken(b) {
					return 0, store.ErrInvalid
				}
				return right.Apply(ctx, b)
			}
		}
	}
	// accept makes a store that says yes where it must refuse.
	accept := func(wrong func(b store.Batch, err error) bool) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				r, err := right.Apply(ctx, b)
				if errors.Is(err, store.ErrInvalid) && wrong(b, err) {
					return 1 << 40, nil
				}
				return r, err
			}
		}
	}
	any := func(b store.Batch, is func(op store.Op) bool) bool {
		for _, op := range b {
			if is(op) {
				return true
			}
		}
		return false
	}
	says := func(text string) func(store.Batch, error) bool {
		return func(_ store.Batch, err error) bool { return strings.Contains(err.Error(), text) }
	}
	size := func(b store.Batch) (n int) {
		for _, op := range b {
			n += len(op.Key) + len(op.Value)
		}
		return n
	}
	return map[string]func(*faulty, store.Store){
		"the longest key is refused": refuse(func(b store.Batch) bool {
			return any(b, func(op store.Op) bool { return len(op.Key) >= store.MaxKey })
		}),
		"the longest value is refused": refuse(func(b store.Batch) bool {
			return any(b, func(op store.Op) bool { return len(op.Value) >= store.MaxValue })
		}),
		"the longest batch is refused": refuse(func(b store.Batch) bool { return len(b) >= store.MaxOps }),
		"the largest batch is refused": refuse(func(b store.Batch) bool { return size(b) >= store.MaxBatch }),
		"an empty value is refused": refuse(func(b store.Batch) bool {
			return any(b, func(op store.Op) bool { return op.Action == store.Put && len(op.Value) == 0 })
		}),
		"text alone may be a key": refuse(func(b store.Batch) bool {
			return any(b, func(op store.Op) bool { return strings.ToValidUTF8(op.Key, "") != op.Key })
		}),
		"a key that is too long passes": accept(func(b store.Batch, _ error) bool {
			return any(b, func(op store.Op) bool { return len(op.Key) > store.MaxKey })
		}),
		"the empty key passes": accept(func(b store.Batch, _ error) bool { return any(b, func(op store.Op) bool { return op.Key == "" }) }),
		"a value that is too long passes": accept(func(b store.Batch, _ error) bool {
			return any(b, func(op store.Op) bool { return len(op.Value) > store.MaxValue })
		}),
		"too many operations pass":      accept(func(b store.Batch, _ error) bool { return len(b) > store.MaxOps }),
		"no operations pass":            accept(func(b store.Batch, _ error) bool { return len(b) == 0 }),
		"too many octets pass":          accept(func(b store.Batch, _ error) bool { return size(b) > store.MaxBatch }),
		"a key twice passes":            accept(says("second time")),
		"two demands pass":              accept(says("two demands")),
		"no action passes":              accept(says("no action")),
		"a Check of nothing passes":     accept(says("checks nothing")),
		"a value without a Put passes":  accept(says("no Put")),
		"invalid is called unavailable": rename(store.ErrInvalid, store.ErrUnavailable),
		"what is invalid is done in part": func(f *faulty, right store.Store) {
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				if err := b.Validate(); err != nil && len(b) > 0 {
					_, _ = right.Apply(ctx, b[:1])
					return 0, err
				}
				return right.Apply(ctx, b)
			}
		},
	}
}

func rename(from, to error) func(*faulty, store.Store) {
	return func(f *faulty, right store.Store) {
		f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
			r, err := right.Apply(ctx, b)
			if errors.Is(err, from) {
				err = to
			}
			return r, err
		}
	}
}
