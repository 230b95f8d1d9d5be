package badgerstore

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

// errStaged: the transaction may hold a part of a batch and must be dropped.
var errStaged = errors.New("half a batch is in the transaction")

// stage writes the batch of r into txn at revision and returns its changes.
// An error other than errStaged leaves txn as it was.
func (c *committer) stage(txn *badger.Txn, r *request, revision store.Revision) ([]store.Event, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	present := make([]bool, len(r.batch))
	for i, op := range r.batch {
		found, ok, err := c.revisionAt(txn, op.Key)
		// Who makes no demand may overwrite what is damaged: that is how a
		// single broken record is repaired.
		if err != nil && (op.IfAbsent || op.IfRevision != 0) {
			return nil, err
		}
		if op.IfAbsent && ok || op.IfRevision != 0 && (!ok || found != op.IfRevision) {
			return nil, fmt.Errorf("%w: %q is at revision %d", store.ErrConflict, op.Key, found)
		}
		present[i] = ok || err != nil
	}
	events := make([]store.Event, 0, len(r.batch))
	for i, op := range r.batch {
		e, at := store.Entry{Key: op.Key, Revision: revision}, dataKey(op.Key)
		switch {
		case op.Action == store.Put:
			finish(op.Value, at[1:], revision)
			if err := txn.Set(at, op.Value); err != nil {
				return nil, fmt.Errorf("%w: %w", errStaged, err)
			}
			e.Value = op.Value[frameHead:]
			events = append(events, store.Event{Entry: e})
		case op.Action == store.Delete && present[i]:
			if err := txn.Delete(at); err != nil {
				return nil, fmt.Errorf("%w: %w", errStaged, err)
			}
			events = append(events, store.Event{Deleted: true, Entry: e})
		}
	}
	if c.s.memory != nil {
		for _, op := range r.batch {
			c.staged[op.Key] = true
		}
	}
	return events, nil
}

// revisionAt returns which revision wrote the entry at key, as txn has it; ok is false
// if there is none.
func (c *committer) revisionAt(txn *badger.Txn, key string) (found store.Revision, ok bool, err error) {
	if !c.staged[key] {
		switch found, known := c.s.memory.revision(key); known {
		case isHeld:
			return found, true, nil
		case isAbsent:
			return 0, false, nil
		}
	}
	ok, err = viewIn(txn, dataKey(key), func(r store.Revision, _ []byte) { found = r })
	return found, ok, err
}

// framedBatch copies b. The values of the copy are in frames, as they are
// written; stage finishes those.
func framedBatch(b store.Batch) store.Batch {
	c := slices.Clone(b)
	for i := range c {
		if c[i].Action == store.Put {
			c[i].Value = frameOf(c[i].Value)
		}
	}
	return c
}
