package radius

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	crowdLen  = 16                     // replies that go out together
	crowdWait = 500 * time.Microsecond // for the others, at most
)

// A crowd has replies of workers go out together while more requests wait for
// workers: a system call for each would be a good part of what they cost.
type crowd struct {
	n    atomic.Int32 // that have not gone out
	some chan struct{}
}

func newCrowd() crowd { return crowd{some: make(chan struct{}, 1)} }

// sendSoon is send, with others or a moment later.
func (s *Server) sendSoon(to *path, reply []byte) {
	s.put(to, reply)
	switch s.crowd.n.Add(1) {
	case 1:
		select {
		case s.crowd.some <- struct{}{}:
		default:
		}
	case crowdLen:
		s.crowd.n.Store(0) // what others put from here on has somebody send it again
		s.flush()
	}
}

// disperse sends what a crowd has, when it is time, until ctx ends.
func (s *Server) disperse(ctx context.Context) {
	for {
		select {
		case <-s.crowd.some:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(crowdWait):
		case <-ctx.Done():
			return
		}
		s.crowd.n.Store(0)
		s.flush()
	}
}
