package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// copied says whether key is one that the copy has.
func (s *Store) copied(key string) bool {
	return fits(key) && slices.ContainsFunc(s.opt.Prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// kept returns what the copy has of key; a frame of no kind is nothing.
func (s *Store) kept(ctx context.Context, key string) (frame, error) {
	if !s.copied(key) {
		return frame{}, nil
	}
	f, _, err := s.keptAt(ctx, key)
	return f, err
}

// keptAt is kept with the local revision.
func (s *Store) keptAt(ctx context.Context, key string) (frame, store.Revision, error) {
	e, err := s.local.Get(ctx, entryPrefix+key)
	if errors.Is(err, store.ErrNotFound) {
		return frame{}, 0, nil
	}
	if err != nil {
		return frame{}, 0, err
	}
	f, err := parseFrame(e.Value)
	return f, e.Revision, err
}

// note writes into the copy what the shared store was seen to have. What the
// copy has of a later revision stays. Nobody's leaving breaks it off.
func (s *Store) note(frames map[string]frame) {
	maps.DeleteFunc(frames, func(key string, _ frame) bool { return !s.copied(key) })
	if len(frames) == 0 {
		return
	}
	s.touch(frames)
	var b store.Batch
	size := 0
	for _, key := range slices.Sorted(maps.Keys(frames)) {
		op := store.Op{Action: store.Put, Key: entryPrefix + key, Value: frames[key].bytes()}
		if n := len(op.Key) + len(op.Value); len(b) == store.MaxOps || size+n > store.MaxBatch {
			s.noteBatch(b, frames)
			b, size = nil, 0
		}
		b, size = append(b, op), size+len(op.Key)+len(op.Value)
	}
	s.noteBatch(b, frames)
}

// noteBatch writes b but for what the copy has newer.
func (s *Store) noteBatch(b store.Batch, frames map[string]frame) {
	ctx := context.Background()
	for {
		var due store.Batch
		for _, op := range b {
			key := strings.TrimPrefix(op.Key, entryPrefix)
			have, at, err := s.keptAt(ctx, key)
			if err != nil {
				s.spoil(err)
				return
			}
			if have.kind != 0 && have.revision >= frames[key].revision {
				continue
			}
			op.IfAbsent, op.IfRevision = at == 0, at
			op.Revokes = true // it may take access away, and must not be left out on a full disk
			due = append(due, op)
		}
		if len(due) == 0 {
			return
		}
		_, err := s.local.Apply(ctx, due)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			s.spoil(err)
			return
		}
	}
}

// noteGone notes that key, of which the copy had before, was not found. What is
// in the copy by now of a later revision stays.
func (s *Store) noteGone(key string, before frame) {
	ctx := context.Background()
	s.touch(map[string]frame{key: before})
	have, at, err := s.keptAt(ctx, key)
	if err == nil && have.revision == before.revision && have.kind == before.kind {
		gone := frame{kind: absent, revision: before.revision}
		_, err = s.local.Apply(ctx, store.Batch{{Action: store.Put, Key: entryPrefix + key, Value: gone.bytes(), IfRevision: at, Revokes: true}})
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		s.spoil(err)
	}
}

// touch tells a comparison that runs that these keys are newer than what it
// has read.
func (s *Store) touch(frames map[string]frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touched == nil {
		return
	}
	for key := range frames {
		s.touched[key] = true
	}
}

// spoil takes the copy out of use: something that this node has seen could not
// be written to it. It serves again once it was compared as a whole.
func (s *Store) spoil(err error) {
	s.mu.Lock()
	before := s.asOf
	s.asOf = time.Time{}
	select {
	case s.spoilt <- struct{}{}:
	default:
	}
	s.mu.Unlock()
	if !before.IsZero() {
		s.log.Error("the copy of the shared store cannot be kept; it serves nothing until it was made anew", "err", err)
		if err := s.save(context.Background()); err != nil {
			s.log.Error("and this could not be noted: a node that is started now would use the copy", "err", err)
		}
	}
}

// load reads what an earlier life left.
func (s *Store) load(ctx context.Context) error {
	var st state
	e, err := s.local.Get(ctx, stateKey)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return fmt.Errorf("the copy of the shared store: %w", err)
	default:
		if st, err = parseState(e.Value); err != nil {
			s.log.Warn("the copy of the shared store is made anew", "err", err)
			st = state{}
		}
	}
	s.asOf, s.clock = st.asOf, newClock(s.opt.Now, st.seen)
	return s.save(ctx)
}

// save writes down how old the copy is, ahead by as much as can pass until it
// is written the next time: however often the node crashes, and whatever its
// clock is set to, the copy does not become younger.
func (s *Store) save(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	now := s.clock.time()
	s.mu.Lock()
	st := state{asOf: s.asOf, seen: now.Add(saveEvery)}
	s.mu.Unlock()
	_, err := s.local.Apply(ctx, store.Batch{{Action: store.Put, Key: stateKey, Value: st.bytes(), Revokes: true}})
	if err != nil {
		return fmt.Errorf("the copy of the shared store: %w", err)
	}
	return nil
}
