package core

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// Options say what an engine works with. Store, Directory and Keyring are
// required; the caller closes them after the engine.
type Options struct {
	Store     store.Store
	Directory directory.Directory
	Keyring   *keyring.Keyring

	Policy   *Policy  // nil: DefaultPolicy
	Recorder Recorder // nil: events go nowhere
	Guard    Guard    // nil: a right proof is granted

	// LateStore: a store that does not answer at the start may come later. Until
	// then attempts are unavailable.
	LateStore bool

	// Node is this node's name among those that share the store, and stays the
	// same over restarts; empty where none does.
	Node string

	Log    *slog.Logger // nil: discarded
	Issuer string       // in authenticator apps; empty: "Keywicket"

	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand.Reader

	CacheBytes int64         // most octets of cached accounts; 0: 256 MiB
	MaxAge     time.Duration // how long a directory's answer holds where it has no Watch; 0: 60 s
	Stale      time.Duration // how long it serves while the directory does not answer; 0: 15 min
	Flush      time.Duration // between batches of last use and history; 0: 3 s, most 3 s
}

// An Engine issues and verifies app passwords. Its methods may be called from
// many goroutines; every error is an *Error.
type Engine struct {
	store     *lateStore
	directory directory.Directory
	keys      *keyring.Keyring
	opt       Options
	log       *slog.Logger
	policy    atomic.Pointer[Policy]

	cache    *cache
	scopes   *scopes
	watches  watches
	locks    [1024]sync.Mutex // by account: writers of one account take turns
	activity *activity
	sessions *session.Table
	failures *failures // of sign-ins, by service and device
	mains    *failures // of main passwords, by account
	codes    *failures // of security codes, by account

	mainSlots chan struct{} // taken while a main password is checked
	clock     clock
	apart     atomic.Pointer[ClockApart] // nil: no other node's clock is ahead
	sources   sources
	rooms     record.Rooms

	rotated   chan struct{} // a token: the keyring has a newer key
	lapses    chan string   // accounts whose directory may have turned two-step verification off
	resealing atomic.Bool

	timeNoted int64 // the time in the store, Unix milliseconds; of Flush alone
	ready     readiness

	stop    context.CancelFunc
	closing <-chan struct{} // closed by stop
	done    sync.WaitGroup
}

// Open returns an engine over what opt names. It makes the store's first
// record in an empty store, and refuses a store of a newer format, of another
// keyring, or of something else: KindInvalid, and nothing is changed.
func Open(ctx context.Context, opt Options) (*Engine, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	if err := opt.Policy.Validate(); err != nil {
		return nil, err
	}
	late := &lateStore{Store: opt.Store}
	e := &Engine{
		store: late, directory: opt.Directory, keys: opt.Keyring, opt: opt, log: opt.Log,
		cache:    newCache(opt.CacheBytes),
		scopes:   newScopes(),
		failures: newFailures(opt.Now),
		mains:    newFailures(opt.Now),
		codes:    newFailures(opt.Now),

		mainSlots: make(chan struct{}, mainChecks),
		rotated:   make(chan struct{}, 1),
		lapses:    make(chan string, maxLapses),
	}
	e.activity = newActivity()
	e.sessions = e.newSessions()
	e.policy.Store(opt.Policy.clone())
	e.clock.wall = opt.Now
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop, e.closing = stop, background.Done()
	if err := e.openStore(ctx, background, late); err != nil {
		stop()
		return nil, err
	}
	e.startWatches(background)
	e.done.Go(func() { e.flushLoop(background) })
	if len(e.keys.IDs()) > 1 { // a rotation was not finished, perhaps
		e.wantReseal()
	}
	e.done.Go(func() { e.resealLoop(background) })
	e.done.Go(func() { e.sessions.Run(background) })
	e.done.Go(func() { e.lapseLoop(background) })
	return e, nil
}

