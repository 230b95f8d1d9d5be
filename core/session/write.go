package session

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

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
)

// writes are the sessions that are to be written, or removed from the store
// where they are over. Whoever needs to know waits; all who wait share one write.
type writes struct {
	urgent, lazy map[rowKey]struct{}
	now          map[rowKey]struct{} // being written
	waiting      []chan<- error
	wake         chan struct{} // a token: there is something urgent
	one          sync.Mutex    // one writes at a time
}

func newWrites() writes {
	return writes{urgent: make(map[rowKey]struct{}), lazy: make(map[rowKey]struct{}), wake: make(chan struct{}, 1)}
}

// note has the session at key written. The lock of the table is held.
func (w *writes) note(key rowKey, urgent bool) {
	if _, is := w.urgent[key]; is {
		return
	}
	if !urgent {
		w.lazy[key] = struct{}{}
		return
	}
	delete(w.lazy, key)
	w.urgent[key] = struct{}{}
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

// written returns once what is known of keys is in the store.
func (t *Table) written(ctx context.Context, keys ...rowKey) error {
	t.mu.Lock()
	wait := false
	for _, key := range keys {
		if t.writes.has(key) {
			t.writes.note(key, true)
			wait = true
		}
	}
	if !wait {
		t.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	t.writes.waiting = append(t.writes.waiting, done)
	t.mu.Unlock()
	select {
	case t.writes.wake <- struct{}{}:
	default: // it is told already
	}
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
	var firstErr error
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
		if _, err := t.opt.Store.Apply(ctx, ops[at:at+n]); err != nil {
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

func (t *Table) writeAgain(keys []rowKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		t.writes.note(key, false)
	}
}

func (t *Table) wrote() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes.now = nil
}

// Load reads the sessions of before, and may be called once more after an error.
// They decide nothing that a sign-in could gain by, so those that cannot be
// opened are removed with the next flush, which tells Damaged of them.
func (t *Table) Load(ctx context.Context) error {
	for after := ""; ; {
		page, err := t.opt.Store.Scan(ctx, record.PrefixSession, after, scanPage)
		if err != nil {
			return fmt.Errorf("read sessions: %w", err)
		}
		for _, entry := range page {
			after = entry.Key
			t.load(entry)
		}
		if len(page) < scanPage {
			break
		}
	}
	t.expire()
	return nil
}

func (t *Table) load(entry store.Entry) {
	octets, err := hex.DecodeString(strings.TrimPrefix(entry.Key, record.PrefixSession))
	if err != nil || len(octets) != len(rowKey{}) {
		return
	}
	key := rowKey(octets)
	var rec record.Session
	plain, err := t.opt.Keyring.Open(record.KindSession, entry.Key, entry.Value)
	if err == nil {
		err = proto.Unmarshal(plain, &rec)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.damaged[key] = struct{}{}
		t.writes.note(key, false)
		return
	}
	if t.all[key] == nil {
		t.add(newRowOf(key, &rec))
	}
}
