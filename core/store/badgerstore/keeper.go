package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/keywicket/keywicket/core/store"
)

const (
	keepEvery         = time.Second
	defaultVerifyEach = 24 * time.Hour
)

// A keeper looks after an open store: its reserve on the disk, and now and then
// its tables.
type keeper struct {
	s    *Store
	stop context.CancelFunc
	done sync.WaitGroup
	low  bool // was the disk, when it looked last
}

func newKeeper(s *Store, verifyEvery time.Duration) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{s: s, stop: stop}
	if s.space.floor != 0 {
		k.done.Go(func() { k.keepSpace(ctx) })
	}
	if verifyEvery == 0 {
		verifyEvery = defaultVerifyEach
	}
	if verifyEvery > 0 {
		k.done.Go(func() { k.keepVerified(ctx, verifyEvery) })
	}
	return k
}

func (k *keeper) close() {
	k.stop()
	k.done.Wait()
}

func (k *keeper) keepSpace(ctx context.Context) {
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for {
		k.look()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// look makes the ballast where there is room for it, has the committer open a
// store that was opened on a full disk anew, and says in the log what changed.
func (k *keeper) look() {
	s := k.s
	if err := s.space.refill(); err != nil {
		s.log.Warn("the reserve of the store could not be made; without it nothing can be deleted on a full disk", "dir", s.dir, "err", err)
	}
	free, low := s.space.low(measureOctets + 1)
	if low != k.low {
		if k.low = low; low {
			s.log.Warn("the store takes no writes but such as take access away", "dir", s.dir, "err", s.space.fullError(free))
		} else {
			s.log.Info("there is room again", "dir", s.dir, "free", free)
		}
	}
	s.inside.RLock()
	m := s.mode
	s.inside.RUnlock()
	if m != normal {
		select {
		case s.commit.roomy <- struct{}{}:
		default:
		}
	}
}

func (k *keeper) keepVerified(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		err := k.s.verifyAll(ctx, 4)
		if err == nil {
			k.s.log.Info("all tables of the store were read and are whole", "dir", k.s.dir, "took", time.Since(start))
		} else if !errors.Is(err, store.ErrDamaged) && ctx.Err() == nil {
			k.s.log.Warn("the tables of the store could not be read to check them", "dir", k.s.dir, "err", err)
		}
	}
}

// Verify reads and checks every table anew, as Open does. It finds what has
// become damaged since; from then on Get no longer answers ErrNotFound. The
// store does so by itself, see Options.VerifyEvery.
func (s *Store) Verify(ctx context.Context) error { return s.verifyAll(ctx, 0) }

// verifyAll rests after each table, idle times as long as that took.
func (s *Store) verifyAll(ctx context.Context, idle int) (err error) {
	defer func() { s.note(err) }()
	defer recovered(&err, "checking the store in "+s.dir)
	if err := s.enter(ctx); err != nil {
		return err
	}
	tables := s.db.Tables()
	s.leave()
	for _, t := range tables {
		start := time.Now()
		if err := s.verifyOne(ctx, t.ID); err != nil {
			return err
		}
		if idle == 0 {
			continue
		}
		select {
		case <-time.After(time.Duration(idle) * time.Since(start)):
		case <-ctx.Done():
		}
	}
	return nil
}

// verifyOne checks a table, which may have been merged into others meanwhile:
// Badger drops it first, and then cuts and removes its file.
func (s *Store) verifyOne(ctx context.Context, id uint64) error {
	if err := s.enter(ctx); err != nil { // so that Close waits
		return err
	}
	defer s.leave()
	_, _, err := verifyTable(table.NewFilename(id, s.dir), nil)
	if err == nil || !slices.ContainsFunc(s.db.Tables(), func(t badger.TableInfo) bool { return t.ID == id }) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a table is missing; restore a backup: %w", store.ErrDamaged, err)
	}
	return err
}

// Degraded says what is wrong with the store while it serves what it can: nil,
// or an error that wraps ErrFull (nothing is written but what takes access
// away), ErrUnavailable (nothing is written until a restart) or ErrDamaged (not
// everything can be read). Its text says what to do.
func (s *Store) Degraded() error {
	var found []error
	if err := s.damage.Load(); err != nil {
		found = append(found, fmt.Errorf("stop Keywicket and restore a backup: %w", *err))
	}
	if err := s.refusing.Load(); err != nil {
		found = append(found, *err)
	}
	s.inside.RLock()
	m := s.mode
	s.inside.RUnlock()
	free, low := s.space.low(0)
	switch {
	case m == readOnly:
		found = append(found, s.space.usedUpError(nil))
	case low || m == calm:
		found = append(found, s.space.fullError(free))
	}
	return errors.Join(found...)
}