// check says what is missing. A Recorder or a Guard that is a nil pointer is a
// mistake too: without them nothing is recorded, and everything is granted.
func (o Options) check() error {
	if o.Store == nil || o.Directory == nil || o.Keyring == nil {
		return invalid("open", "a store, a directory and a keyring are required")
	}
	for _, part := range []any{o.Store, o.Directory, o.Recorder, o.Guard} {
		if isNil(part) {
			return invalid("open", "the %T is a nil pointer", part)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Policy == nil {
		p := DefaultPolicy()
		o.Policy = &p
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Issuer == "" {
		o.Issuer = "Keywicket"
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.MaxAge == 0 {
		o.MaxAge = time.Minute
	}
	if o.Stale == 0 {
		o.Stale = 15 * time.Minute
	}
	if o.Flush == 0 {
		o.Flush = 3 * time.Second
	}
	return o
}

// Close writes what was collected, and stops what Open started. It does not
// close the store. Stop asking before: what a sign-in notes later is lost.
func (e *Engine) Close() error {
	e.stop()
	e.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err := errors.Join(e.Flush(ctx), storeError("close", e.sessions.Flush(ctx)))
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable) {
		e.log.Warn("the latest uses and attempts are not kept", "err", err)
		return nil // sign-in goes on without them, and so does stopping
	}
	return err
}

// SetPolicy changes the administrator's choices; the next sign-in follows
// them. A policy with a fault changes nothing.
func (e *Engine) SetPolicy(p Policy) error {
	if err := p.Validate(); err != nil {
		return err
	}
	e.policy.Store(p.clone())
	e.sessions.SuspectAll()
	return nil
}

// openMeta reads the record that says what the store is, or makes it in an
// empty store.
func (e *Engine) openMeta(ctx context.Context) error {
	meta, _, err := e.readMeta(ctx)
	switch {
	case err == nil && meta.Format > record.Format:
		return invalid("open", "the store has format %d, which is newer than this version reads (%d): use a newer keywicket", meta.Format, record.Format)
	case err == nil:
		e.recallTime(meta)
		return nil
	case errors.Is(err, keyring.ErrVersion):
		return &Error{Op: "open", Kind: KindInvalid, Err: fmt.Errorf("the store was written by a newer version: use a newer keywicket: %w", err)}
	case errors.Is(err, keyring.ErrUnknownKey):
		return &Error{Op: "open", Kind: KindInvalid, Err: fmt.Errorf("the keyring is not the one that this store was sealed with: configure the right keyring, or restore it from its backup: %w", err)}
	case KindOf(err) != KindNotFound:
		return err
	}
	some, err := e.store.Scan(ctx, "", "", 1)
	if err != nil {
		return storeError("open", err)
	}
	if len(some) > 0 {
		return invalid("open", "the store is not empty, and its first record is missing: it belongs to another program or is damaged; restore it from a backup")
	}
	now := toMillis(e.opt.Now())
	err = e.writeMeta(ctx, &record.Meta{Format: record.Format, Created: now, LastSeen: now}, 0)
	if KindOf(err) == KindConflict { // another node was first: its record is there to be read
		return e.openMeta(ctx)
	}
	return err
}

func (e *Engine) readMeta(ctx context.Context) (*record.Meta, store.Revision, error) {
	var meta record.Meta
	rev, err := e.read(ctx, record.KindMeta, record.KeyMeta, &meta)
	return &meta, rev, err
}

func (e *Engine) writeMeta(ctx context.Context, meta *record.Meta, rev store.Revision) error {
	op, err := e.put(record.KindMeta, record.KeyMeta, meta, rev)
	if err != nil {
		return err
	}
	_, err = e.store.Apply(ctx, store.Batch{op})
	return storeError("write meta", err)
}

// read gets the record at key and opens it into m. The error is KindNotFound,
// KindDamaged or KindUnavailable.
func (e *Engine) read(ctx context.Context, kind, key string, m proto.Message) (store.Revision, error) {
	entry, err := e.store.Get(ctx, key)
	if err != nil {
		return 0, storeError("read "+kind, err)
	}
	return entry.Revision, e.open(kind, key, entry.Value, m)
}

func (e *Engine) open(kind, key string, sealed []byte, m proto.Message) error {
	plain, err := e.openIn(nil, kind, key, sealed, func(plain []byte) error { return proto.Unmarshal(plain, m) })
	clear(plain)
	return err
}

// openIn is open with another way to read the record, which it puts behind room.
// It returns that and the record, which are the caller's to wipe.
func (e *Engine) openIn(room []byte, kind, key string, sealed []byte, parse func(plain []byte) error) ([]byte, error) {
	plain, err := e.keys.AppendOpen(room, kind, key, sealed)
	if err == nil {
		err = parse(plain[len(room):])
	}
	if err != nil {
		err = &Error{Op: "read " + kind, Kind: KindDamaged, Err: fmt.Errorf("the record %q cannot be opened: %w", shown(key), err)}
	}
	return plain, err
}

// put returns the operation that writes m at key, if the key is still at rev;
// revision 0 means absent.
func (e *Engine) put(kind, key string, m proto.Message, rev store.Revision) (store.Op, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return store.Op{}, &Error{Op: "write " + kind, Kind: KindInternal, Err: err}
	}
	defer clear(plain)
	return store.Op{Action: store.Put, Key: key, Value: e.keys.Seal(kind, key, plain), IfAbsent: rev == 0, IfRevision: rev}, nil
}

// storeError gives an error of the store's contract its kind. It is nil for nil.
func storeError(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := KindUnavailable // a fault of the store is an inability, never an answer
	switch {
	case errors.Is(err, store.ErrNotFound):
		kind = KindNotFound
	case errors.Is(err, store.ErrConflict):
		kind = KindConflict
	case errors.Is(err, store.ErrFull): // an inability too; the text says what to do
		kind = KindUnavailable
	case errors.Is(err, store.ErrInvalid):
		kind = KindInternal
	case errors.Is(err, store.ErrDamaged):
		kind = KindDamaged
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// directoryError gives an error of the directory's contract its kind.
func directoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := KindUnavailable
	switch {
	case errors.Is(err, directory.ErrNotFound):
		kind = KindNotFound
	case errors.Is(err, directory.ErrDenied):
		kind = KindDenied
	case errors.Is(err, directory.ErrConflict):
		kind = KindConflict
	case errors.Is(err, directory.ErrInvalid):
		kind = KindInvalid
	case errors.Is(err, store.ErrDamaged), errors.Is(err, keyring.ErrTampered), errors.Is(err, keyring.ErrUnknownKey), errors.Is(err, keyring.ErrVersion):
		kind = KindDamaged
	}
	return &Error{Op: op, Kind: kind, Err: err}
}
