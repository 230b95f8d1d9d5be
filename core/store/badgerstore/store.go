package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/internal/watch"
)

var (
	_ store.Store  = (*Store)(nil)
	_ store.Nearby = (*Store)(nil)
)

// memTable is the size of Badger's memtables in octets. A transaction may have
// 15 % of it, so that the largest batch of the contract (1 MiB in 128
// operations, and what we add to each) fits with a fifth to spare; half of it
// would not do.
const memTable = 8 << 20

// Options of Open. The zero value is a good one.
type Options struct {
	// Logger gets what Badger says and what an administrator should know.
	// Nil discards it.
	Logger *slog.Logger

	// MinFree is how many octets of the disk shall stay free: below it Apply
	// is ErrFull, except for batches that take access away. 0 is 256 MiB, or
	// a quarter of the disk where that is less; negative watches over nothing, for
	// disks that cannot say what is free. The ballast beside it is 64 MiB, or
	// an eighth of the disk.
	MinFree int64

	// Memory is how many octets of entries are held in memory too, so that they
	// are read without waiting for the disk: those whose keys begin with one of
	// Held. Of keys that begin with one of Known, it is kept in mind whether there
	// is anything. After Open the database is read into it in the background. 0
	// is none.
	Memory      int64
	Held, Known []string

	// VerifyEvery is how often all tables are read and their checksums
	// compared, slowly. 0 is once a day; negative is never.
	VerifyEvery time.Duration
}

// A Store is a Badger database. Use Open.
type Store struct {
	dir     string
	log     *slog.Logger
	lock    *os.File
	ack     *ackFile
	hub     *watch.Hub
	commit  *committer
	space   *space
	keeper  *keeper
	memory  *memory // nil: none
	filling filling

	// readable is the revision of the last transaction that is on disk as a
	// whole. Reads happen at it, so that they never wait for a write and never
	// see a part of one.
	readable atomic.Uint64

	// inside is held for reading by each method while it uses db, and for
	// writing to close db, to open it anew or to let Badger forget older
	// versions. It guards what follows; the committer, which alone opens db
	// anew, reads it without.
	inside sync.RWMutex
	db     *badger.DB
	mode   mode
	logs   *logFiles // of the committer; nil when read-only
	gone   error     // why db is closed although the store is not
	closed bool

	snapshots snapshots

	// damage is the first damage that a read met. A key that is not found is
	// not surely absent from then on.
	damage atomic.Pointer[error]

	refusing atomic.Pointer[error] // why no write is taken any more
}

// Open opens the store in dir, or makes one where dir is absent or empty. The
// parent of dir must exist. dir gets mode 0700 and its files 0600.
//
// The error wraps ErrUnavailable when another process has the store open or
// the directory cannot be used, and ErrDamaged when anything that was
// acknowledged is lost or altered; nothing in dir has been changed then.
func Open(dir string, opts Options) (_ *Store, err error) {
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	lock, err := prepareDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	ack, err := openAck(dir, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ack.close())
		}
	}()
	if err := verify(dir, ack.last); err != nil {
		return nil, err
	}
	if err := trimLogs(dir); err != nil {
		return nil, err
	}
	sp, err := newSpace(dir, opts.MinFree)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, log: log, lock: lock, ack: ack, hub: watch.New(), space: sp}
	if opts.Memory > 0 {
		s.memory = newMemory(opts.Memory, opts.Held, opts.Known)
	}
	m, err := s.chooseMode()
	if err != nil {
		return nil, err
	}
	if m != normal {
		log.Warn("the disk is full: the store is opened for reading, and for taking access away as far as the reserve goes",
			"dir", dir, "reserve", m == calm)
	}
	if err := s.openIn(m); err != nil {
		return nil, err
	}
	if err := s.start(opts.VerifyEvery); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// start takes up numbering where it ended and starts the committer.
func (s *Store) start(verifyEvery time.Duration) error {
	last, err := s.lastRevision()
	if err != nil {
		return err
	}
	if last < s.ack.last {
		return lostError(s.dir, last, s.ack.last)
	}
	s.readable.Store(uint64(last))
	s.db.SetDiscardTs(uint64(last))
	if err := restrictFiles(s.dir); err != nil {
		return err
	}
	s.commit = newCommitter(s, last)
	s.keeper = newKeeper(s, verifyEvery)
	s.filling.start(s)
	return nil
}

