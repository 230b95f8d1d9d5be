package backup

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// A builder fills a new store, in batches that go in beside one another.
type builder struct {
	ctx     context.Context
	store   store.Store
	batch   store.Batch
	size    int
	written int

	slots  chan struct{}
	failed chan error
}

// parallel is how many batches are on their way at once.
const parallel = 8

func newBuilder(ctx context.Context, s store.Store) *builder {
	return &builder{ctx: ctx, store: s, slots: make(chan struct{}, parallel), failed: make(chan error, 1)}
}

// put adds one record. sealed is not kept.
func (b *builder) put(key string, sealed []byte) error {
	b.batch = append(b.batch, store.Op{Action: store.Put, Key: key, Value: append([]byte(nil), sealed...), IfAbsent: true})
	b.size += len(key) + len(sealed)
	b.written++
	if len(b.batch) < store.MaxOps && b.size < store.MaxBatch-store.MaxValue-store.MaxKey {
		return nil
	}
	return b.send()
}

// send lets the batch be applied.
func (b *builder) send() error {
	if len(b.batch) == 0 {
		return nil
	}
	batch := b.batch
	b.batch, b.size = nil, 0
	select {
	case err := <-b.failed:
		b.failed <- err // for whoever asks next
		return err
	case b.slots <- struct{}{}:
	}
	go func() {
		defer func() { <-b.slots }()
		if _, err := b.store.Apply(b.ctx, batch); err != nil {
			select {
			case b.failed <- err:
			default: // another was first
			}
		}
	}()
	return nil
}

// finish waits for all batches.
func (b *builder) finish() error {
	err := b.send()
	for range parallel { // no slot is free for good before its batch has ended
		b.slots <- struct{}{}
	}
	for range parallel {
		<-b.slots
	}
	if err != nil {
		return err
	}
	select {
	case err := <-b.failed:
		return err
	default:
		return nil
	}
}

// fill writes everything that the new store shall have. The record without
// which no daemon takes it comes last, and alone.
func (r *Restore) fill(ctx context.Context, s store.Store, suspend bool) (err error) {
	m := r.merger(r.plan.replaced, r.plan.history)
	m.gone, m.suspend = r.plan.gone, suspend
	b := newBuilder(ctx, s)
	meta, err := r.fillRecords(ctx, m, b)
	if err == nil {
		err = r.fillFacts(ctx, m, b)
	}
	if first := b.finish(); first != nil {
		err = first // which is why the others failed
	}
	if err != nil {
		return err
	}
	if err := r.finishStep("filled"); err != nil {
		return err
	}
	if m.replaced != nil {
		meta.LastSeen = max(meta.LastSeen, m.replaced.meta.LastSeen)
		for node, seen := range m.replaced.meta.Seen {
			if meta.Seen == nil {
				meta.Seen = make(map[string]int64)
			}
			meta.Seen[node] = max(meta.Seen[node], seen)
		}
	}
	sealed, err := sealRecord(r.opt.Keys, record.KeyMeta, meta)
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, store.Batch{{Action: store.Put, Key: record.KeyMeta, Value: sealed, IfAbsent: true}})
	return err
}

// fillRecords writes what the backup has, but the record that it returns.
func (r *Restore) fillRecords(ctx context.Context, m *merger, b *builder) (*record.Meta, error) {
	var meta record.Meta
	err := r.set.each(ctx, func(key string, sealed []byte) error {
		switch {
		case key == record.KeyMeta:
			opened, err := openRecord(r.opt.Keys, key, sealed)
			if err != nil {
				return err
			}
			proto.Merge(&meta, opened)
			return nil
		case strings.HasPrefix(key, keyRestored):
			return nil
		}
		value, err := m.merge(ctx, key, sealed)
		if err != nil || value == nil {
			return err
		}
		return b.put(key, value)
	})
	return &meta, err
}

// fillFacts writes that the store was restored, and what else was once seen.
func (r *Restore) fillFacts(ctx context.Context, m *merger, b *builder) error {
	at := r.opt.Now().UnixMilli()
	if at <= r.set.Newest().Lineage.Restored { // a clock that was set back makes no life that was before
		at = r.set.Newest().Lineage.Restored + 1
	}
	for key, since := range map[string]int64{keyRestored: at, keyRestoredFrom: r.set.Newest().Time.UnixMilli()} {
		sealed, err := sealRecord(r.opt.Keys, key, &record.Fact{Since: since})
		if err != nil {
			return err
		}
		if err := b.put(key, sealed); err != nil {
			return err
		}
	}
	if m.replaced == nil {
		return nil
	}
	return m.replaced.facts(ctx, func(key string, sealed []byte) error {
		if e, ok := r.set.index[key]; ok && !e.damaged {
			return nil
		}
		return b.put(key, sealed)
	})
}

func (r *Restore) finishStep(name string) error {
	if r.opt.step == nil {
		return nil
	}
	if err := r.opt.step(name); err != nil {
		return fmt.Errorf("after %s: %w", name, err)
	}
	return nil
}
