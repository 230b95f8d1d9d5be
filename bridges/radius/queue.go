package radius

import "sync"

const (
	queueLen   = 1024 // requests of one client that wait
	maxWorkers = 32   // attempts of one client at a time
)

// A queue has the requests of one client that nobody works on yet. When it is
// full the oldest goes: its device has given up first.
type queue struct {
	mu      sync.Mutex
	waiting []*job // ring; nil before the first
	first   int
	n       int
	workers int
}

// put adds j. It returns the request that had to go for it, if any, and
// whether a worker shall be started.
func (q *queue) put(j *job) (gone *job, start bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.workers < maxWorkers {
		q.workers++
		start = true
	}
	switch {
	case q.waiting == nil:
		q.waiting = make([]*job, queueLen)
	case q.n == queueLen:
		gone = q.pop()
	}
	q.waiting[(q.first+q.n)%queueLen] = j
	q.n++
	return gone, start
}

// get returns the oldest request. Without one it returns nil, and the worker
// that asked is counted out.
func (q *queue) get() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		q.workers--
		return nil
	}
	return q.pop()
}

// waits says whether there are requests that nobody works on.
func (q *queue) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n > 0
}

func (q *queue) pop() *job {
	j := q.waiting[q.first]
	q.waiting[q.first] = nil
	q.first = (q.first + 1) % queueLen
	q.n--
	return j
}
