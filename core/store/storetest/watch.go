package storetest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/keywicket/keywicket/core/store"
)

func watchCases() []Case {
	return []Case{
		{"watch/each change, once and in order", checkWatchOrder},
		{"watch/nothing from before", checkWatchFromNow},
		{"watch/what is refused or changes nothing is no change", checkWatchNoChange},
		{"watch/prefix", checkWatchPrefix},
		{"watch/all changes of a batch", checkWatchBatch},
		{"watch/several watchers", checkWatchSeveral},
		{"watch/the channel is closed when the context ends", checkWatchEnd},
		{"watch/a slow watcher gets a Reset and holds nobody up", checkWatchSlow},
	}
}

// nextEvent waits until ctx ends at most.
func nextEvent(ctx context.Context, c <-chan store.Event) (store.Event, error) {
	select {
	case e, open := <-c:
		if !open {
			return e, errors.New("Watch: the channel was closed before the context ended")
		}
		return e, nil
	case <-ctx.Done():
		return store.Event{}, fmt.Errorf("Watch: no event came: %w", ctx.Err())
	}
}

func wantPut(ctx context.Context, c <-chan store.Event, key, value string, r store.Revision) error {
	e, err := nextEvent(ctx, c)
	switch {
	case err != nil:
		return err
	case e.Reset || e.Deleted:
		return fmt.Errorf("Watch: got %+v for a Put of %q", e, key)
	}
	return sameEntry("Watch", e.Entry, key, value, r)
}

func wantDelete(ctx context.Context, c <-chan store.Event, key string, r store.Revision) error {
	e, err := nextEvent(ctx, c)
	switch {
	case err != nil:
		return err
	case e.Reset || !e.Deleted:
		return fmt.Errorf("Watch: got %+v for a Delete of %q", e, key)
	}
	return sameEntry("Watch", e.Entry, key, "", r)
}

