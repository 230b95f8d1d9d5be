package core

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// Bounds of a batch of activity records: as many as a store takes, for each batch
// costs a sync, and well below its octets.
const (
	flushOps   = store.MaxOps
	flushBytes = store.MaxBatch / 2

	maxWriters = 4  // batches that are being written at the same time
	maxTries   = 3  // of records that another node writes at that moment
	breathOps  = 32 // records, which take less than half a millisecond

	// breathless is how many accounts leave no time to let sign-ins go first: while
	// these are written, more come than can be kept.
	breathless = maxDoings / 4
)

// flushTime is how long a store may take for what was collected, beside the time
// over which that is spread.
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
			e.activity.lock()
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.spread()+flushTime)
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

// spread is how long the writing of what is due takes, if there is no more of it
// than can be written meanwhile.
func (e *Engine) spread() time.Duration { return e.opt.Flush / 2 }

// flush writes what was collected, or what is due of it, and returns the last
// uses that it wrote, by account and id. It returns the first error and goes on
// after it.
func (e *Engine) flush(ctx context.Context, due bool) (used map[string]map[string]time.Time, firstErr error) {
	e.activity.lock()
	defer e.activity.flushing.Unlock()
	f := &flush{engine: e, now: e.opt.Now(), writers: make(chan struct{}, maxWriters), tries: maxTries}
	if e.policy.Load().endsUnused() {
		f.used = make(map[string]map[string]time.Time)
	}
	begun, all := time.Now(), e.activity.take(due, f.now)
	for i, d := range all {
		if i%breathOps == breathOps-1 {
			if len(all) < breathless {
				breathe()
			}
			if due { // nobody waits for it: sign-ins would, for a burst of this
				e.activity.pause(begun.Add(e.spread()*time.Duration(i)/time.Duration(len(all))), e.closing)
			}
			f.makeRoom()
		}
		f.add(ctx, d)
	}
	for contested := f.finish(ctx); len(contested) > 0; contested = f.finish(ctx) {
		for _, d := range contested {
			f.add(ctx, d)
		}
	}
	f.keep(e.noteTime(ctx))
	return f.used, f.err
}

// A flush writes activity records. It makes one batch after the other, and
// several are being written at the same time, which a store syncs together.
type flush struct {
	engine *Engine
	now    time.Time

	batch   flushBatch // that is being put together
	plain   []byte     // room for a record
	history history    // room for the one that was read

	writers chan struct{} // a token for each batch that is being written

	mu    sync.Mutex
	tries int                             // that are left, this one included
	again []*doings                       // that another node wrote in between
	used  map[string]map[string]time.Time // last uses that were written, by account and id; nil where nobody asks
	err   error                           // the first one
	away  bool                            // the store is, says one of them
}

type flushBatch struct {
	ops    store.Batch
	of     []*doings // whose they are
	values []byte    // those of ops, one after the other
	size   int
}

func newFlushBatch() flushBatch {
	return flushBatch{ops: make(store.Batch, 0, flushOps), of: make([]*doings, 0, flushOps), values: make([]byte, 0, flushOps<<9)}
}

// makeRoom groups what came meanwhile if it is a crowd: it would be lost where the
// store takes its time.
func (f *flush) makeRoom() {
	if f.engine.activity.waiting.Load() >= crowd {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.engine.activity.group()
	}
}

// wait waits until a batch more may be written, and makes room meanwhile.
func (f *flush) wait() {
	often := time.NewTicker(10 * time.Millisecond)
	defer often.Stop()
	for {
		select {
		case f.writers <- struct{}{}:
			return
		case <-often.C:
			f.makeRoom()
		}
	}
}

// keep keeps the first error.
func (f *flush) keep(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.away = cmp.Or(f.err, err), f.away || KindOf(err) == KindUnavailable
}

// isAway says whether the store is away: then it is so for all others, and each
// may take its time to say so.
func (f *flush) isAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away
}

// end ends the writing of all.
func (f *flush) end(all []*doings, outcome writeOutcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range all {
		if f.used != nil && outcome == writeDone && len(d.writing.usages) > 0 {
			f.used[d.name] = d.writing.lastUses()
		}
		f.engine.activity.written(d, f.now, outcome)
	}
}

