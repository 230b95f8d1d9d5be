package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keywicket/keywicket/core/store"
)

// What waits for one watcher at most; beyond it, all of it becomes one Reset.
const (
	maxEvents = 1024
	maxOctets = 8 << 20 // of keys and values
)

// silence is how long a watcher may be without proof that it misses nothing:
// a heartbeat that was answered over the connection of the watch, after the
// member had confirmed the watch. Beyond it comes Lost, and Reset with the next
// proof.
const (
	silence     = 2500 * time.Millisecond
	silenceTick = 250 * time.Millisecond // how often is looked
)

// Silence bounds for how long a watcher goes on, without the word Lost, after
// the last moment until which it has heard of everything.
const Silence = 3 * time.Second

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	at, err := s.revision(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	w := &watcher{s: s, prefix: prefix, out: make(chan store.Event), news: make(chan news), next: at + 1, proof: s.since()}
	s.watchers.Go(func() { w.run(ctx) })
	return w.out, nil
}

// A watcher follows one prefix over whichever link there is.
type watcher struct {
	s      *Store
	prefix string
	out    chan store.Event
	news   chan news

	next  int64         // the revision to go on from; 0: find out, as it was compacted
	proof time.Duration // until when nothing was missed, by Store.since
	lost  bool          // and it was said that this is too long ago

	queue  []store.Event
	octets int

	pumps sync.WaitGroup
	pump  *pump // nil: none runs
}

// A pump is the watch over one link, and tells what it hears.
type pump struct {
	w       *watcher
	link    *link
	cancel  context.CancelFunc
	created time.Duration // when the member confirmed the watch, for the watcher alone; 0: not yet
}

// news are what a pump tells.
type news struct {
	pump *pump
	from int64 // not 0: the watch begins anew there, and what was before is lost
	resp clientv3.WatchResponse
	over bool // the pump has ended
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.pumps.Wait()
	}()
	t := time.NewTicker(silenceTick)
	defer t.Stop()
	rest := false // after a pump that ended: until the next tick
	for {
		current, changed := w.s.peek()
		if w.pump != nil && w.pump.link != current {
			w.drop()
		}
		if w.pump == nil && current != nil && !rest {
			w.begin(ctx, current)
		}
		var out chan<- store.Event
		var oldest store.Event
		if len(w.queue) > 0 {
			out, oldest = w.out, w.queue[0]
		}
		select {
		case <-ctx.Done():
			return
		case <-w.s.ctx.Done():
			return
		case out <- oldest:
			w.queue[0] = store.Event{}
			w.queue = w.queue[1:]
			w.octets -= size(oldest)
		case n := <-w.news:
			if n.pump == w.pump {
				rest = w.take(n)
			}
		case <-changed:
		case <-t.C:
			rest = false
			w.checkSilence()
		}
	}
}

// begin watches over l.
func (w *watcher) begin(ctx context.Context, l *link) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	p, next := &pump{w: w, link: l, cancel: cancel}, w.next
	w.pump = p
	w.pumps.Go(func() {
		p.run(ctx, next)
		p.tell(ctx, news{over: true})
	})
}

// drop gives up what the pump still tells.
func (w *watcher) drop() {
	w.pump.cancel()
	w.pump = nil
}

// run watches from revision next on, until ctx or the watch ends.
func (p *pump) run(ctx context.Context, next int64) {
	if next == 0 {
		asked, cancel := context.WithTimeout(ctx, p.w.s.cfg.Timeout)
		defer cancel()
		resp, err := p.link.client.Get(asked, p.w.s.cfg.Prefix, clientv3.WithCountOnly())
		if err != nil {
			return
		}
		next = resp.Header.Revision + 1
		p.tell(ctx, news{from: next})
	}
	from, end := p.w.s.span(p.w.prefix)
	for resp := range p.link.client.Watch(ctx, from, clientv3.WithRange(end), clientv3.WithRev(next), clientv3.WithCreatedNotify(), clientv3.WithFragment()) {
		p.tell(ctx, news{resp: resp})
	}
}

func (p *pump) tell(ctx context.Context, n news) {
	n.pump = p
	select {
	case p.w.news <- n:
	case <-ctx.Done():
	}
}

// take notes n. It says whether the watch has ended.
func (w *watcher) take(n news) (ended bool) {
	switch {
	case n.over:
		w.drop()
		return true
	case n.from != 0:
		w.next = n.from
		w.reset() // not before: from here on nothing is missed
	case n.resp.CompactRevision != 0:
		w.next = 0
	case n.resp.Created:
		w.pump.created = w.s.since()
	}
	if err := n.resp.Err(); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		w.s.cfg.Logger.Warn("a watch of etcd has ended; beginning it again", "endpoint", n.pump.link.endpoint, "err", err)
	}
	for _, ev := range n.resp.Events {
		w.add(ev)
	}
	return false
}

func (w *watcher) add(ev *clientv3.Event) {
	w.next = ev.Kv.ModRevision + 1 // the events of a revision come in one response
	e := store.Event{
		Deleted: ev.Type == mvccpb.DELETE,
		Entry:   store.Entry{Key: strings.TrimPrefix(string(ev.Kv.Key), w.s.cfg.Prefix), Revision: store.Revision(ev.Kv.ModRevision)},
	}
	if !e.Deleted {
		e.Entry.Value = ev.Kv.Value
	}
	switch {
	case w.lost: // a Reset will come
		return
	case len(w.queue) >= maxEvents || w.octets+size(e) > maxOctets:
		w.reset() // the watcher will read everything anew, e too
		return
	}
	w.queue = append(w.queue, e)
	w.octets += size(e)
}

func size(e store.Event) int { return len(e.Entry.Key) + len(e.Entry.Value) }

// reset makes one Reset of all that waits; while lost, that is still to come.
func (w *watcher) reset() {
	w.queue, w.octets = []store.Event{{Reset: !w.lost, Lost: w.lost}}, 0
}

// checkSilence says Lost when it is too long ago that nothing was missed, and
// Reset when it no longer is.
func (w *watcher) checkSilence() {
	if w.pump != nil && w.pump.created != 0 {
		if confirmed := time.Duration(w.pump.link.confirmed.Load()); confirmed > w.pump.created {
			w.proof = max(w.proof, confirmed)
		}
	}
	if silent := w.s.since()-w.proof > w.s.cfg.silence; silent != w.lost {
		w.lost = silent
		w.reset()
	}
}
