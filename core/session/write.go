package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

const (
	// flushEvery is how far the store may be behind with what goes on in a
	// session: the octets, when it was last reported, and a session that is known
	// from such a report alone.
	flushEvery = 30 * time.Second

	flushTime  = 10 * time.Second   // for the store to take it
	flushBytes = store.MaxBatch / 2 // of values in a batch
	scanPage   = 256                // records that are read at once

	// maxBehind is with how many the store may be behind: all that there are, and as
	// many that are over.
	maxBehind = 2 * maxSessions
)

// writes are the sessions that are to be written, or removed from the store
// where they are over. Whoever needs to know waits; all who wait share one write.
type writes struct {
	urgent, lazy map[rowKey]struct{}
	now          map[rowKey]struct{}       // being written
	stale        map[rowKey]store.Revision // to be removed, unless they were written since
	waiting      []chan<- error
	wake         chan struct{} // a token: there is something urgent
	one          sync.Mutex    // one writes at a time
}

func newWrites() writes {
	return writes{urgent: make(map[rowKey]struct{}), lazy: make(map[rowKey]struct{}), stale: make(map[rowKey]store.Revision), wake: make(chan struct{}, 1)}
}

// note has the session at key written. The lock of the table is held.
func (w *writes) note(key rowKey, urgent bool) {
	if _, is := w.urgent[key]; is {
		return
	}
	if !urgent {
		if len(w.lazy) < maxBehind {
			w.lazy[key] = struct{}{}
		}
		return
	}
	delete(w.lazy, key)
	w.urgent[key] = struct{}{}
}

// soon has what is urgent written.
func (w *writes) soon() {
	select {
	case w.wake <- struct{}{}:
	default: // it is told already
	}
}

// has says whether what is known of key is not in the store yet.
func (w *writes) has(key rowKey) bool {
	for _, m := range []map[rowKey]struct{}{w.urgent, w.lazy, w.now} {
		if _, is := m[key]; is {
			return true
		}
	}
	return false
}