// add puts the record of d into the batch.
func (f *flush) add(ctx context.Context, d *doings) {
	if f.batch.ops == nil {
		f.batch = newFlushBatch()
	}
	op, outcome, err := store.Op{}, writeFailed, error(nil)
	if !f.isAway() {
		op, outcome, err = f.activityOp(ctx, d)
		f.keep(err)
	}
	if outcome != writeDone {
		f.end([]*doings{d}, outcome)
		return
	}
	b := &f.batch
	b.ops, b.of, b.size = append(b.ops, op), append(b.of, d), b.size+len(op.Value)
	if len(b.ops) >= flushOps || b.size >= flushBytes {
		f.apply(ctx)
	}
}

// finish has the rest written, waits until all is, and returns what is to be tried once
// more. That is done at once: where the writing of one node, which is spread over some
// time, always ends before that of another, the other one would never write.
func (f *flush) finish(ctx context.Context) (contested []*doings) {
	f.apply(ctx)
	for range maxWriters {
		f.wait()
	}
	for range maxWriters {
		<-f.writers
	}
	contested, f.again = f.again, nil
	f.tries--
	return contested
}

// contest notes that another node wrote some of all in between, and says whether they
// are tried once more in this flush.
func (f *flush) contest(all []*doings) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tries <= 1 {
		return false
	}
	f.again = append(f.again, all...)
	return true
}

// apply has the batch written, and begins another. A record that another node
// wrote in between makes the batch wait for the next try.
func (f *flush) apply(ctx context.Context) {
	b := f.batch
	f.batch = flushBatch{}
	if len(b.ops) == 0 {
		return
	}
	f.wait()
	go func() {
		defer func() { <-f.writers }()
		outcome := writeDone
		_, err := f.engine.store.Apply(ctx, b.ops)
		if errors.Is(err, store.ErrConflict) && f.contest(b.of) {
			return
		}
		if err != nil && (errors.Is(err, store.ErrConflict) || !f.engine.isWritten(ctx, b.ops[0])) { // else only the answer was lost
			outcome = writeFailed
			f.keep(storeError("flush", err))
		}
		f.end(b.of, outcome)
	}()
}

// activityOp returns what writes the record of d, or why there is nothing to write.
func (f *flush) activityOp(ctx context.Context, d *doings) (op store.Op, outcome writeOutcome, err error) {
	e := f.engine
	if a := e.atHand([]byte(d.name)); a == nil || a.revision == 0 { // else it has a record
		if _, err := e.store.Get(ctx, record.PrefixAccount+d.name); err != nil {
			err = storeError("flush", err)
			if k := KindOf(err); k == KindNotFound || k == KindInternal {
				return op, writeNowhere, nil
			}
			return op, writeFailed, err
		}
	}
	h := &f.history
	defer h.reset()
	rev, err := e.readHistory(ctx, d.name, h)
	if err != nil {
		return op, writeFailed, err
	}
	if rev == 0 && d.writing.isFirst() {
		f.plain = d.writing.appendFirst(f.plain[:0])
	} else if err = h.add(&d.writing); err == nil {
		f.plain, err = h.marshal(f.plain[:0])
	}
	if err != nil {
		return op, writeFailed, &Error{Op: "flush", Kind: KindInternal, Err: err}
	}
	defer clear(f.plain)
	key, start := record.PrefixActivity+d.name, len(f.batch.values)
	f.batch.values = e.keys.AppendSeal(f.batch.values, f.now, record.KindActivity, key, f.plain)
	op = store.Op{Action: store.Put, Key: key, Value: f.batch.values[start:], IfAbsent: rev == 0, IfRevision: rev}
	return op, writeDone, nil
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

// endsUnused says whether an app password can end by disuse.
func (p *Policy) endsUnused() bool {
	if p.UnusedAfter > 0 || p.FirstUseWithin > 0 {
		return true
	}
	for _, profile := range p.Profiles {
		if profile.UnusedAfter > 0 || profile.FirstUseWithin > 0 {
			return true
		}
	}
	return false
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
