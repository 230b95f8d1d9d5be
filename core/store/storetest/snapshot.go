package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/keywicket/keywicket/core/store"
)

func snapshotCases() []Case {
	return []Case{
		{"snapshot/everything, in order", ifSnapshots(checkSnapshotAll)},
		{"snapshot/as of one revision", ifSnapshots(checkSnapshotMoment)},
		{"snapshot/whole batches", ifSnapshots(checkSnapshotBatches)},
		{"snapshot/errors of the caller", ifSnapshots(checkSnapshotErrors)},
		{"snapshot/the context ends", ifSnapshots(checkSnapshotContext)},
	}
}

// ifSnapshots says of a store that is no Snapshotter that it does not offer this.
func ifSnapshots(check func(context.Context, store.Store, store.Snapshotter) error) func(context.Context, store.Store) error {
	return func(ctx context.Context, s store.Store) error {
		if snapshotter, ok := s.(store.Snapshotter); ok {
			return check(ctx, s, snapshotter)
		}
		return ErrNotOffered
	}
}

// snapshot collects what a Snapshot tells. meanwhile runs before its first
// entry, and again after each.
func snapshot(ctx context.Context, s store.Snapshotter, meanwhile func() error) (at store.Revision, all []store.Entry, err error) {
	begun := 0
	err = s.Snapshot(ctx, func(r store.Revision) error {
		begun, at = begun+1, r
		return meanwhile()
	}, func(e store.Entry) error {
		if begun != 1 {
			return fmt.Errorf("begin was called %d times before an entry", begun)
		}
		all = append(all, e)
		return meanwhile()
	})
	if err == nil && begun != 1 {
		err = fmt.Errorf("begin was called %d times", begun)
	}
	return at, all, err
}

func nothing() error { return nil }

func checkSnapshotAll(ctx context.Context, s store.Store, sn store.Snapshotter) error {
	if _, all, err := snapshot(ctx, sn, nothing); err != nil || len(all) != 0 {
		return fmt.Errorf("snapshot of an empty store: %d entries, error %w", len(all), err)
	}
	const total = 600
	want := make(map[string]store.Revision)
	var last store.Revision
	for i := range total {
		key := fmt.Sprintf("k%03d", (i*7)%total)
		r, err := apply(ctx, s, store.Op{Action: store.Put, Key: key, Value: make([]byte, 3000)})
		if err != nil {
			return err
		}
		want[key], last = r, r
	}
	last, err := apply(ctx, s, del("k001"))
	if err != nil {
		return err
	}
	delete(want, "k001")
	at, all, err := snapshot(ctx, sn, nothing)
	if err != nil || at != last {
		return fmt.Errorf("snapshot at revision %d, want %d; error %w", at, last, err)
	}
	before := ""
	for _, e := range all {
		if r, ok := want[e.Key]; !ok || r != e.Revision || len(e.Value) != 3000 || e.Key <= before {
			return fmt.Errorf("snapshot: %q at %d with %d octets after %q, want revision %d", e.Key, e.Revision, len(e.Value), before, r)
		}
		before = e.Key
	}
	if len(all) != len(want) {
		return fmt.Errorf("snapshot has %d of %d entries", len(all), len(want))
	}
	return nil
}

// What is written during a Snapshot is not seen, and not held up.
func checkSnapshotMoment(ctx context.Context, s store.Store, sn store.Snapshotter) error {
	var first store.Revision
	for i := range 40 {
		r, err := fill(ctx, s, fmt.Sprintf("k%02d", i))
		if err != nil {
			return err
		}
		first = r
	}
	n := 0
	at, all, err := snapshot(ctx, sn, func() error {
		n++
		if _, err := apply(ctx, s, put("k00", "new"), put("k39", strconv.Itoa(n)), put("a", "new"), put("z", "new")); err != nil {
			return err
		}
		if _, err := apply(ctx, s, del("k38")); err != nil {
			return err
		}
		_, err := s.Get(ctx, "k20")
		return err
	})
	if err != nil || at != first || len(all) != 40 {
		return fmt.Errorf("snapshot while others write: %d of 40 entries at revision %d, want %d; error %w", len(all), at, first, err)
	}
	for i, e := range all {
		if key := fmt.Sprintf("k%02d", i); e.Key != key || string(e.Value) != key || e.Revision > first {
			return fmt.Errorf("snapshot at revision %d shows %q = %q of revision %d", at, e.Key, e.Value, e.Revision)
		}
	}
	return nil
}

// Each Snapshot taken beside a writer has pairs that fit, of the revision that
// it names or an older one.
func checkSnapshotBatches(ctx context.Context, s store.Store, sn store.Snapshotter) error {
	if _, err := apply(ctx, s, put("a", "0"), put("b", "0")); err != nil {
		return err
	}
	stop, failed := newSlots(1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			value := strconv.Itoa(i)
			if _, failed[0] = apply(ctx, s, put("a", value), put("b", value)); failed[0] != nil {
				return
			}
		}
	}()
	var torn error
	for i := 0; i < 50 && torn == nil; i++ {
		at, all, err := snapshot(ctx, sn, nothing)
		switch {
		case err != nil:
			torn = err
		case len(all) != 2 || string(all[0].Value) != string(all[1].Value) || all[0].Revision != all[1].Revision || all[0].Revision > at:
			torn = fmt.Errorf("snapshot at %d saw half a batch: %v", at, all)
		}
	}
	close(stop)
	<-ended
	return errors.Join(torn, failed[0])
}

func checkSnapshotErrors(ctx context.Context, s store.Store, sn store.Snapshotter) error {
	if _, err := fill(ctx, s, "a", "b"); err != nil {
		return err
	}
	own := errors.New("no more")
	seen := 0
	count := func(store.Entry) error { seen++; return own }
	if err := sn.Snapshot(ctx, func(store.Revision) error { return own }, count); !errors.Is(err, own) || seen != 0 {
		return fmt.Errorf("begin failed: got error %w and %d entries", err, seen)
	}
	if err := sn.Snapshot(ctx, func(store.Revision) error { return nil }, count); !errors.Is(err, own) || seen != 1 {
		return fmt.Errorf("each failed: got error %w and %d entries", err, seen)
	}
	return nil
}

func checkSnapshotContext(ctx context.Context, s store.Store, sn store.Snapshotter) error {
	if _, err := fill(ctx, s, "a", "b", "c"); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	_, all, err := snapshot(ended, sn, func() error { cancel(); return nil })
	if len(all) > 1 {
		return fmt.Errorf("snapshot whose context ended: %d entries", len(all))
	}
	if err := wantErr("Snapshot whose context ended", err, store.ErrUnavailable); err != nil {
		return err
	}
	_, _, err = snapshot(ended, sn, nothing)
	return wantErr("Snapshot after its context ended", err, store.ErrUnavailable)
}
