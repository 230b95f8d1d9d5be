package backup

import (
	"context"
	"errors"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// The facts that a restored store has.
const (
	keyRestored     = record.PrefixFact + "restored"      // when
	keyRestoredFrom = record.PrefixFact + "restored/from" // when the backup was made
)

// Restored says when a store was last restored, and of when its backup was;
// ok is false if it never was.
func Restored(ctx context.Context, s store.Store, keys *keyring.Keyring) (at, from time.Time, ok bool, err error) {
	restored, ok, err := factOf(ctx, s, keys, keyRestored)
	if err != nil || !ok {
		return at, from, false, err
	}
	made, _, err := factOf(ctx, s, keys, keyRestoredFrom)
	return time.UnixMilli(restored), time.UnixMilli(made), true, err
}

func factOf(ctx context.Context, s store.Store, keys *keyring.Keyring, key string) (since int64, ok bool, err error) {
	var fact record.Fact
	err = readRecord(ctx, s, keys, key, &fact)
	if errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
		return 0, false, nil
	}
	return fact.Since, err == nil, err
}
