package core

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// reopen is how long to wait before a store that was late is tried again.
const reopen = time.Second

// A lateStore is a store that nobody uses before its first record was read.
type lateStore struct {
	store.Store
	open atomic.Bool
}

var errLate = errors.New("it did not answer yet since the start")

type openingKey struct{}

func (s *lateStore) may(ctx context.Context) error {
	if s.open.Load() || ctx.Value(openingKey{}) != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, errLate)
}

func (s *lateStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := s.may(ctx); err != nil {
		return store.Entry{}, err
	}
	return s.Store.Get(ctx, key)
}

// AtHand implements store.Nearby, where the store does.
func (s *lateStore) AtHand(room []byte, key string) (value []byte, r store.Revision, ok bool) {
	near, ok := s.Store.(store.Nearby)
	if !ok || !s.open.Load() {
		return room, 0, false
	}
	return near.AtHand(room, key)
}

func (s *lateStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if err := s.may(ctx); err != nil {
		return nil, err
	}
	return s.Store.Scan(ctx, prefix, after, limit)
}

func (s *lateStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := s.may(ctx); err != nil {
		return 0, err
	}
	return s.Store.Apply(ctx, b)
}

func (s *lateStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if err := s.may(ctx); err != nil {
		return nil, err
	}
	return s.Store.Watch(ctx, prefix)
}

// openStore reads the store's first record, or makes it. A store that does not
// answer may be late: then it is tried again until it does, and whatever it turns
// out to be, it is not used before it is known to be the right one.
func (e *Engine) openStore(ctx, background context.Context, late *lateStore) error {
	opening := func(ctx context.Context) error {
		ctx = context.WithValue(ctx, openingKey{}, true)
		if err := e.openMeta(ctx); err != nil {
			return err
		}
		return sessionError("open", e.sessions.Load(ctx))
	}
	err := opening(ctx)
	if err == nil {
		late.open.Store(true)
		return nil
	}
	if !e.opt.LateStore || KindOf(err) != KindUnavailable {
		return err
	}
	e.log.Warn("the store does not answer yet; attempts are unavailable until it does", "err", err)
	e.done.Go(func() {
		for {
			select {
			case <-background.Done():
				return
			case <-time.After(reopen):
			}
			err := opening(background)
			switch {
			case err == nil:
				late.open.Store(true)
				e.log.Info("the store answers")
				return
			case KindOf(err) != KindUnavailable: // another's, or of another keyring
				e.log.Error("the store cannot be used; attempts stay unavailable", "err", err)
				return
			}
		}
	})
	return nil
}