// without returns the keys that are to be written or removed and are not among known.
func (w *writes) without(known map[rowKey]*row) []rowKey {
	keys := slices.Collect(maps.Keys(w.stale))
	for _, m := range []map[rowKey]struct{}{w.urgent, w.lazy, w.now} {
		for key := range m {
			if known[key] == nil {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// written returns once what is known of keys is in the store.
func (t *Table) written(ctx context.Context, keys ...rowKey) error {
	t.mu.Lock()
	wait := false
	for _, key := range keys {
		_, stale := t.writes.stale[key]
		if t.writes.has(key) {
			t.writes.note(key, true)
			wait = true
		}
		wait = wait || stale
	}
	if !wait {
		t.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	t.writes.waiting = append(t.writes.waiting, done)
	t.mu.Unlock()
	t.writes.soon()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write session: %w", ctx.Err())
	}
}

// writeLoop writes sessions until ctx ends.
func (t *Table) writeLoop(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		lazy := false
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			lazy = true
		case <-t.writes.wake:
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		if err := t.write(within, lazy); err != nil {
			t.opt.Log.Warn("sessions could not be written; trying again", "err", err)
		}
		cancel()
	}
}

// Flush writes everything that the store is behind with. What cannot be written
// is kept for the next time.
func (t *Table) Flush(ctx context.Context) error { return t.write(ctx, true) }

// write writes what is urgent, and with lazy the rest too, and tells whoever waits.
func (t *Table) write(ctx context.Context, lazy bool) error {
	t.writes.one.Lock()
	defer t.writes.one.Unlock()
	if lazy {
		t.tellDamaged()
	}
	ops, keys, waiting := t.takeWrites(lazy)
	firstErr := t.removeStale(ctx)
	for at := 0; at < len(ops); {
		n, size := 0, 0
		for n < store.MaxOps && at+n < len(ops) && size < flushBytes {
			op := &ops[at+n]
			if op.Action == store.Put {
				op.Value = t.opt.Keyring.Seal(record.KindSession, op.Key, op.Value)
			}
			size += len(op.Value)
			n++
		}
		rev, err := t.opt.Store.Apply(ctx, ops[at:at+n])
		if err == nil {
			t.wroteAt(rev, keys[at:at+n])
		} else {
			t.writeAgain(keys[at : at+n])
			if firstErr == nil {
				firstErr = fmt.Errorf("write sessions: %w", err)
			}
		}
		at += n
	}
	t.wrote()
	for _, done := range waiting {
		done <- firstErr
	}
	return firstErr
}

// takeWrites returns what is to be written, with values that are still to be
// sealed, and who waits for it.
func (t *Table) takeWrites(lazy bool) (ops store.Batch, keys []rowKey, waiting []chan<- error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &t.writes
	w.now, w.urgent = w.urgent, make(map[rowKey]struct{})
	if lazy {
		for key := range w.lazy {
			w.now[key] = struct{}{}
		}
		clear(w.lazy)
	}
	for key := range w.now {
		op := store.Op{Action: store.Delete, Key: key.record()}
		if known := t.all[key]; known != nil {
			op.Action, op.Value = store.Put, known.marshal()
		}
		ops, keys = append(ops, op), append(keys, key)
	}
	waiting, w.waiting = w.waiting, nil
	return ops, keys, waiting
}

// removeStale removes the records of sessions that are over, unless another node has
// written them since. It returns the first error, and goes on after it.
func (t *Table) removeStale(ctx context.Context) (firstErr error) {
	t.mu.Lock()
	var ops store.Batch
	for key, rev := range t.writes.stale {
		if _, is := t.writes.now[key]; !is { // else it is about to be written or removed
			ops = append(ops, store.Op{Action: store.Delete, Key: key.record(), IfRevision: rev})
		}
	}
	t.mu.Unlock()
	for some := range slices.Chunk(ops, store.MaxOps) {
		_, err := t.opt.Store.Apply(ctx, some)
		if !errors.Is(err, store.ErrConflict) {
			firstErr = cmp.Or(firstErr, t.removed(some, err))
			continue
		}
		for i := range some { // those that can be
			_, err := t.opt.Store.Apply(ctx, some[i:i+1])
			firstErr = cmp.Or(firstErr, t.removed(some[i:i+1], err))
		}
	}
	return firstErr
}

// removed notes that the records of ops are not there any more, or were written since.
// Any other error than of that it returns, and they are tried again the next time.
func (t *Table) removed(ops store.Batch, err error) error {
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("remove sessions: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, op := range ops {
		if key, _ := keyOfRecord(op.Key); t.writes.stale[key] == op.IfRevision {
			delete(t.writes.stale, key)
		}
	}
	return nil
}

// tellDamaged tells of the records that are about to be removed.
func (t *Table) tellDamaged() {
	t.mu.Lock()
	damaged := t.damaged
	t.damaged = make(map[rowKey]struct{})
	t.mu.Unlock()
	for key := range damaged {
		t.opt.Damaged(key.record())
	}
}

// writeAgain has written the next time what could not be written. Where others may
// write it, what is over is removed only as it was known: stale has it.
func (t *Table) writeAgain(keys []rowKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if t.opt.Node == "" || t.all[key] != nil {
			t.writes.note(key, false)
		}
	}
}

func (t *Table) wrote() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes.now = nil
}

// wroteAt notes that keys were written in revision rev.
func (t *Table) wroteAt(rev store.Revision, keys []rowKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		known := t.all[key]
		if known == nil {
			if t.writes.stale[key] < rev {
				delete(t.writes.stale, key)
			}
			continue
		}
		known.rev = max(known.rev, rev)
		_, urgent := t.writes.urgent[key]
		_, lazy := t.writes.lazy[key]
		if known.removed > known.rev && !urgent && !lazy { // after this was written
			t.drop(known)
		}
	}
}
