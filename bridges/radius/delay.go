package radius

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	maxDelayed        = 16384 // Rejects that wait, of all clients
	maxDelayedPerPeer = 256   // 200 a second, each for at most 1.25 s
)

// A delayed is an Access-Reject that waits for its time.
type delayed struct {
	due      time.Time
	reply    []byte
	path     path
	peer     *peer
	exchange *exchange
}

// delays holds every Reject back until it is due. What does not fit is never
// sent: an early one would tell which names exist.
type delays struct {
	mu     sync.Mutex
	heap   delayHeap
	sooner chan struct{} // the first one changed
}

func newDelays() *delays { return &delays{sooner: make(chan struct{}, 1)} }

// add takes d, or reports that there is no room.
func (q *delays) add(d *delayed) bool {
	if d.peer.delayed.Add(1) > maxDelayedPerPeer {
		d.peer.delayed.Add(-1)
		return false
	}
	q.mu.Lock()
	full := len(q.heap) >= maxDelayed
	first := false
	if !full {
		heap.Push(&q.heap, d)
		first = q.heap[0] == d
	}
	q.mu.Unlock()
	if full {
		d.peer.delayed.Add(-1)
		return false
	}
	if first {
		select {
		case q.sooner <- struct{}{}:
		default:
		}
	}
	return true
}

// next returns the first that is due, or how long it is until there is one;
// an hour when nothing waits.
func (q *delays) next(now time.Time) (*delayed, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.heap) == 0 {
		return nil, time.Hour
	}
	if wait := q.heap[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	d := heap.Pop(&q.heap).(*delayed)
	d.peer.delayed.Add(-1)
	return d, 0
}

// run calls send for each at its time, until ctx ends. What waits then is
// never sent.
func (q *delays) run(ctx context.Context, send func(*delayed)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		d, wait := q.next(time.Now())
		if d != nil {
			send(d)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-q.sooner:
		case <-ctx.Done():
			return
		}
	}
}

// delayHeap is a container/heap by due.
type delayHeap []*delayed

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(*delayed)) }

func (h *delayHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
