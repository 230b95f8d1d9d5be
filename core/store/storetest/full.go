package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keywicket/keywicket/core/store"
)

// CheckFull says whether s behaves as it must when there is no more room: a
// write is ErrFull and changes nothing, reads go on, and a batch that takes
// access away is still carried out, under its demands. s must hold something at
// key, which is gone afterwards. How a store is filled, and what it keeps in
// reserve, is no part of the contract, so this is no Case.
func CheckFull(ctx context.Context, s store.Store, key string) error {
	before, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("Get on a full store: %w", err)
	}
	for name, b := range map[string]store.Batch{
		"a new key":           {ifAbsent(put(key+"/new", "v"))},
		"a key that is there": {put(key, "changed")},
		"a plain Delete":      {del(key)},
	} {
		if _, err := s.Apply(ctx, b); !errors.Is(err, store.ErrFull) {
			return fmt.Errorf("Apply of %s on a full store: got error %w, want %w", name, err, store.ErrFull)
		}
	}
	after, err := s.Get(ctx, key)
	if err != nil || string(after.Value) != string(before.Value) || after.Revision != before.Revision {
		return fmt.Errorf("a refused Apply has changed %q, error %w", key, err)
	}
	if _, err := s.Get(ctx, key+"/new"); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Get of what a full store refused: got error %w, want %w", err, store.ErrNotFound)
	}
	if _, err := s.Scan(ctx, "", "", 10); err != nil {
		return fmt.Errorf("Scan on a full store: %w", err)
	}
	if _, err := s.Apply(ctx, store.Batch{revokes(ifRevision(del(key), before.Revision+1))}); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("a revoking Apply with a broken demand on a full store: got error %w, want %w", err, store.ErrConflict)
	}
	r, err := s.Apply(ctx, store.Batch{revokes(ifRevision(put(key, "less"), before.Revision))})
	if err == nil {
		_, err = s.Apply(ctx, store.Batch{{Action: store.Check, Key: key, IfRevision: r}, revokes(del(key + "/none"))})
	}
	if err == nil {
		_, err = s.Apply(ctx, store.Batch{revokes(ifRevision(del(key), r))})
	}
	if err != nil {
		return fmt.Errorf("a revoking Apply on a full store: %w", err)
	}
	if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("Get of what was deleted on a full store: got error %w, want %w", err, store.ErrNotFound)
	}
	return nil
}

func revokes(op store.Op) store.Op {
	op.Revokes = true
	return op
}
