package core

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// flushTime is how long a store may take for what was collected.
const flushTime = 10 * time.Second

// flushLoop writes what was collected, until ctx ends.
func (e *Engine) flushLoop(ctx context.Context) {
	t := time.NewTicker(e.opt.Flush)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-e.activity.crowded:
			e.activity.flushing.Lock()
			many := e.activity.group()
			e.activity.flushing.Unlock()
			if !many {
				continue
			}
		}
		err := e.flushSoon(ctx)
		if (err != nil) == failing || ctx.Err() != nil {
			continue
		}
		if failing = err != nil; failing {
			e.log.Warn("last use and history could not be written; trying again", "err", err)
		} else {
			e.log.Info("last use and history are written again")
		}
	}
}

// flushSoon writes what is due, and is not broken off when ctx ends: nobody would
// know then what was written.
func (e *Engine) flushSoon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	return e.flushAnd(ctx, true)
}

// Flush writes the last uses and attempts that were collected. What cannot be
// written is kept for the next time.
func (e *Engine) Flush(ctx context.Context) error { return e.flushAnd(ctx, false) }

// flushAnd flushes, and notes the last uses that were written.
func (e *Engine) flushAnd(ctx context.Context, due bool) error {
	used, err := e.flush(ctx, due)
	return cmp.Or(err, e.noteUses(ctx, used))
}

// flush writes what was collected, or what is due of it, and returns the last
// uses that it wrote, by account and id. It returns the first error and goes on
// after it.
func (e *Engine) flush(ctx context.Context, due bool) (used map[string]map[string]time.Time, firstErr error) {
	e.activity.flushing.Lock()
	defer e.activity.flushing.Unlock()
	keep := func(err error) {
		if firstErr == nil {
			firstErr = err
		}
	}
	b := flushBatch{outcomes: make(map[string]writeOutcome)}
	now := e.opt.Now()
	names := e.activity.take(due, now)
	for _, name := range names {
		err := e.flushOne(ctx, name, &b)
		keep(err)
		if KindOf(err) == KindUnavailable {
			break // so are the others, and each may take its time to say so
		}
		if len(b.ops) >= flushOps || b.size >= flushBytes {
			keep(e.applyFlush(ctx, &b))
		}
	}
	keep(e.applyFlush(ctx, &b))
	used = e.activity.usesWritten(b.outcomes)
	e.activity.written(names, now, func(name string) writeOutcome { return b.outcomes[name] })
	keep(e.noteTime(ctx))
	return used, firstErr
}

// A flushBatch is a batch of activity records that is being put together.
type flushBatch struct {
	ops      store.Batch
	names    []string
	size     int
	plain    []byte                  // room for a record
	outcomes map[string]writeOutcome // by name; what is missing has failed
}

// flushOne adds the record of name to b.
func (e *Engine) flushOne(ctx context.Context, name string, b *flushBatch) error {
	if a := e.atHand(name); a == nil || a.revision == 0 { // else it has a record
		if _, err := e.store.Get(ctx, record.PrefixAccount+name); err != nil {
			err = storeError("flush", err)
			if k := KindOf(err); k == KindNotFound || k == KindInternal {
				b.outcomes[name] = writeNowhere
				return nil
			}
			return err
		}
	}
	h, rev, err := e.readHistory(ctx, name)
	if err != nil {
		return err
	}
	defer h.wipe()
	e.activity.mu.Lock()
	if before := e.activity.strangers[name]; before != nil { // from when it had no record
		before.mergeInto(&h.rec)
	}
	e.activity.writing[name].mergeInto(&h.rec)
	e.activity.mu.Unlock()
	if b.plain, err = h.marshal(b.plain[:0]); err != nil {
		return &Error{Op: "flush", Kind: KindInternal, Err: err}
	}
	defer clear(b.plain)
	key := record.PrefixActivity + name
	op := store.Op{Action: store.Put, Key: key, Value: e.keys.Seal(record.KindActivity, key, b.plain), IfAbsent: rev == 0, IfRevision: rev}
	b.ops, b.names, b.size = append(b.ops, op), append(b.names, name), b.size+len(op.Value)
	return nil
}

// applyFlush writes b and empties it. A record that another node wrote in
// between makes the batch wait for the next time.
func (e *Engine) applyFlush(ctx context.Context, b *flushBatch) error {
	if len(b.ops) == 0 {
		return nil
	}
	_, err := e.store.Apply(ctx, b.ops)
	if err != nil && !errors.Is(err, store.ErrConflict) && e.isWritten(ctx, b.ops[0]) {
		err = nil // written to be sure, only the answer was lost
	}
	if err == nil {
		for _, name := range b.names {
			b.outcomes[name] = writeDone
		}
	}
	b.ops, b.names, b.size = nil, nil, 0
	return storeError("flush", err)
}

// isWritten says whether the store holds what op writes. Sealed values differ
// even if they hold the same.
func (e *Engine) isWritten(ctx context.Context, op store.Op) bool {
	entry, err := e.store.Get(ctx, op.Key)
	return err == nil && bytes.Equal(entry.Value, op.Value) // not a secret: both are what the store has
}

// noteUses writes last uses into the accounts' own records, where a sign-in sees
// without another read that an app password is not disused. An account that is gone or damaged has none to write to.
func (e *Engine) noteUses(ctx context.Context, written map[string]map[string]time.Time) error {
	var firstErr error
	policy := e.policy.Load()
	for name, used := range written {
		a, err := e.lookup(ctx, name)
		if err == nil && a.needsNote(policy, used) {
			err = e.update(ctx, name, func(rec *record.Account) error {
				for _, p := range rec.AppPasswords {
					if t, ok := used[hex.EncodeToString(p.Id)]; ok {
						p.Used = max(p.Used, toMillis(t))
					}
				}
				return nil
			})
		}
		if k := KindOf(err); k != 0 && k != KindNotFound && k != KindDamaged && firstErr == nil {
			firstErr = err
		}
	}
	return firstErr
}

// needsNote says whether by what the account's record knows one of the app
// passwords in used would end by disuse before long: half of its time is over.
func (a *account) needsNote(policy *Policy, used map[string]time.Time) bool {
	for i := range a.passwords {
		p := &a.passwords[i]
		t, ok := used[p.ref.ID]
		from := fromMillis(max(p.since, p.used))
		if end := p.disuseEnd(policy, fromMillis(p.used)); ok && !end.IsZero() && t.Sub(from) > end.Sub(from)/2 {
			return true
		}
	}
	return false
}

// usesWritten returns the last uses that were written, by account and id.
func (a *activity) usesWritten(outcomes map[string]writeOutcome) map[string]map[string]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]map[string]time.Time)
	for name, d := range a.writing {
		if outcomes[name] != writeDone || len(d.usages) == 0 {
			continue
		}
		all[name] = make(map[string]time.Time, len(d.usages))
		for id, u := range d.usages {
			all[name][id] = u.last.at
		}
	}
	return all
}

// timeNote is how far the time in the store may be behind.
const timeNote = time.Minute

// noteTime writes the latest time that was seen, so that a clock set back
// before the next start revives nothing.
func (e *Engine) noteTime(ctx context.Context) error {
	seen := e.clock.seen.Load()
	if time.Duration(seen-e.timeNoted)*time.Millisecond < timeNote {
		return nil
	}
	meta, rev, err := e.readMeta(ctx)
	if err != nil {
		return err
	}
	if meta.LastSeen < seen {
		meta.LastSeen = seen
		if err := e.writeMeta(ctx, meta, rev); err != nil && KindOf(err) != KindConflict {
			return err
		}
	}
	e.timeNoted = seen
	return nil
}
