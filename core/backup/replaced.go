package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// replaced is the store that a restore replaces, as far as it is a later state
// of the one in the backup: then it knows what was taken away since.
type replaced struct {
	store store.Store
	keys  *keyring.Keyring
	meta  *record.Meta
}

// laterState returns s as a replaced store, or says why what it holds tells
// nothing about what came after the backup.
func laterState(ctx context.Context, s store.Store, keys *keyring.Keyring, h Header) (*replaced, string, error) {
	lineage, err := lineageOf(ctx, s, keys)
	switch {
	case errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil:
		return nil, "", err
	case err != nil:
		return nil, fmt.Sprintf("it cannot be read (%v)", err), nil
	case lineage.Created != h.Lineage.Created:
		return nil, "it is not the store that the backup was made of", nil
	case lineage.Restored < h.Lineage.Restored:
		return nil, "it is older than the backup", nil
	}
	if lineage.Restored == h.Lineage.Restored {
		at, err := revisionOf(ctx, s)
		switch {
		case errors.Is(err, store.ErrUnavailable):
			return nil, "", err
		case err != nil:
			return nil, fmt.Sprintf("it cannot be read (%v)", err), nil
		case at < h.Revision:
			return nil, "it is older than the backup", nil
		}
	}
	r := &replaced{store: s, keys: keys, meta: new(record.Meta)}
	return r, "", readRecord(ctx, s, keys, record.KeyMeta, r.meta)
}

// revisionOf returns the revision that a store is at.
func revisionOf(ctx context.Context, s store.Store) (at store.Revision, err error) {
	snapshotter, ok := s.(store.Snapshotter)
	if !ok {
		return 0, fmt.Errorf("%w: it cannot show itself as of one moment", ErrStore)
	}
	enough := errors.New("enough")
	err = snapshotter.Snapshot(ctx, func(r store.Revision) error { at = r; return enough }, func(store.Entry) error { return nil })
	if errors.Is(err, enough) {
		err = nil
	}
	return at, err
}

// get reads the record at key into m, with its sealed form. ok is false where
// the store says nothing: there is none, or it is damaged.
func (r *replaced) get(ctx context.Context, key string, m proto.Message) (sealed []byte, ok bool, err error) {
	if r == nil {
		return nil, false, nil
	}
	e, err := r.store.Get(ctx, key)
	if errors.Is(err, store.ErrUnavailable) {
		return nil, false, err
	}
	if err != nil {
		return nil, false, nil
	}
	found, err := openRecord(r.keys, key, e.Value)
	if err != nil {
		return nil, false, nil
	}
	proto.Merge(m, found)
	return e.Value, true, nil
}

// facts calls each for every fact that opens.
func (r *replaced) facts(ctx context.Context, each func(key string, sealed []byte) error) error {
	const page = 256
	for after := ""; ; {
		entries, err := r.store.Scan(ctx, record.PrefixFact, after, page)
		if errors.Is(err, store.ErrDamaged) {
			return nil // nothing that can be relied on is behind it
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Key
			if strings.HasPrefix(e.Key, keyRestored) || checkRecord(r.keys, e.Key, e.Value) != nil {
				continue
			}
			if err := each(e.Key, e.Value); err != nil {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
	}
}
