package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

type (
	begin = func(store.Revision) error
	each  = func(store.Entry) error
)

// A snapshooter is a right store with a wrong Snapshot.
type snapshooter struct {
	*memstore.Store
	wrong func(ctx context.Context, right *memstore.Store, begin begin, each each) error
}

func (s snapshooter) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	return s.wrong(ctx, s.Store, begin, each)
}

// pages is a Snapshot that scans in pages, so that it sees later writes.
func pages(limit int) func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
	return func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
		r, err := right.Apply(ctx, store.Batch{{Action: store.Delete, Key: "nothing"}})
		if err != nil {
			return err
		}
		if err := begin(r - 1); err != nil {
			return err
		}
		for after := ""; ; {
			page, err := right.Scan(ctx, "", after, limit)
			if err != nil {
				return err
			}
			for _, e := range page {
				if err := each(e); err != nil {
					return err
				}
				after = e.Key
			}
			if len(page) < limit {
				return nil
			}
		}
	}
}

// Each wrong Snapshot is found by a case of those about snapshots.
func TestFindsWrongSnapshots(t *testing.T) {
	nothing := func(store.Revision) error { return nil }
	for name, wrong := range map[string]func(ctx context.Context, right *memstore.Store, begin begin, each each) error{
		"pages of one":   pages(1),
		"pages of seven": pages(7),
		"begin is not called": func(ctx context.Context, right *memstore.Store, _ begin, each each) error {
			return right.Snapshot(ctx, nothing, each)
		},
		"begin is called twice": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			return right.Snapshot(ctx, func(r store.Revision) error { _ = begin(r); return begin(r) }, each)
		},
		"a revision that is too high": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			return right.Snapshot(ctx, func(r store.Revision) error { return begin(r + 1) }, each)
		},
		"backwards": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			var all []store.Entry
			if err := right.Snapshot(ctx, begin, func(e store.Entry) error { all = append(all, e); return nil }); err != nil {
				return err
			}
			for _, e := range slices.Backward(all) {
				if err := each(e); err != nil {
					return err
				}
			}
			return nil
		},
		"one is missing": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			seen := 0
			return right.Snapshot(ctx, begin, func(e store.Entry) error {
				if seen++; seen == 20 {
					return nil
				}
				return each(e)
			})
		},
		"errors of each are lost": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			return right.Snapshot(ctx, begin, func(e store.Entry) error { _ = each(e); return nil })
		},
		"the context is not looked at": func(ctx context.Context, right *memstore.Store, begin begin, each each) error {
			return right.Snapshot(context.WithoutCancel(ctx), begin, each)
		},
	} {
		found := 0
		for _, c := range snapshotCases() {
			right := memstore.New()
			if c.Check(t.Context(), snapshooter{right, wrong}) != nil {
				found++
			}
			if err := c.Check(t.Context(), memstore.New()); err != nil {
				t.Errorf("%s, with a right store: %v", c.Name, err)
			}
			if err := c.Check(t.Context(), &faulty{Store: right}); err != ErrNotOffered {
				t.Errorf("%s, of a store without snapshots: %v", c.Name, err)
			}
			_ = right.Close()
		}
		if found == 0 {
			t.Errorf("%s: no case finds it", name)
		}
	}
}
