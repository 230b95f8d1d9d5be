package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/internal/watch"
)

var (
	_ store.Store       = (*Store)(nil)
	_ store.Snapshotter = (*Store)(nil)
)

// Options say what is copied and for how long the copy serves.
type Options struct {
	// Prefixes are those of the keys that are copied, none of them the
	// beginning of another. Nil: everything.
	Prefixes []string

	MaxAge time.Duration    // how old a copy may be that serves; 0: an hour
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: discarded
}

const (
	probeEvery = time.Second            // while the shared store answers
	retryEvery = 500 * time.Millisecond // while it does not
	answerTime = time.Second            // how long it may take to answer a read before the copy does
	saveEvery  = 10 * time.Second       // how exactly the age of the copy survives a crash
	respite    = 10 * time.Second       // after trouble with the local store
	probeKey   = "replica/probe"        // nothing is there; that is answer enough
)

// A Store is a shared store with a copy. Use Open.
type Store struct {
	remote, local store.Store
	opt           Options
	log           *slog.Logger
	hub           *watch.Hub
	clock         *clock

	stop    context.CancelFunc
	ctx     context.Context // ends with Close
	running sync.WaitGroup
	doubt   chan struct{} // a token: a call has failed
	spoilt  chan struct{} // a token: something could not be written to the copy

	mu      sync.Mutex
	joined  bool            // the shared store is asked
	trouble error           // why not
	asOf    time.Time       // when the copy was last known to be whole and right; zero: it serves nothing
	acked   store.Revision  // the highest that Apply has returned
	touched map[string]bool // while the copy is compared: keys that were written to it meanwhile
	closed  bool

	saving sync.Mutex // one writes the state at a time
}

// Open returns a store over remote, which others share, and local, which holds
// the copy and nothing else, perhaps from an earlier life. It does not wait
// until remote answers. The caller closes both after the Store.
func Open(ctx context.Context, remote, local store.Store, opt Options) (*Store, error) {
	if opt.Prefixes == nil {
		opt.Prefixes = []string{""}
	}
	if opt.MaxAge == 0 {
		opt.MaxAge = time.Hour
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		remote: remote, local: local, opt: opt, log: opt.Logger, hub: watch.New(),
		doubt: make(chan struct{}, 1), spoilt: make(chan struct{}, 1),
		trouble: errors.New("it has not answered yet"),
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(s.run)
	return s, nil
}

// Close stops following the shared store and ends all watches. Every method
// says ErrUnavailable from then on.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	s.hub.Close()
	return s.save(context.Background())
}

// A Status says how the copy is.
type Status struct {
	Joined  bool          // the shared store answers
	Trouble error         // why not
	Copied  bool          // there is a copy that was once whole
	Age     time.Duration // of the copy: since it was last known to be right
	MaxAge  time.Duration
}

// Status returns how the copy is now.
func (s *Store) Status() Status {
	now := s.clock.time()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Joined: s.joined, Copied: !s.asOf.IsZero(), MaxAge: s.opt.MaxAge}
	if !s.joined {
		st.Trouble = s.trouble
	}
	if st.Copied {
		st.Age = now.Sub(s.asOf)
	}
	return st
}

// ready says whether the shared store is to be asked. The error is for a
// caller who cannot be answered at all.
func (s *Store) ready(ctx context.Context) (joined bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	return s.joined, nil
}

// why is why the shared store is not asked.
func (s *Store) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// away is the error of what only the shared store can do.
func (s *Store) away() error {
	return fmt.Errorf("%w: the shared store is out of reach, and its copy cannot do this: %v", store.ErrUnavailable, s.why())
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	joined, err := s.ready(ctx)
	if err != nil {
		return store.Entry{}, err
	}
	if !joined {
		return s.fromCopy(ctx, key, s.why())
	}
	before, err := s.kept(context.WithoutCancel(ctx), key)
	if err != nil {
		s.spoil(err)
	}
	asked, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	e, err := s.remote.Get(asked, key)
	switch {
	case err == nil:
		if before.revision < e.Revision {
			s.note(map[string]frame{key: presentFrame(e)})
		}
		return e, nil
	case errors.Is(err, store.ErrNotFound):
		if before.kind == present || before.kind == unkept {
			s.noteGone(key, before)
		}
		return store.Entry{}, err
	case !isAway(err) || ctx.Err() != nil:
		return store.Entry{}, err
	}
	s.doubted()
	return s.fromCopy(ctx, key, err)
}

