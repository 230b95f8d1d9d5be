package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// maxScan bounds what a plugin can make one Scan take, in octets.
const maxScan = 256 << 20

// pluginStore is a store.Store that asks a plugin, whichever of its lives there
// is.
type pluginStore struct{ p *plugged }

// Store returns the store that a plugin is. It outlives the plugin's processes:
// while there is none, calls wait for the next for as long as a call may take,
// and are then store.ErrUnavailable; a watch says that it is lost, and is begun
// again. Where the plugin runs and has no snapshots, neither has the store.
func (h *Host) Store(name string) (store.Store, error) {
	p, err := h.pick(name, KindStore)
	if err != nil {
		return nil, err
	}
	s := pluginStore{p}
	if i := p.now(); i != nil && !i.can(pluginv1.Capability_CAPABILITY_SNAPSHOT) {
		return s, nil
	}
	return snapshotStore{s}, nil
}

// now returns the instance that runs, or nil.
func (p *plugged) now() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// storeError is the error of a call in the words of the contract.
func storeError(err error) error {
	var gone errGone
	if err == nil || errors.As(err, &gone) {
		return err
	}
	return wire.StoreError(err)
}

func (s pluginStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	var e store.Entry
	err := s.p.do(ctx, call{"Get", true, func(ctx context.Context, on *instance, a *answered) error {
		r, err := pluginv1.NewStoreClient(on.conn).Get(ctx, &pluginv1.GetRequest{Key: []byte(key)}, a.options()...)
		if err != nil {
			return err
		}
		if string(r.GetEntry().GetKey()) != key {
			return wrong("asked for %q, it answers for %q", key, r.GetEntry().GetKey())
		}
		e, err = entryOf(r.Entry)
		return err
	}})
	if err != nil {
		return store.Entry{}, storeError(err)
	}
	return e, nil
}

// entryOf returns an entry that a plugin sent, if it can be one.
func entryOf(e *pluginv1.Entry) (store.Entry, error) {
	switch {
	case len(e.GetKey()) == 0 || len(e.Key) > store.MaxKey:
		return store.Entry{}, wrong("an entry has a key of %d octets", len(e.GetKey()))
	case len(e.Value) > store.MaxValue:
		return store.Entry{}, wrong("an entry has a value of %d octets", len(e.Value))
	case e.Revision == 0:
		return store.Entry{}, wrong("an entry has no revision")
	}
	value := e.Value
	if value == nil {
		value = []byte{}
	}
	return store.Entry{Key: string(e.Key), Value: value, Revision: store.Revision(e.Revision)}, nil
}

func (s pluginStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a limit of %d", store.ErrInvalid, limit)
	}
	var all []store.Entry
	err := s.p.do(ctx, call{"Scan", true, func(ctx context.Context, on *instance, a *answered) error {
		all = nil
		stream, err := pluginv1.NewStoreClient(on.conn).Scan(ctx, &pluginv1.ScanRequest{
			Prefix: []byte(prefix), After: []byte(after), Limit: uint32(min(limit, 1<<31-1)),
		})
		if err != nil {
			return err
		}
		scan := scanned{prefix: prefix, last: after, left: limit}
		for {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				a.of(stream)
				return err
			}
			if all, err = scan.take(all, r.Entries); err != nil {
				return err
			}
		}
	}})
	if err != nil {
		return nil, storeError(err)
	}
	return all, nil
}

// scanned is what may still come of a Scan.
type scanned struct {
	prefix, last string
	left, size   int
}

func (s *scanned) take(all []store.Entry, page []*pluginv1.Entry) ([]store.Entry, error) {
	for _, sent := range page {
		e, err := entryOf(sent)
		if err != nil {
			return nil, err
		}
		s.left--
		s.size += len(e.Key) + len(e.Value)
		switch {
		case !strings.HasPrefix(e.Key, s.prefix):
			return nil, wrong("asked for keys that begin with %q, it sends %q", s.prefix, e.Key)
		case e.Key <= s.last:
			return nil, wrong("%q comes after %q", e.Key, s.last)
		case s.left < 0 || s.size > maxScan:
			return nil, wrong("it sends more than it was asked for")
		}
		s.last = e.Key
		all = append(all, e)
	}
	return all, nil
}

func (s pluginStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	req := &pluginv1.ApplyRequest{}
	for _, op := range b {
		req.Operations = append(req.Operations, operation(op))
	}
	var rev store.Revision
	err := s.p.do(ctx, call{"Apply", false, func(ctx context.Context, on *instance, a *answered) error {
		r, err := pluginv1.NewStoreClient(on.conn).Apply(ctx, req, a.options()...)
		if err != nil {
			return err
		}
		if rev = store.Revision(r.Revision); rev == 0 {
			return wrong("it applied a batch without a revision")
		}
		return nil
	}})
	if err != nil {
		return 0, storeError(err)
	}
	return rev, nil
}

