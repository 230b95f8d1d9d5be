package storetest

import (
	"context"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

func watchPlants() map[string]func(*faulty, store.Store) {
	// filtered passes each event through change, which gives any number.
	filtered := func(change func() func(e store.Event) []store.Event) func(*faulty, store.Store) {
		return func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				in, err := right.Watch(ctx, prefix)
				if err != nil {
					return nil, err
				}
				out, change := make(chan store.Event), change()
				go func() {
					defer close(out)
					for e := range in {
						for _, e := range change(e) {
							select {
							case out <- e:
							case <-ctx.Done():
							}
						}
					}
				}()
				return out, nil
			}
		}
	}
	simple := func(change func(e store.Event) []store.Event) func(*faulty, store.Store) {
		return filtered(func() func(store.Event) []store.Event { return change })
	}
	edit := func(change func(e *store.Event)) func(*faulty, store.Store) {
		return simple(func(e store.Event) []store.Event {
			change(&e)
			return []store.Event{e}
		})
	}
	plants := map[string]func(*faulty, store.Store){
		"deletions are no events": simple(func(e store.Event) []store.Event {
			if e.Deleted {
				return nil
			}
			return []store.Event{e}
		}),
		"a deletion looks like a Put": edit(func(e *store.Event) { e.Deleted = false }),
		"events come twice":           simple(func(e store.Event) []store.Event { return []store.Event{e, e} }),
		"events have no value":        edit(func(e *store.Event) { e.Entry.Value = nil }),
		"events have no revision":     edit(func(e *store.Event) { e.Entry.Revision = 0 }),
		"a Reset carries an entry": edit(func(e *store.Event) {
			if e.Reset {
				e.Entry.Key = "k"
			}
		}),
		"a Reset is swallowed": simple(func(e store.Event) []store.Event {
			if e.Reset {
				return nil
			}
			return []store.Event{e}
		}),
		"events come in pairs, swapped": filtered(func() func(store.Event) []store.Event {
			var held []store.Event
			return func(e store.Event) []store.Event {
				if len(held) == 0 {
					held = []store.Event{e}
					return nil
				}
				pair := []store.Event{e, held[0]}
				held = nil
				return pair
			}
		}),
		"one event of a batch": filtered(func() func(store.Event) []store.Event {
			last := store.Revision(0)
			return func(e store.Event) []store.Event {
				if e.Entry.Revision == last {
					return nil
				}
				last = e.Entry.Revision
				return []store.Event{e}
			}
		}),
		"silent: no event at all": simple(func(store.Event) []store.Event { return nil }),
	}
	for name, plant := range channelPlants() {
		plants[name] = plant
	}
	return plants
}

// channelPlants are wrong in how they watch, not in what they say.
func channelPlants() map[string]func(*faulty, store.Store) {
	return map[string]func(*faulty, store.Store){
		"Watch ignores prefix": func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, _ string) (<-chan store.Event, error) { return right.Watch(ctx, "") }
		},
		"Watch does not look at the context": func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				if ctx.Err() != nil {
					return make(chan store.Event), nil
				}
				return right.Watch(ctx, prefix)
			}
		},
		"Watch begins with what is there": func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				there, err := right.Scan(ctx, prefix, "", 1000)
				if err != nil {
					return nil, err
				}
				in, err := right.Watch(ctx, prefix)
				if err != nil {
					return nil, err
				}
				out := make(chan store.Event, 1000)
				for _, e := range there {
					out <- store.Event{Entry: e}
				}
				go func() {
					defer close(out)
					for e := range in {
						out <- e
					}
				}()
				return out, err
			}
		},
		"the channel is closed after one event": func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				in, err := right.Watch(ctx, prefix)
				if err != nil {
					return nil, err
				}
				out := make(chan store.Event, 1)
				go func() {
					defer close(out)
					if e, open := <-in; open {
						out <- e
					}
				}()
				return out, err
			}
		},
		"silent: the channel is never closed": func(f *faulty, right store.Store) {
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				in, err := right.Watch(ctx, prefix)
				if err != nil {
					return nil, err
				}
				out := make(chan store.Event, 1000)
				go func() {
					for e := range in {
						select {
						case out <- e:
						case <-ctx.Done():
						}
					}
				}()
				return out, err
			}
		},
		"silent: watchers share their events": func(f *faulty, right store.Store) {
			var mu sync.Mutex
			var shared <-chan store.Event
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				mu.Lock()
				defer mu.Unlock()
				if shared != nil && ctx.Err() == nil {
					return shared, nil
				}
				c, err := right.Watch(ctx, prefix)
				shared = c
				return c, err
			}
		},
		"the end of one watch ends the others": func(f *faulty, right store.Store) {
			var mu sync.Mutex
			var ends []context.CancelFunc
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				own, end := context.WithCancel(ctx)
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, end)
				context.AfterFunc(ctx, func() {
					mu.Lock()
					defer mu.Unlock()
					for _, end := range ends {
						end()
					}
				})
				return right.Watch(own, prefix)
			}
		},
		"silent: a slow watcher holds up Apply": func(f *faulty, right store.Store) {
			var mu sync.Mutex
			var slow []chan store.Event
			f.watch = func(ctx context.Context, prefix string) (<-chan store.Event, error) {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				mu.Lock()
				defer mu.Unlock()
				slow = append(slow, make(chan store.Event, 1000))
				return slow[len(slow)-1], nil
			}
			f.apply = func(ctx context.Context, b store.Batch) (store.Revision, error) {
				r, err := right.Apply(ctx, b)
				mu.Lock()
				defer mu.Unlock()
				for _, c := range slow {
					for _, op := range b {
						select {
						case c <- store.Event{Entry: store.Entry{Key: op.Key, Value: op.Value, Revision: r}}:
						case <-ctx.Done():
							return 0, store.ErrUnavailable
						}
					}
				}
				return r, err
			}
		},
	}
}