// openDB turns Badger's errors and panics into ours. Whatever keeps Badger
// from opening files that verify found right is no damage that we know of,
// except where it panics.
func openDB(dir string, log *slog.Logger, m mode, floor int64) (db *badger.DB, err error) {
	defer recovered(&err, "opening the store in "+dir)
	defer func() {
		p := recover()
		if _, fault := p.(interface{ Addr() uintptr }); fault { // Badger writes through mappings
			err = fmt.Errorf("%w: the store in %s cannot be opened, a file of it cannot be written to: %v", store.ErrFull, dir, p)
		} else if p != nil {
			panic(p)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	opts := withLevels(badgerOptions(dir, log), floor)
	switch m {
	case calm:
		opts = opts.WithNumCompactors(0).WithNumLevelZeroTablesStall(1 << 20)
	case readOnly:
		opts = opts.WithReadOnly(true)
	}
	db, err = badger.OpenManaged(opts)
	if err != nil {
		return nil, fmt.Errorf("%w: Badger cannot open the store in %s (check free space and owner of its files): %w", store.ErrUnavailable, dir, err)
	}
	return db, nil
}

// badgerOptions keep Badger small: sealed values do not compress, so there is
// neither compression nor the block cache that it needs; the kernel's page
// cache serves instead. All values stay in the tables (the threshold is above
// MaxValue), so the value log stays empty, and nothing collects garbage in it,
// which has brought deleted keys back. Badger would sync it all the same with
// each transaction, before the log that holds them: so the committer syncs that
// one itself.
//
// We verify the checksums of all blocks before Badger opens a table, and once a
// day, so Badger need not do it again; at each read it would turn a mismatch
// into "not found". There our own checksum of each value does it.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(false).
		WithChecksumVerificationMode(options.NoVerification).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false). // the committer is the only writer
		WithMetricsEnabled(false).
		WithLogger(badgerLog{log})
}

// The first level below the memtables' tables is written again with every few of
// them. With Badger's own 10 MiB for it, a store of a million accounts has one
// level more, and half as much again to do for each record that is written.
const (
	largestLevel  = 64 << 20
	smallestLevel = 10 << 20 // as Badger has it
	largestTable  = 4 << 20
)

// withLevels sizes the levels of tables. What is merged stands on the disk twice
// meanwhile, and the floor must leave room for that: for some of the memtables'
// tables with the first level, and beside them for a table with some ten of the
// level below, which are no larger. Without a floor, nothing is known of the disk.
func withLevels(o badger.Options, floor int64) badger.Options {
	o.BaseLevelSize, o.BaseTableSize, o.TableSizeMultiplier = largestLevel, largestTable, 1
	if floor > 0 && floor < 4*largestLevel {
		o.BaseLevelSize, o.BaseTableSize = max(smallestLevel, floor/4), largestTable/2
	}
	return o
}

// Close ends all watches, waits for the write that is on its way, refuses
// those that wait, and closes the database. Every method says ErrUnavailable
// from then on. A second Close does nothing.
func (s *Store) Close() (err error) {
	s.filling.close()
	s.keeper.close()
	s.commit.close()
	s.hub.Close()
	s.inside.Lock()
	defer s.inside.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	defer recovered(&err, "closing the store in "+s.dir)
	err = errors.Join(s.closeDB(), s.logs.close(), restrictFiles(s.dir), s.ack.close(), s.lock.Close())
	if err != nil {
		return fmt.Errorf("close the store in %s: %w", s.dir, err)
	}
	return nil
}

// enter begins the use of s.db; leave must follow when it returned nil.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.inside.RLock()
	if s.closed {
		s.inside.RUnlock()
		return errClosed()
	}
	if s.gone != nil {
		s.inside.RUnlock()
		return s.gone
	}
	return nil
}

func (s *Store) leave() { s.inside.RUnlock() }

func errClosed() error { return fmt.Errorf("%w: the store is closed", store.ErrUnavailable) }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (_ store.Entry, err error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	if err := s.enter(ctx); err != nil {
		return store.Entry{}, err
	}
	defer s.leave()
	switch value, r, known := s.memory.read([]byte{}, key); {
	case known == isHeld:
		return store.Entry{Key: key, Revision: r, Value: value}, nil
	case known == isAbsent && s.damage.Load() == nil:
		return store.Entry{}, &absent{key}
	}
	defer func() { s.note(err) }()
	defer recoveredAt(&err, "reading", key)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // tables are mapped files
	txn := s.db.NewTransactionAt(s.readable.Load(), false)
	defer txn.Discard()
	e, ok, err := getIn(txn, key)
	switch {
	case err != nil:
		return store.Entry{}, err
	case ok:
		return e, nil
	}
	if damage := s.damage.Load(); damage != nil {
		return store.Entry{}, fmt.Errorf("nothing is at %q, which is not sure: %w", key, *damage)
	}
	return store.Entry{}, &absent{key}
}

