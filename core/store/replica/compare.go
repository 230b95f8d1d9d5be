package replica

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// comparePage is how many entries of the shared store are compared at a time.
const comparePage = 100

// compare begins to make the copy what the shared store is. What was written
// until began will be in it.
func (f *following) compare(ctx context.Context, began time.Time) {
	f.stopComparing()
	f.right, f.again = false, nil
	ctx, f.cancel = context.WithCancel(ctx)
	f.s.mu.Lock()
	f.s.touched = make(map[string]bool)
	f.s.mu.Unlock()
	f.comparing.Go(func() {
		c := comparison{began: began}
		for _, prefix := range f.s.opt.Prefixes {
			changed, err := f.s.compareAll(ctx, prefix)
			c.changed = c.changed || changed
			if c.err = err; err != nil {
				break
			}
		}
		select {
		case f.compared <- c:
		case <-ctx.Done():
		}
	})
}

// stopComparing ends a comparison that runs.
func (f *following) stopComparing() {
	if f.cancel != nil {
		f.cancel()
		f.comparing.Wait()
		f.cancel = nil
	}
	f.s.mu.Lock()
	f.s.touched = nil
	f.s.mu.Unlock()
}

// finish ends a comparison. Its error is the shared store's; trouble with the
// local one takes the copy out of use, and nothing else.
func (f *following) finish(ctx context.Context, c comparison) error {
	f.stopComparing()
	s := f.s
	var mine localError
	switch {
	case errors.As(c.err, &mine):
		s.spoil(mine.error)
	case c.err != nil:
		return c.err
	}
	s.mu.Lock()
	if f.right = len(s.spoilt) == 0; f.right { // else that comes next
		s.asOf = c.began
	}
	s.mu.Unlock()
	if c.changed { // a watcher may hold what a Get had from the copy
		s.hub.Publish([]store.Event{{Reset: true}})
	}
	if err := s.save(ctx); err != nil {
		s.log.Warn("the age of the copy could not be written down", "err", err)
	}
	return nil
}

// A localError is one of the store that holds the copy.
type localError struct{ error }

// compareAll compares all keys that begin with prefix. It says whether it has
// changed anything.
func (s *Store) compareAll(ctx context.Context, prefix string) (changed bool, err error) {
	for after := ""; ; {
		page, err := s.remote.Scan(ctx, prefix, after, comparePage)
		if err != nil {
			return changed, err
		}
		end := "" // the page reaches to the end of the prefix
		if len(page) == comparePage {
			end = page[len(page)-1].Key
		}
		for again := true; again; {
			var did bool
			did, again, err = s.comparePage(ctx, prefix, after, end, page)
			changed = changed || did
			if err != nil {
				return changed, localError{err}
			}
		}
		if end == "" {
			return changed, nil
		}
		after = end
	}
}

// comparePage makes the copy have page and nothing else after after and up to
// end, but for keys that were written to it meanwhile. again: one was, under
// its hands.
func (s *Store) comparePage(ctx context.Context, prefix, after, end string, page []store.Entry) (changed, again bool, err error) {
	want := make(map[string]frame, len(page))
	for _, e := range page {
		if fits(e.Key) {
			want[e.Key] = presentFrame(e)
		}
	}
	var ops store.Batch
	for from := entryPrefix + after; ; {
		const size = 2 * comparePage
		kept, err := s.local.Scan(ctx, entryPrefix+prefix, from, size)
		if err != nil {
			return false, false, err
		}
		for _, e := range kept {
			key := strings.TrimPrefix(e.Key, entryPrefix)
			if end != "" && key > end {
				kept = nil
				break
			}
			have, err := parseFrame(e.Value)
			w, there := want[key]
			switch {
			case there && err == nil && have.kind == w.kind && have.revision == w.revision:
			case there:
				ops = append(ops, store.Op{Action: store.Put, Key: e.Key, Value: w.bytes(), IfRevision: e.Revision, Revokes: true})
			default:
				ops = append(ops, store.Op{Action: store.Delete, Key: e.Key, IfRevision: e.Revision, Revokes: true})
			}
			delete(want, key)
			from = e.Key
		}
		if len(kept) < size {
			break
		}
	}
	for key, w := range want {
		ops = append(ops, store.Op{Action: store.Put, Key: entryPrefix + key, Value: w.bytes(), IfAbsent: true})
	}
	return s.correct(ctx, ops)
}

// correct applies ops in batches, but for keys that were touched.
func (s *Store) correct(ctx context.Context, ops store.Batch) (changed, again bool, err error) {
	for len(ops) > 0 {
		var b store.Batch
		size := 0
		for len(ops) > 0 && len(b) < store.MaxOps && size+len(ops[0].Key)+len(ops[0].Value) <= store.MaxBatch {
			op := ops[0]
			ops = ops[1:]
			if !s.wasTouched(strings.TrimPrefix(op.Key, entryPrefix)) {
				b, size = append(b, op), size+len(op.Key)+len(op.Value)
			}
		}
		if len(b) == 0 {
			continue
		}
		switch _, err := s.local.Apply(ctx, b); {
		case errors.Is(err, store.ErrConflict):
			return changed, true, nil
		case err != nil:
			return changed, false, err
		}
		changed = true
	}
	return changed, false, nil
}

func (s *Store) wasTouched(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched[key]
}
