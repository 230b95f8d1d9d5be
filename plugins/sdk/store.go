package sdk

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// chunk is about how many octets of entries are sent in one message.
const chunk = 1 << 20

// storeServer answers from a store.
type storeServer struct {
	pluginv1.UnimplementedStoreServer
	store store.Store
}

func (s *storeServer) Get(ctx context.Context, req *pluginv1.GetRequest) (*pluginv1.GetResponse, error) {
	e, err := s.store.Get(ctx, string(req.Key))
	if err != nil {
		return nil, wire.StoreStatus(err)
	}
	return &pluginv1.GetResponse{Entry: entry(e)}, nil
}

func (s *storeServer) Scan(req *pluginv1.ScanRequest, stream grpc.ServerStreamingServer[pluginv1.ScanResponse]) error {
	limit := int(min(req.Limit, math.MaxInt32))
	entries, err := s.store.Scan(stream.Context(), string(req.Prefix), string(req.After), limit)
	if err != nil {
		return wire.StoreStatus(err)
	}
	pages := &pager{send: func(page []*pluginv1.Entry) error { return stream.Send(&pluginv1.ScanResponse{Entries: page}) }}
	for _, e := range entries {
		if err := pages.add(e); err != nil {
			return err
		}
	}
	return pages.flush()
}

// A pager sends entries in messages that are not too large.
type pager struct {
	send func([]*pluginv1.Entry) error
	page []*pluginv1.Entry
	size int
}

func (p *pager) add(e store.Entry) error {
	p.page = append(p.page, entry(e))
	p.size += len(e.Key) + len(e.Value)
	if p.size < chunk {
		return nil
	}
	return p.flush()
}

func (p *pager) flush() error {
	if len(p.page) == 0 {
		return nil
	}
	err := p.send(p.page)
	p.page, p.size = nil, 0
	return err
}

func (s *storeServer) Apply(ctx context.Context, req *pluginv1.ApplyRequest) (*pluginv1.ApplyResponse, error) {
	b := make(store.Batch, 0, len(req.Operations))
	for _, op := range req.Operations {
		b = append(b, operation(op))
	}
	r, err := s.store.Apply(ctx, b)
	if err != nil {
		return nil, wire.StoreStatus(err)
	}
	return &pluginv1.ApplyResponse{Revision: uint64(r)}, nil
}

func (s *storeServer) Watch(req *pluginv1.WatchRequest, stream grpc.ServerStreamingServer[pluginv1.WatchResponse]) error {
	events, err := s.store.Watch(stream.Context(), string(req.Prefix))
	if err != nil {
		return wire.StoreStatus(err)
	}
	if err := stream.Send(&pluginv1.WatchResponse{Started: true}); err != nil {
		return err
	}
	for e := range events {
		r := &pluginv1.WatchResponse{Reset_: e.Reset, Lost: e.Lost}
		if !e.Reset && !e.Lost {
			r.Deleted, r.Entry = e.Deleted, entry(e.Entry)
		}
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	return ended(stream.Context(), wire.StoreStatus, store.ErrUnavailable)
}

// ended is how a watch ends: nobody waits any more, or the plugin closed.
func ended(ctx context.Context, toStatus func(error) error, unavailable error) error {
	if err := ctx.Err(); err != nil {
		return toStatus(err)
	}
	return toStatus(fmt.Errorf("%w: the watch has ended", unavailable))
}

func (s *storeServer) Snapshot(_ *pluginv1.SnapshotRequest, stream grpc.ServerStreamingServer[pluginv1.SnapshotResponse]) error {
	snapshotter, ok := s.store.(store.Snapshotter)
	if !ok {
		return wire.StoreStatus(fmt.Errorf("%w: this store has no snapshots", store.ErrInvalid))
	}
	pages := &pager{send: func(page []*pluginv1.Entry) error { return stream.Send(&pluginv1.SnapshotResponse{Entries: page}) }}
	err := snapshotter.Snapshot(stream.Context(), func(r store.Revision) error {
		return stream.Send(&pluginv1.SnapshotResponse{Revision: uint64(r)})
	}, pages.add)
	if err == nil {
		err = pages.flush()
	}
	return wire.StoreStatus(err)
}

func entry(e store.Entry) *pluginv1.Entry {
	return &pluginv1.Entry{Key: []byte(e.Key), Value: e.Value, Revision: uint64(e.Revision)}
}

// operation keeps a value that may not be there as one, so that the batch is
// found invalid.
func operation(op *pluginv1.Operation) store.Op {
	o := store.Op{
		Key: string(op.GetKey()), IfAbsent: op.GetIfAbsent(), IfRevision: store.Revision(op.GetIfRevision()), Revokes: op.GetRevokes(),
	}
	if value := op.GetValue(); len(value) > 0 {
		o.Value = value
	}
	switch op.GetAction() {
	case pluginv1.Action_ACTION_PUT:
		o.Action = store.Put
	case pluginv1.Action_ACTION_DELETE:
		o.Action = store.Delete
	case pluginv1.Action_ACTION_CHECK:
		o.Action = store.Check
	}
	return o
}
