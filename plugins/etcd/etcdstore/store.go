package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keywicket/keywicket/core/store"
)

var (
	_ store.Store       = (*Store)(nil)
	_ store.Snapshotter = (*Store)(nil)
)

// pageSize is how many entries one request asks for.
const pageSize = 256

// A Store keeps its entries below one prefix of an etcd cluster. Use Open.
//
// The key that is the prefix itself belongs to the store: a batch that changes
// nothing else writes it, so that every batch has a revision of its own.
type Store struct {
	cfg    Config
	opened time.Time

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup // the keeper of the link
	doubt   chan struct{}  // a token: a call has failed

	mu       sync.Mutex
	closed   bool
	watchers sync.WaitGroup
	current  *link
	down     bool          // no member answers
	trouble  error         // why current is nil
	space    space         // as etcd said last
	changed  chan struct{} // closed when any of these changes
}

// Open returns a store over the cluster that cfg names. It does not wait until
// a member answers: what is asked meanwhile is ErrUnavailable. The error is
// about cfg.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		cfg: cfg, opened: time.Now(), ctx: ctx, stop: stop,
		doubt: make(chan struct{}, 1), changed: make(chan struct{}), trouble: errors.New("no member has answered yet"),
	}
	s.running.Go(s.keep)
	return s, nil
}

// Close ends all watches and what is under way. Every method says
// ErrUnavailable from then on. The error is always nil. A nil Store is closed.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	s.watchers.Wait()
	return nil
}

// Health says why no member answers, or why nothing can be written; nil where
// all is well.
func (s *Store) Health(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.space.err()
	}
	return fmt.Errorf("%w: no member of etcd answers: %w", store.ErrUnavailable, s.trouble)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	resp, err := s.read(ctx, s.cfg.Prefix+key)
	if err != nil {
		return store.Entry{}, err
	}
	if len(resp.Kvs) == 0 {
		return store.Entry{}, fmt.Errorf("%w: %q", store.ErrNotFound, key)
	}
	return store.Entry{Key: key, Value: resp.Kvs[0].Value, Revision: store.Revision(resp.Kvs[0].ModRevision)}, nil
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a scan of %d entries; at least 1 is allowed", store.ErrInvalid, limit)
	}
	var entries []store.Entry
	err := s.pages(ctx, prefix, after, 0, limit, func(e store.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Snapshot implements store.Snapshotter.
func (s *Store) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	at, err := s.revision(ctx)
	if err != nil {
		return err
	}
	if err := begin(store.Revision(at)); err != nil {
		return err
	}
	return s.pages(ctx, "", "", at, math.MaxInt, func(e store.Entry) error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return each(e)
	})
}

// pages calls each for up to limit entries, all as of revision at; 0 is now.
// An etcd that compacts meanwhile makes it ErrUnavailable.
func (s *Store) pages(ctx context.Context, prefix, after string, at int64, limit int, each func(store.Entry) error) error {
	from, end := s.span(prefix)
	for {
		// The last key of a page, or after where it is later than the prefix,
		// and an octet more: the next key that can be.
		from = max(from, s.cfg.Prefix+after+"\x00")
		size := min(limit, pageSize)
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(size)), clientv3.WithRev(at)}
		resp, err := s.read(ctx, from, opts...)
		if err != nil {
			return err
		}
		at = resp.Header.Revision
		for _, kv := range resp.Kvs {
			e := store.Entry{Key: strings.TrimPrefix(string(kv.Key), s.cfg.Prefix), Value: kv.Value, Revision: store.Revision(kv.ModRevision)}
			if err := each(e); err != nil {
				return err
			}
			after = e.Key
		}
		if limit -= len(resp.Kvs); len(resp.Kvs) < size || limit == 0 {
			return nil
		}
	}
}

// span returns the range of the keys that begin with prefix, as etcd has it.
func (s *Store) span(prefix string) (from, end string) {
	from = s.cfg.Prefix + prefix
	end = clientv3.GetPrefixRangeEnd(from)
	if prefix == "" {
		from += "\x00" // the prefix itself is no entry
	}
	return from, end
}

// revision returns the revision that the cluster has now.
func (s *Store) revision(ctx context.Context) (int64, error) {
	resp, err := s.read(ctx, s.cfg.Prefix, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// read asks for key; while there is time, also the next member when one fails.
func (s *Store) read(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for {
		l, err := s.link(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := l.client.Get(ctx, key, opts...)
		if err == nil {
			return resp, nil
		}
		if err := fault(err); !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil || errors.Is(err, rpctypes.ErrCompacted) {
			return nil, err
		}
		s.doubted()
		select { // the heartbeat decides whether this member is to be given up
		case <-l.gone:
		case <-time.After(heartbeat / 5):
		case <-ctx.Done():
			return nil, fault(err)
		}
	}
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := s.room(b); err != nil {
		return 0, err
	}
	demands, ops, possible := s.transaction(b)
	if !possible {
		return 0, fmt.Errorf("%w: no entry has such a revision", store.ErrConflict)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	l, err := s.link(ctx)
	if err != nil {
		return 0, err
	}
	// Once, whatever happens: the outcome of a try that failed is unknown.
	resp, err := l.client.Txn(ctx).If(demands...).Then(ops...).Commit()
	if err != nil {
		s.doubted()
		return 0, fault(err)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("%w: a demand of the batch did not hold", store.ErrConflict)
	}
	return store.Revision(resp.Header.Revision), nil
}

// transaction returns b as etcd has it. It is not possible when it demands a
// revision that etcd cannot have.
func (s *Store) transaction(b store.Batch) (demands []clientv3.Cmp, ops []clientv3.Op, possible bool) {
	changes := false // surely
	for _, op := range b {
		key := s.cfg.Prefix + op.Key
		if op.IfRevision > math.MaxInt64 {
			return nil, nil, false
		}
		if op.IfAbsent || op.IfRevision != 0 {
			demands = append(demands, clientv3.Compare(clientv3.ModRevision(key), "=", int64(op.IfRevision)))
		}
		switch {
		case op.Action == store.Put:
			ops = append(ops, clientv3.OpPut(key, string(op.Value)))
			changes = true
		case op.Action == store.Delete && !op.IfAbsent:
			ops = append(ops, clientv3.OpDelete(key))
			changes = changes || op.IfRevision != 0
		}
	}
	if changes {
		return demands, ops, true
	}
	// etcd gives a revision only to what changes something.
	own := clientv3.OpPut(s.cfg.Prefix, "")
	if len(ops) < store.MaxOps {
		return demands, append(ops, own), true
	}
	// All are deletions without a demand, and one more is one too many for a
	// transaction; two within one are not.
	half := len(ops) / 2
	return nil, []clientv3.Op{own, clientv3.OpTxn(nil, ops[:half], nil), clientv3.OpTxn(nil, ops[half:], nil)}, true
}

// fault gives an error of etcd its word of the contract. Whatever is not known
// to be something else is an inability: of a write, the outcome is unknown.
func fault(err error) error {
	kind := store.ErrUnavailable
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd is over its quota: %s (%w)", store.ErrFull, remedy, err)
	case errors.Is(err, rpctypes.ErrCorrupt):
		kind = store.ErrDamaged
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		kind = store.ErrInvalid // a cluster with --max-txn-ops or --max-request-bytes below the default
	}
	return fmt.Errorf("%w: etcd: %w", kind, err)
}
