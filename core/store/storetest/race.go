package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

func raceCases() []Case {
	return []Case{
		{"race/one of many creators wins", checkOneCreator},
		{"race/one of many writers wins", checkOneWriter},
		{"race/no update is lost", checkNoLostUpdate},
		{"race/readers see whole batches", checkWholeBatches},
	}
}

const writers = 16

// contest lets all writers apply the batch that make gives each, at the same
// time, and demands that exactly one succeeds and the others get a conflict.
func contest(ctx context.Context, s store.Store, make func(i int) store.Batch) (int, error) {
	var group sync.WaitGroup
	start, failed := newSlots(writers)
	for i := range writers {
		group.Go(func() {
			<-start
			_, failed[i] = s.Apply(ctx, make(i))
		})
	}
	close(start)
	group.Wait()
	winner, won := 0, 0
	for i, err := range failed {
		switch {
		case err == nil:
			winner, won = i, won+1
		case !errors.Is(err, store.ErrConflict):
			return 0, fmt.Errorf("Apply that lost a race: got error %w, want %w", err, store.ErrConflict)
		}
	}
	if won != 1 {
		return 0, fmt.Errorf("%d of %d writers with the same demand succeeded", won, writers)
	}
	return winner, nil
}

func newSlots(n int) (chan struct{}, []error) { return make(chan struct{}), make([]error, n) }

func checkOneCreator(ctx context.Context, s store.Store) error {
	for round := range 5 {
		key := fmt.Sprint("k", round)
		winner, err := contest(ctx, s, func(i int) store.Batch {
			return store.Batch{ifAbsent(put(key, fmt.Sprint(i))), put(fmt.Sprintf("by %d", i), key)}
		})
		if err != nil {
			return err
		}
		e, err := s.Get(ctx, key)
		if err != nil || string(e.Value) != fmt.Sprint(winner) {
			return fmt.Errorf("writer %d won, but %q is there (error %w)", winner, e.Value, err)
		}
		if _, err := apply(ctx, s, ifRevision(del(fmt.Sprintf("by %d", winner)), e.Revision)); err != nil {
			return fmt.Errorf("the other half of the winner's batch: %w", err)
		}
		if err := wantKeys(ctx, s, "by ", "", writers); err != nil {
			return fmt.Errorf("a loser's batch left something: %w", err)
		}
	}
	return nil
}

func checkOneWriter(ctx context.Context, s store.Store) error {
	r, err := apply(ctx, s, put("k", "start"))
	if err != nil {
		return err
	}
	for range 5 {
		if _, err := contest(ctx, s, func(i int) store.Batch {
			return store.Batch{ifRevision(put("k", fmt.Sprint(i)), r)}
		}); err != nil {
			return err
		}
		e, err := s.Get(ctx, "k")
		if err != nil {
			return fmt.Errorf("Get: %w", err)
		}
		r = e.Revision
	}
	return nil
}

// increment adds one to the number at key; it repeats what conflicts.
func increment(ctx context.Context, s store.Store, key string) error {
	for {
		e, err := s.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("Get: %w", err)
		}
		n, err := strconv.Atoi(string(e.Value))
		if err != nil {
			return err
		}
		_, err = s.Apply(ctx, store.Batch{ifRevision(put(key, strconv.Itoa(n+1)), e.Revision)})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func checkNoLostUpdate(ctx context.Context, s store.Store) error {
	const times = 10
	if _, err := apply(ctx, s, put("n", "0")); err != nil {
		return err
	}
	var group sync.WaitGroup
	start, failed := newSlots(writers)
	for i := range writers {
		group.Go(func() {
			<-start
			for range times {
				failed[i] = errors.Join(failed[i], increment(ctx, s, "n"))
			}
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	e, err := s.Get(ctx, "n")
	if err != nil || string(e.Value) != strconv.Itoa(writers*times) {
		return fmt.Errorf("%d increments made %q (error %w)", writers*times, e.Value, err)
	}
	return nil
}

// A Scan sees a batch whole or not at all: while both keys of a pair are
// always written together, they are never seen to differ.
func checkWholeBatches(ctx context.Context, s store.Store) error {
	if _, err := apply(ctx, s, put("a", "0"), put("b", "0")); err != nil {
		return err
	}
	var group sync.WaitGroup
	done, failed := newSlots(1)
	group.Go(func() {
		defer close(done)
		for i := range 100 {
			value := strconv.Itoa(i)
			if _, err := apply(ctx, s, put("a", value), put("b", value)); err != nil {
				failed[0] = err
				return
			}
		}
	})
	var torn error
	for running := true; running && torn == nil; {
		select {
		case <-done:
			running = false
		default:
		}
		entries, err := s.Scan(ctx, "", "", 3)
		switch {
		case err != nil:
			torn = fmt.Errorf("Scan: %w", err)
		case len(entries) != 2:
			torn = fmt.Errorf("Scan during writes found %d of 2 keys", len(entries))
		case string(entries[0].Value) != string(entries[1].Value) || entries[0].Revision != entries[1].Revision:
			torn = fmt.Errorf("Scan saw half a batch: %q at %d and %q at %d",
				entries[0].Value, entries[0].Revision, entries[1].Value, entries[1].Revision)
		}
	}
	group.Wait()
	return errors.Join(torn, failed[0])
}
