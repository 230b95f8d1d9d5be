package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

func TestCheckFull(t *testing.T) {
	revoking := func(b store.Batch) bool {
		return slices.ContainsFunc(b, func(op store.Op) bool { return op.Revokes })
	}
	full := fmt.Errorf("%w: test", store.ErrFull)
	for name, tt := range map[string]struct {
		apply func(right store.Store, b store.Batch) (store.Revision, error)
		says  string // "" is no fault
	}{
		"right": {func(right store.Store, b store.Batch) (store.Revision, error) {
			if !revoking(b) {
				return 0, full
			}
			return right.Apply(context.Background(), b)
		}, ""},
		"writes on": {func(right store.Store, b store.Batch) (store.Revision, error) {
			return right.Apply(context.Background(), b)
		}, "on a full store: got error"},
		"refuses and writes": {func(right store.Store, b store.Batch) (store.Revision, error) {
			r, err := right.Apply(context.Background(), b)
			if !revoking(b) && err == nil {
				err = full
			}
			return r, err
		}, "has changed"},
		"refuses everything": {func(store.Store, store.Batch) (store.Revision, error) { return 0, full }, "revoking"},
		"forgets demands": {func(right store.Store, b store.Batch) (store.Revision, error) {
			if !revoking(b) {
				return 0, full
			}
			b = slices.Clone(b)
			for i := range b {
				b[i].IfRevision = 0
			}
			return right.Apply(context.Background(), b)
		}, "broken demand"},
		"does nothing": {func(_ store.Store, b store.Batch) (store.Revision, error) {
			if !revoking(b) {
				return 0, full
			}
			return 1, nil
		}, "revoking"},
	} {
		right := memstore.New()
		defer right.Close()
		if _, err := right.Apply(t.Context(), store.Batch{put("k", "v")}); err != nil {
			t.Fatal(err)
		}
		s := &faulty{Store: right, apply: func(_ context.Context, b store.Batch) (store.Revision, error) { return tt.apply(right, b) }}
		err := CheckFull(t.Context(), s, "k")
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("a store that %s: %v", name, err)
		}
	}
}
