package core

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// flushLoop writes what was collected, until ctx ends.
func (e *Engine) flushLoop(ctx context.Context) {
	t := time.NewTicker(e.opt.Flush)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := e.Flush(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("last use and history could not be written; trying again", "err", err)
		}
	}
}

// Flush writes the last uses and attempts that were collected. What cannot be
// written is kept for the next time.
func (e *Engine) Flush(ctx context.Context) error {
	e.activity.flushing.Lock()
	defer e.activity.flushing.Unlock()
	var firstErr error
	keep := func(err error) {
		if firstErr == nil {
			firstErr = err
		}
	}
	b := flushBatch{outcomes: make(map[string]writeOutcome)}
	names := e.activity.take()
	for _, name := range names {
		keep(e.flushOne(ctx, name, &b))
		if len(b.ops) >= flushOps || b.size >= flushBytes {
			keep(e.applyFlush(ctx, &b))
		}
	}
	keep(e.applyFlush(ctx, &b))
	keep(e.noteUses(ctx, names, b.outcomes))
	e.activity.written(names, func(name string) writeOutcome { return b.outcomes[name] })
	keep(e.noteTime(ctx))
	return firstErr
}

// A flushBatch is a batch of activity records that is being put together.
type flushBatch struct {
	ops      store.Batch
	names    []string
	size     int
	outcomes map[string]writeOutcome // by name; what is missing has failed
}

// flushOne adds the record of name to b.
func (e *Engine) flushOne(ctx context.Context, name string, b *flushBatch) error {
	if _, err := e.store.Get(ctx, record.PrefixAccount+name); err != nil {
		err = storeError("flush", err)
		if k := KindOf(err); k == KindNotFound || k == KindInternal {
			b.outcomes[name] = writeNowhere
			return nil
		}
		return err
	}
	rec, rev, err := e.readActivity(ctx, name)
	if err != nil {
		return err
	}
	e.activity.mu.Lock()
	e.activity.writing[name].mergeInto(rec)
	e.activity.mu.Unlock()
	op, err := e.put(record.KindActivity, record.PrefixActivity+name, rec, rev)
	if err != nil {
		return err
	}
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
	if err == nil {
		for _, name := range b.names {
			b.outcomes[name] = writeDone
		}
	}
	b.ops, b.names, b.size = nil, nil, 0
	return storeError("flush", err)
}

// noteUses writes the last uses of names into their accounts' own records,
// where they are older than coarse there.
func (e *Engine) noteUses(ctx context.Context, names []string, outcomes map[string]writeOutcome) error {
	var firstErr error
	for _, name := range names {
		used := e.activity.usesBeingWritten(name)
		if outcomes[name] != writeDone || len(used) == 0 {
			continue
		}
		a, err := e.lookup(ctx, name)
		if err == nil && a.needsNote(used) {
			err = e.update(ctx, name, func(rec *record.Account) error {
				for _, p := range rec.AppPasswords {
					if t, ok := used[hex.EncodeToString(p.Id)]; ok {
						p.Used = max(p.Used, toMillis(t))
					}
				}
				return nil
			})
		}
		if k := KindOf(err); k != 0 && k != KindNotFound && firstErr == nil {
			firstErr = err
		}
	}
	return firstErr
}

// needsNote says whether the account's record is behind used by coarse.
func (a *account) needsNote(used map[string]time.Time) bool {
	for i := range a.passwords {
		t, ok := used[a.passwords[i].ref.ID]
		if ok && t.Sub(a.passwords[i].used) >= coarse {
			return true
		}
	}
	return false
}

func (a *activity) usesBeingWritten(name string) map[string]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.writing[name]
	if d == nil || len(d.usages) == 0 {
		return nil
	}
	used := make(map[string]time.Time, len(d.usages))
	for id, u := range d.usages {
		used[id] = u.last.at
	}
	return used
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