func operation(op store.Op) *pluginv1.Operation {
	actions := map[store.Action]pluginv1.Action{
		store.Put: pluginv1.Action_ACTION_PUT, store.Delete: pluginv1.Action_ACTION_DELETE, store.Check: pluginv1.Action_ACTION_CHECK,
	}
	return &pluginv1.Operation{
		Action: actions[op.Action], Key: []byte(op.Key), Value: op.Value,
		IfAbsent: op.IfAbsent, IfRevision: uint64(op.IfRevision), Revokes: op.Revokes,
	}
}

func (s pluginStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	out, err := watch(ctx, s.p, watching[store.Event]{
		open: func(ctx context.Context, on *instance) (func() (store.Event, bool, error), error) {
			stream, err := pluginv1.NewStoreClient(on.conn).Watch(ctx, &pluginv1.WatchRequest{Prefix: []byte(prefix)})
			if err != nil {
				return nil, err
			}
			return func() (store.Event, bool, error) {
				r, err := stream.Recv()
				if err != nil {
					return store.Event{}, false, err
				}
				e, err := storeEvent(prefix, r)
				return e, r.Started, err
			}, nil
		},
		can:  func(*instance) bool { return true },
		lost: store.Event{Lost: true}, reset: store.Event{Reset: true},
	}, true)
	return out, storeError(err)
}

// storeEvent returns what a plugin told, if it can be.
func storeEvent(prefix string, r *pluginv1.WatchResponse) (store.Event, error) {
	if r.Reset_ || r.Lost || r.Started {
		if r.Reset_ && r.Lost || r.Started && (r.Reset_ || r.Lost) || r.Deleted || r.Entry != nil {
			return store.Event{}, wrong("an event that is several")
		}
		return store.Event{Reset: r.Reset_, Lost: r.Lost}, nil
	}
	e, err := entryOf(r.Entry)
	switch {
	case err != nil:
		return store.Event{}, err
	case !strings.HasPrefix(e.Key, prefix):
		return store.Event{}, wrong("an event of %q, where %q is watched", e.Key, prefix)
	case r.Deleted && len(e.Value) > 0:
		return store.Event{}, wrong("an entry that was deleted and has a value")
	case r.Deleted:
		e.Value = nil
	}
	return store.Event{Deleted: r.Deleted, Entry: e}, nil
}

// snapshotStore is one whose plugin has snapshots.
type snapshotStore struct{ pluginStore }

var _ store.Snapshotter = snapshotStore{}

func (s snapshotStore) Snapshot(ctx context.Context, begin func(store.Revision) error, each func(store.Entry) error) error {
	waiting, tell := ctx, each
	each = func(e store.Entry) error { // a page may have come before nobody waited for it any more
		if err := waiting.Err(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return tell(e)
	}
	on, err := s.p.acquire(ctx)
	if err != nil {
		return s.p.gone(err)
	}
	defer on.calls.Done()
	if !on.can(pluginv1.Capability_CAPABILITY_SNAPSHOT) {
		return fmt.Errorf("%w: plugin %s has no snapshots", store.ErrInvalid, s.p.name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pluginv1.NewStoreClient(on.conn).Snapshot(ctx, &pluginv1.SnapshotRequest{})
	if err != nil {
		return s.p.gone(wire.StoreError(err))
	}
	var own error // that begin or each said
	last, begun := "", false
	for {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && begun:
			return nil
		case errors.Is(err, io.EOF):
			return s.p.gone(errors.New("its snapshot has no revision"))
		case err != nil:
			var a answered
			if a.of(stream); a.byPlugin() {
				return wire.StoreError(err)
			}
			return s.p.gone(wire.StoreError(err))
		}
		if err := s.page(r, &begun, &last, &own, begin, each); own != nil {
			return own
		} else if err != nil {
			s.p.fault("Snapshot", err)
			return s.p.gone(err)
		}
	}
}

func (s snapshotStore) page(r *pluginv1.SnapshotResponse, begun *bool, last *string, own *error, begin func(store.Revision) error, each func(store.Entry) error) error {
	if *begun == (r.Revision != 0) {
		return wrong("a snapshot has one revision, in its first message")
	}
	if !*begun {
		*begun = true
		if *own = begin(store.Revision(r.Revision)); *own != nil {
			return nil
		}
	}
	for _, sent := range r.Entries {
		e, err := entryOf(sent)
		switch {
		case err != nil:
			return err
		case e.Key <= *last:
			return wrong("%q comes after %q", e.Key, *last)
		}
		*last = e.Key
		if *own = each(e); *own != nil {
			return nil
		}
	}
	return nil
}
