package watch

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

// What waits for one watcher at most; beyond it, all of it becomes one Reset.
const (
	maxEvents = 1024
	maxOctets = 8 << 20 // of keys and values
)

// A Hub hands changes to watchers. Use New.
type Hub struct {
	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]struct{}
	running  sync.WaitGroup
}

// New returns a hub without watchers.
func New() *Hub {
	return &Hub{watchers: make(map[*watcher]struct{})}
}

// Watch is Store.Watch: events published after it returned arrive on the
// channel, which is closed when ctx ends or Close is called.
func (h *Hub) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	return h.WatchAfter(ctx, prefix, 0)
}

// WatchAfter is Watch for events of later revisions than after; before them come
// those of first.
func (h *Hub) WatchAfter(ctx context.Context, prefix string, after store.Revision, first ...store.Event) (<-chan store.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	w := &watcher{
		prefix: prefix,
		after:  after,
		queue:  first,
		out:    make(chan store.Event),
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
	}
	h.watchers[w] = struct{}{}
	h.running.Go(func() {
		w.run(ctx)
		h.mu.Lock()
		delete(h.watchers, w)
		h.mu.Unlock()
		close(w.out)
	})
	return w.out, nil
}

// Publish queues events for all who watch their keys. It never waits for a
// watcher. It keeps the values: the caller must not change them any more.
func (h *Hub) Publish(events []store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.add(events)
	}
}

// Close ends every watch and waits until all channels are closed. Watch fails
// from then on.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		for w := range h.watchers {
			close(w.stop)
		}
	}
	h.mu.Unlock()
	h.running.Wait()
}

// A watcher is a bounded queue and the goroutine that empties it.
type watcher struct {
	prefix string
	after  store.Revision
	out    chan store.Event
	wake   chan struct{} // holds a token when queue may have grown
	stop   chan struct{} // closed by Hub.Close

	mu     sync.Mutex
	queue  []store.Event
	octets int
}

func (w *watcher) add(events []store.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if e.Reset || e.Lost { // what waits is of no more use
			w.queue, w.octets = append(w.queue[:0:0], e), 0
			continue
		}
		if !strings.HasPrefix(e.Entry.Key, w.prefix) || e.Entry.Revision <= w.after {
			continue
		}
		size := len(e.Entry.Key) + len(e.Entry.Value)
		if len(w.queue) >= maxEvents || w.octets+size > maxOctets {
			// The watcher will read everything anew, so what waits is of no
			// more use to it, nor is e.
			w.queue, w.octets = []store.Event{{Reset: true}}, 0
			continue
		}
		w.queue = append(w.queue, e)
		w.octets += size
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest event. Its value is a copy: others may get the same.
func (w *watcher) next() (store.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return store.Event{}, false
	}
	e := w.queue[0]
	w.queue[0] = store.Event{}
	w.queue = w.queue[1:]
	w.octets -= len(e.Entry.Key) + len(e.Entry.Value)
	e.Entry.Value = bytes.Clone(e.Entry.Value)
	return e, true
}

func (w *watcher) run(ctx context.Context) {
	for {
		e, ok := w.next()
		if !ok {
			select {
			case <-w.wake:
				continue
			case <-w.stop:
				return
			case <-ctx.Done():
				return
			}
		}
		select {
		case w.out <- e:
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}
