package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keywicket/keywicket/core/store"
)

// nearbyCases check a store.Nearby.
func nearbyCases() []Case {
	return []Case{
		{"nearby/what Get says", checkAtHand},
	}
}

// checkAtHand changes keys, and compares what is at hand with what Get says.
func checkAtHand(ctx context.Context, s store.Store) error {
	near, ok := s.(store.Nearby)
	if !ok {
		return ErrNotOffered
	}
	for _, b := range []store.Batch{
		{put("a", "1"), put("b", "")}, {put("a", "longer than before")}, {del("a"), put("b", "2")}, {put("a", string(make([]byte, store.MaxValue)))}, {put("a", "3")},
	} {
		if _, err := apply(ctx, s, b...); err != nil {
			return err
		}
		for _, key := range []string{"a", "b", "c"} {
			e, err := s.Get(ctx, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			value, r, ok := near.AtHand([]byte("before "), key)
			switch {
			case ok && (err != nil || r != e.Revision || string(value) != "before "+string(e.Value)):
				return fmt.Errorf("%q of revision %d is at hand at %q, and Get says %q of %d, error %w", value, r, key, e.Value, e.Revision, err)
			case !ok && string(value) != "before ":
				return fmt.Errorf("at %q nothing is at hand, and the room has %q", key, value)
			}
		}
	}
	return nil
}