// isAway says whether err is one of a store that is out of reach.
func isAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// fromCopy answers a Get from the copy. cause is why it is asked.
func (s *Store) fromCopy(ctx context.Context, key string, cause error) (store.Entry, error) {
	if err := s.serves(ctx, cause); err != nil {
		return store.Entry{}, err
	}
	f, err := s.kept(ctx, key)
	switch {
	case err != nil:
		return store.Entry{}, without(cause, "its copy cannot be read: %v", err)
	case f.kind != present:
		return store.Entry{}, without(cause, "%q is not in its copy", key)
	}
	return store.Entry{Key: key, Value: f.value, Revision: f.revision}, nil
}

// without is the error of what the copy cannot do either.
func without(cause error, format string, args ...any) error {
	return fmt.Errorf("%w: the shared store is out of reach (%v), and %s", store.ErrUnavailable, cause, fmt.Sprintf(format, args...))
}

// serves says why the copy does not, if it does not.
func (s *Store) serves(ctx context.Context, cause error) error {
	if store.WantsCurrent(ctx) {
		return without(cause, "its copy cannot tell what is changed there now")
	}
	now := s.clock.time()
	s.mu.Lock()
	asOf := s.asOf
	s.mu.Unlock()
	if asOf.IsZero() {
		return without(cause, "there is no copy of it yet")
	}
	if age := now.Sub(asOf); age > s.opt.MaxAge {
		return without(cause, "its copy is %s old and serves for %s", age.Round(time.Second), s.opt.MaxAge)
	}
	return nil
}

// scanCopy answers a Scan from the copy, as the shared store was then.
func (s *Store) scanCopy(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	cause := s.why()
	if !s.covers(prefix) {
		return nil, without(cause, "%q is not in its copy", prefix)
	}
	if err := s.serves(ctx, cause); err != nil {
		return nil, err
	}
	var entries []store.Entry
	for {
		page, err := s.local.Scan(ctx, entryPrefix+prefix, entryPrefix+after, limit)
		if err != nil {
			return nil, without(cause, "its copy cannot be read: %v", err)
		}
		for _, e := range page {
			f, err := parseFrame(e.Value)
			after = strings.TrimPrefix(e.Key, entryPrefix)
			switch {
			case err != nil:
				return nil, without(cause, "its copy cannot be read: %v", err)
			case f.kind == unkept:
				return nil, without(cause, "%q is not in its copy", after)
			case f.kind == present && len(entries) < limit:
				entries = append(entries, store.Entry{Key: after, Value: f.value, Revision: f.revision})
			}
		}
		if len(entries) == limit || len(page) < limit {
			return entries, nil
		}
	}
}

// covers says whether all keys that begin with prefix are copied.
func (s *Store) covers(prefix string) bool {
	return slices.ContainsFunc(s.opt.Prefixes, func(p string) bool { return strings.HasPrefix(prefix, p) })
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a scan of %d entries; at least 1 is allowed", store.ErrInvalid, limit)
	}
	joined, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if !joined {
		return s.scanCopy(ctx, prefix, after, limit)
	}
	entries, err := s.remote.Scan(ctx, prefix, after, limit)
	if err != nil && isAway(err) {
		s.doubted()
	}
	return entries, err
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	joined, err := s.ready(ctx)
	if err != nil {
		return 0, err
	}
	if !joined {
		return 0, s.away()
	}
	r, err := s.remote.Apply(ctx, b)
	if err != nil {
		if isAway(err) {
			s.doubted()
		}
		return 0, err
	}
	frames := make(map[string]frame, len(b))
	for _, op := range b {
		switch op.Action {
		case store.Put:
			frames[op.Key] = presentFrame(store.Entry{Value: op.Value, Revision: r})
		case store.Delete:
			frames[op.Key] = frame{kind: absent, revision: r}
		}
	}
	s.note(frames)
	s.mu.Lock()
	s.acked = max(s.acked, r)
	s.mu.Unlock()
	return r, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	joined, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if !s.covers(prefix) {
		if !joined {
			return nil, s.away()
		}
		return s.remote.Watch(ctx, prefix)
	}
	s.mu.Lock() // so that no change of joined is missed
	defer s.mu.Unlock()
	// What was committed before an Apply that has returned can be read already.
	if !s.joined {
		return s.hub.WatchAfter(ctx, prefix, s.acked, store.Event{Lost: true})
	}
	return s.hub.WatchAfter(ctx, prefix, s.acked)
}

// Snapshot implements store.Snapshotter where the shared store does.
func (s *Store) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	joined, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if !joined {
		return s.away()
	}
	snapshotter, ok := s.remote.(store.Snapshotter)
	if !ok {
		return fmt.Errorf("%w: the shared store has no snapshots; use its own means", store.ErrInvalid)
	}
	return snapshotter.Snapshot(ctx, begin, each)
}

// doubted asks for a probe at once.
func (s *Store) doubted() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}