// An absent is the ErrNotFound of a key. Its text is made for those who ask: an
// account that signs in for the first time has no activity yet.
type absent struct{ key string }

func (e *absent) Error() string { return fmt.Sprintf("%v: %q", store.ErrNotFound, e.key) }

func (e *absent) Unwrap() error { return store.ErrNotFound }

// getIn reads one entry in txn.
func getIn(txn *badger.Txn, key string) (e store.Entry, ok bool, err error) {
	ok, err = viewIn(txn, dataKey(key), func(r store.Revision, value []byte) {
		e = store.Entry{Key: key, Revision: r, Value: bytes.Clone(value)}
	})
	return e, ok, err
}

// viewIn shows what is at a key of the database in txn, which may have pending
// writes; ok is false when there is nothing.
func viewIn(txn *badger.Txn, at []byte, show func(r store.Revision, value []byte)) (ok bool, err error) {
	item, err := txn.Get(at)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: Badger cannot read %q: %w", store.ErrDamaged, at[1:], err)
	}
	err = viewOf(item, show)
	return err == nil, err
}

// viewOf shows what is in an item.
func viewOf(item *badger.Item, show func(r store.Revision, value []byte)) error {
	key, ok := bytes.CutPrefix(item.Key(), []byte{dataPrefix})
	if !ok {
		return fmt.Errorf("%w: a stored key %q is not ours", store.ErrDamaged, item.Key())
	}
	err := item.Value(func(framed []byte) error {
		r, value, err := parseFrame(framed, key)
		if err == nil {
			show(r, value)
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%w: Badger cannot read %q: %w", store.ErrDamaged, key, err)
	}
	return err
}

// entryOf copies what is in an item.
func entryOf(item *badger.Item) (e store.Entry, err error) {
	err = viewOf(item, func(r store.Revision, value []byte) {
		e = store.Entry{Key: string(item.Key()[1:]), Revision: r, Value: bytes.Clone(value)}
	})
	return e, err
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, prefix, after string, limit int) (_ []store.Entry, err error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a scan of %d entries; at least 1 is allowed", store.ErrInvalid, limit)
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	defer func() { s.note(err) }()
	defer recovered(&err, fmt.Sprintf("reading keys that begin with %q", prefix))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if damage := s.damage.Load(); damage != nil {
		return nil, fmt.Errorf("a scan would not be complete: %w", *damage)
	}
	txn := s.db.NewTransactionAt(s.readable.Load(), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: dataKey(prefix)})
	defer it.Close()
	var entries []store.Entry
	for it.Seek(dataKey(max(prefix, after))); it.Valid() && len(entries) < limit; it.Next() {
		if len(entries)%64 == 63 && ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
		e, err := entryOf(it.Item())
		if err != nil {
			return nil, err
		}
		if e.Key > after {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	return s.commit.apply(ctx, b)
}

// Watch implements store.Store. No other process has the store open, so the
// changes of this one are all.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	return s.hub.Watch(ctx, prefix)
}

// note remembers the first damage.
func (s *Store) note(err error) {
	if err == nil || !errors.Is(err, store.ErrDamaged) {
		return
	}
	if first := err; s.damage.CompareAndSwap(nil, &first) {
		s.log.Error("the store is damaged: stop Keywicket and restore a backup", "dir", s.dir, "err", err)
	}
}

// recovered turns a panic of Badger into ErrDamaged. It must be deferred.
func recovered(err *error, doing string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s, Badger panicked: %v", store.ErrDamaged, doing, p)
	}
}

// recoveredAt is recovered where the text is of use only after a panic.
func recoveredAt(err *error, doing, key string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s %q, Badger panicked: %v", store.ErrDamaged, doing, key, p)
	}
}

// lastRevision is the revision of the last transaction in the database.
func (s *Store) lastRevision() (store.Revision, error) {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get([]byte(lastKey))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: the last revision cannot be read: %w", store.ErrDamaged, err)
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return 0, fmt.Errorf("%w: the last revision cannot be read: %w", store.ErrDamaged, err)
	}
	_, last, err := parseLink(value)
	return last, err
}

// AtHand implements store.Nearby.
func (s *Store) AtHand(room []byte, key string) (value []byte, r store.Revision, ok bool) {
	if s.memory == nil || !s.inside.TryRLock() {
		return room, 0, false
	}
	defer s.inside.RUnlock()
	if s.closed || s.gone != nil {
		return room, 0, false
	}
	value, r, known := s.memory.read(room, key)
	return value, r, known == isHeld
}
