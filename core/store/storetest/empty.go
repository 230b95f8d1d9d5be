package storetest

import (
	"context"
	"fmt"

	"github.com/keywicket/keywicket/core/store"
)

// Empty deletes everything in s. A Case wants an empty store, and not every
// store can be made anew.
func Empty(ctx context.Context, s store.Store) error {
	for {
		entries, err := s.Scan(ctx, "", "", store.MaxOps)
		if err != nil {
			return fmt.Errorf("empty the store: Scan: %w", err)
		}
		if len(entries) == 0 {
			return nil
		}
		var b store.Batch
		for _, e := range entries {
			b = append(b, del(e.Key))
		}
		if _, err := s.Apply(ctx, b); err != nil {
			return fmt.Errorf("empty the store: Apply: %w", err)
		}
	}
}
