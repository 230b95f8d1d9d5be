package badgerstore

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

var _ store.Snapshotter = (*Store)(nil)

// snapshots are the revisions that a Snapshot is reading, each with how many
// do. Badger forgets no version that is visible at one of them.
type snapshots struct {
	mu   sync.Mutex
	open map[uint64]int
}

func (s *snapshots) add(at uint64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[uint64]int)
	}
	if s.open[at] += n; s.open[at] == 0 {
		delete(s.open, at)
	}
}

// oldest returns the lowest revision that is being read, at most readable.
func (s *snapshots) oldest(readable uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.open {
		readable = min(readable, at)
	}
	return readable
}

// snapshotPage is about how many octets a Snapshot reads at once.
const snapshotPage = 256 << 10

// Snapshot implements store.Snapshotter. It reads in pages, and between them
// holds nothing but the versions that it has still to read.
func (s *Store) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	// While inside is held nothing that is readable is forgotten.
	at := s.readable.Load()
	s.snapshots.add(at, 1)
	s.leave()
	defer s.snapshots.add(at, -1)
	if err := begin(store.Revision(at)); err != nil {
		return err
	}
	for after, more := "", true; more; {
		var page []store.Entry
		var err error
		if page, more, err = s.pageAt(ctx, at, after); err != nil {
			return err
		}
		for _, e := range page {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
			}
			if err := each(e); err != nil {
				return err
			}
			after = e.Key
		}
	}
	return nil
}

// pageAt reads the entries behind after as of a revision; more says that there
// may be others behind them.
func (s *Store) pageAt(ctx context.Context, at uint64, after string) (page []store.Entry, more bool, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	defer s.leave()
	defer func() { s.note(err) }()
	defer recovered(&err, fmt.Sprintf("reading keys after %q", after))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if damage := s.damage.Load(); damage != nil {
		return nil, false, fmt.Errorf("a snapshot would not be complete: %w", *damage)
	}
	txn := s.db.NewTransactionAt(at, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: dataKey("")})
	defer it.Close()
	size := 0
	for it.Seek(dataKey(after)); it.Valid(); it.Next() {
		if size >= snapshotPage {
			return page, true, nil
		}
		e, err := entryOf(it.Item())
		if err != nil {
			return nil, false, err
		}
		if e.Key > after {
			page = append(page, e)
			size += len(e.Key) + len(e.Value)
		}
	}
	return page, false, nil
}
