package memstore

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/internal/watch"
)

var (
	_ store.Store       = (*Store)(nil)
	_ store.Snapshotter = (*Store)(nil)
	_ store.Nearby      = (*Store)(nil)
)

// A Store keeps its records in a map. Use New.
type Store struct {
	hub *watch.Hub

	mu      sync.RWMutex
	closed  bool
	last    store.Revision
	entries map[string]store.Entry // values are never changed, only replaced
}

// New returns an empty store.
func New() *Store {
	return &Store{hub: watch.New(), entries: make(map[string]store.Entry)}
}

// Close ends all watches and drops what is kept. Every method says
// ErrUnavailable from then on. The error is always nil.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed, s.entries = true, nil
	s.mu.Unlock()
	s.hub.Close()
	return nil
}

// ready says why there is no answer now. s.mu must be held.
func (s *Store) ready(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.ready(ctx); err != nil {
		return store.Entry{}, err
	}
	e, ok := s.entries[key]
	if !ok {
		return store.Entry{}, fmt.Errorf("%w: %q", store.ErrNotFound, key)
	}
	return handOut(e), nil
}

// AtHand implements store.Nearby.
func (s *Store) AtHand(room []byte, key string) (value []byte, r store.Revision, ok bool) {
	if !s.mu.TryRLock() {
		return room, 0, false
	}
	defer s.mu.RUnlock()
	e, ok := s.entries[key] // none when closed
	return append(room, e.Value...), e.Revision, ok
}

// Scan implements store.Store. It looks at every key.
func (s *Store) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a scan of %d entries; at least 1 is allowed", store.ErrInvalid, limit)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var keys []string
	for key := range s.entries {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	entries := make([]store.Entry, 0, min(limit, len(keys)))
	for _, key := range keys[:min(limit, len(keys))] {
		entries = append(entries, handOut(s.entries[key]))
	}
	return entries, nil
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	for _, op := range b {
		e, ok := s.entries[op.Key]
		if op.IfAbsent && ok || op.IfRevision != 0 && (!ok || e.Revision != op.IfRevision) {
			return 0, fmt.Errorf("%w: %q is at revision %d", store.ErrConflict, op.Key, e.Revision)
		}
	}
	s.last++
	events := make([]store.Event, 0, len(b))
	for _, op := range b {
		e := store.Entry{Key: op.Key, Revision: s.last}
		switch op.Action {
		case store.Put:
			e.Value = bytes.Clone(op.Value)
			s.entries[op.Key] = e
			events = append(events, store.Event{Entry: e})
		case store.Delete:
			if _, ok := s.entries[op.Key]; ok {
				delete(s.entries, op.Key)
				events = append(events, store.Event{Deleted: true, Entry: e})
			}
		}
	}
	s.hub.Publish(events) // under the lock, so that watchers see this order
	return s.last, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	return s.hub.Watch(ctx, prefix)
}

// Snapshot implements store.Snapshotter.
func (s *Store) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	s.mu.RLock()
	err := s.ready(ctx)
	last, entries := s.last, make([]store.Entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Key < entries[j].Key })
	if err := begin(last); err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		if err := each(handOut(e)); err != nil {
			return err
		}
	}
	return nil
}

func handOut(e store.Entry) store.Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}
