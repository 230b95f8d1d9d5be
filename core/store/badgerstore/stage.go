package badgerstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

// errStaged: the transaction may hold a part of a batch and must be dropped.
var errStaged = errors.New("half a batch is in the transaction")

// stage writes the batch of r into txn at revision and returns its changes.
// An error other than errStaged leaves txn as it was.
func stage(txn *badger.Txn, r *request, revision store.Revision) ([]store.Event, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	present := make([]bool, len(r.batch))
	for i, op := range r.batch {
		e, ok, err := getIn(txn, op.Key)
		// Who makes no demand may overwrite what is damaged: that is how a
		// single broken record is repaired.
		if err != nil && (op.IfAbsent || op.IfRevision != 0) {
			return nil, err
		}
		if op.IfAbsent && ok || op.IfRevision != 0 && (!ok || e.Revision != op.IfRevision) {
			return nil, fmt.Errorf("%w: %q is at revision %d", store.ErrConflict, op.Key, e.Revision)
		}
		present[i] = ok || err != nil
	}
	var events []store.Event
	for i, op := range r.batch {
		e := store.Entry{Key: op.Key, Revision: revision}
		switch {
		case op.Action == store.Put:
			at := dataKey(op.Key)
			if err := txn.Set(at, frame(at[1:], revision, op.Value)); err != nil {
				return nil, fmt.Errorf("%w: %w", errStaged, err)
			}
			e.Value = op.Value
			events = append(events, store.Event{Entry: e})
		case op.Action == store.Delete && present[i]:
			if err := txn.Delete(dataKey(op.Key)); err != nil {
				return nil, fmt.Errorf("%w: %w", errStaged, err)
			}
			events = append(events, store.Event{Deleted: true, Entry: e})
		}
	}
	return events, nil
}

func cloneBatch(b store.Batch) store.Batch {
	c := make(store.Batch, len(b))
	for i, op := range b {
		op.Value = bytes.Clone(op.Value)
		c[i] = op
	}
	return c
}