func checkWatchOrder(ctx context.Context, s store.Store) error {
	c, err := s.Watch(ctx, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	var revisions []store.Revision
	for i := range 60 {
		op := put(fmt.Sprint("k", i%4), strconv.Itoa(i))
		if i%8 == 7 {
			op = del("k3") // i%4 is 3; i-4 put it
		}
		r, err := apply(ctx, s, op)
		if err != nil {
			return err
		}
		revisions = append(revisions, r)
	}
	for i, r := range revisions {
		if i%8 == 7 {
			err = wantDelete(ctx, c, "k3", r)
		} else {
			err = wantPut(ctx, c, fmt.Sprint("k", i%4), strconv.Itoa(i), r)
		}
		if err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
	}
	return nil
}

func checkWatchFromNow(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b"); err != nil {
		return err
	}
	if _, err := apply(ctx, s, del("a")); err != nil {
		return err
	}
	c, err := s.Watch(ctx, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	r, err := apply(ctx, s, put("c", ""))
	if err != nil {
		return err
	}
	return wantPut(ctx, c, "c", "", r)
}

func checkWatchNoChange(ctx context.Context, s store.Store) error {
	r, err := apply(ctx, s, put("a", "1"))
	if err != nil {
		return err
	}
	c, err := s.Watch(ctx, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	if err := conflict(ctx, s, "a batch with a broken demand", put("b", "1"), ifAbsent(put("a", "2"))); err != nil {
		return err
	}
	if err := invalid(ctx, s, "a malformed batch", put("b", "1"), put("", "2")); err != nil {
		return err
	}
	if _, err := apply(ctx, s, ifRevision(check("a"), r), ifAbsent(check("b")), del("nothing here")); err != nil {
		return err
	}
	last, err := apply(ctx, s, put("a", "3"))
	if err != nil {
		return err
	}
	return wantPut(ctx, c, "a", "3", last)
}

func checkWatchPrefix(ctx context.Context, s store.Store) error {
	prefixes := []string{"b/", "b", "b/1", "\xff"}
	keys := []string{"a", "b", "b/", "b/1", "b/10", "b/2", "b0", "c", "\xfe", "\xff", "\xff\xff"}
	watched := make(map[string]<-chan store.Event)
	for _, prefix := range prefixes {
		c, err := s.Watch(ctx, prefix)
		if err != nil {
			return fmt.Errorf("Watch: %w", err)
		}
		watched[prefix] = c
		keys = append(keys, prefix+"last") // so that each ends with one that must come
	}
	var revisions []store.Revision
	for _, key := range keys {
		r, err := apply(ctx, s, put(key, key))
		if err != nil {
			return err
		}
		revisions = append(revisions, r)
	}
	for prefix, c := range watched {
		for i, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			if err := wantPut(ctx, c, key, key, revisions[i]); err != nil {
				return fmt.Errorf("of prefix %q: %w", prefix, err)
			}
		}
	}
	return nil
}

func checkWatchBatch(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b", "d"); err != nil {
		return err
	}
	c, err := s.Watch(ctx, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	r, err := apply(ctx, s, put("c", "new"), del("b"), put("a", "new"), del("d"))
	if err != nil {
		return err
	}
	next, err := apply(ctx, s, put("z", ""))
	if err != nil {
		return err
	}
	// Within a batch there is no order.
	var got []store.Event
	for range 4 {
		e, err := nextEvent(ctx, c)
		switch {
		case err != nil:
			return err
		case e.Entry.Revision != r:
			return fmt.Errorf("Watch: got %+v after %d of 4 changes of revision %d", e, len(got), r)
		}
		got = append(got, e)
	}
	sort.Slice(got, func(i, j int) bool { return got[i].Entry.Key < got[j].Entry.Key })
	for i, key := range []string{"a", "b", "c", "d"} {
		value, deleted := "new", key == "b" || key == "d"
		if deleted {
			value = ""
		}
		if got[i].Reset || got[i].Deleted != deleted {
			return fmt.Errorf("Watch: got %+v for the change of %q", got[i], key)
		}
		if err := sameEntry("Watch", got[i].Entry, key, value, r); err != nil {
			return err
		}
	}
	return wantPut(ctx, c, "z", "", next)
}

func checkWatchSeveral(ctx context.Context, s store.Store) error {
	var channels []<-chan store.Event
	for range 5 {
		c, err := s.Watch(ctx, "")
		if err != nil {
			return fmt.Errorf("Watch: %w", err)
		}
		channels = append(channels, c)
	}
	// One that ends must not disturb the others.
	ending, end := context.WithCancel(ctx)
	defer end()
	if _, err := s.Watch(ending, ""); err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	for i := range 20 {
		if i == 10 {
			end()
		}
		r, err := apply(ctx, s, put("k", strconv.Itoa(i)))
		if err != nil {
			return err
		}
		for _, c := range channels {
			if err := wantPut(ctx, c, "k", strconv.Itoa(i), r); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkWatchEnd(ctx context.Context, s store.Store) error {
	ending, end := context.WithCancel(ctx)
	defer end()
	idle, err := s.Watch(ending, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	full, err := s.Watch(ending, "")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	for i := range 10 {
		r, err := apply(ctx, s, put("k", strconv.Itoa(i)))
		if err != nil {
			return err
		}
		if err := wantPut(ctx, idle, "k", strconv.Itoa(i), r); err != nil {
			return err
		}
	}
	end()
	for _, c := range []<-chan store.Event{idle, full} {
		for open := true; open; {
			select {
			case _, open = <-c:
			case <-ctx.Done():
				return errors.New("Watch: the channel was not closed when its context ended")
			}
		}
	}
	_, err = apply(ctx, s, put("k", "on"))
	return err
}

// slowBatches times MaxOps changes are more than a store should keep for a
// watcher. One that does keep them passes, if it keeps all.
const slowBatches = 100

func checkWatchSlow(ctx context.Context, s store.Store) error {
	c, err := s.Watch(ctx, "k")
	if err != nil {
		return fmt.Errorf("Watch: %w", err)
	}
	for i := range slowBatches {
		var b store.Batch
		for k := range store.MaxOps {
			b = append(b, put(fmt.Sprintf("k%03d", k), strconv.Itoa(i)))
		}
		if _, err := apply(ctx, s, b...); err != nil {
			return fmt.Errorf("while a watcher does not read: %w", err)
		}
	}
	// From the last Reset on nothing may be missing; without one, from the
	// beginning.
	seen, reset := make(map[string]int), false
	for {
		last, err := apply(ctx, s, put("k end", ""))
		if err != nil {
			return err
		}
		for {
			e, err := nextEvent(ctx, c)
			if err != nil {
				return err
			}
			if e.Reset {
				seen, reset = make(map[string]int), true
				if e.Deleted || e.Entry.Key != "" || e.Entry.Value != nil || e.Entry.Revision != 0 {
					return fmt.Errorf("Watch: a Reset with more in it: %+v", e)
				}
				break // "k end" may be among the lost
			}
			if e.Entry.Key == "k end" {
				if e.Entry.Revision == last {
					return nil
				}
				continue
			}
			if err := inTurn(seen, e.Entry, reset); err != nil {
				return err
			}
		}
	}
}

// inTurn demands that the changes of one key come without a gap.
func inTurn(seen map[string]int, e store.Entry, reset bool) error {
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		return fmt.Errorf("Watch: %q has value %q", e.Key, e.Value)
	}
	before, known := seen[e.Key]
	if !known {
		before = n - 1
		if !reset {
			before = -1
		}
	}
	if n != before+1 {
		return fmt.Errorf("Watch: change %d of %q comes after change %d, without a Reset", n, e.Key, before)
	}
	seen[e.Key] = n
	return nil
}
