package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

var (
	errLost    = errors.New("it says that changes may be missed")
	errWatches = errors.New("a watch of it has ended")
)

// run follows the shared store, again and again, until the Store is closed.
func (s *Store) run() {
	saved := s.clock.time()
	for s.ctx.Err() == nil {
		err := s.follow()
		s.leave(err)
		if now := s.clock.time(); now.Sub(saved) >= saveEvery/2 { // the time that passes without it counts too
			if err := s.save(s.ctx); err != nil {
				s.log.Warn("the age of the copy could not be written down", "err", err)
			}
			saved = now
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// join makes reads go to the shared store. Watchers drop what they hold: it may
// be the copy's.
func (s *Store) join() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = true
	s.hub.Publish([]store.Event{{Reset: true}})
	s.log.Info("the shared store answers")
}

// leave makes reads go to the copy, because of err.
func (s *Store) leave(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joined && !s.closed {
		s.hub.Publish([]store.Event{{Lost: true}})
		s.log.Warn("the shared store is out of reach; sign-ins go on from the copy", "err", err)
	}
	s.joined, s.trouble = false, err
}

// follow joins the shared store and feeds the copy, until it is out of reach.
func (s *Store) follow() error {
	ctx, fail := context.WithCancelCause(s.ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer fail(nil)
	events := make(chan store.Event)
	for _, prefix := range s.opt.Prefixes {
		in, err := s.remote.Watch(ctx, prefix)
		if err != nil {
			return err
		}
		parts.Go(func() {
			for e := range in {
				select {
				case events <- e:
				case <-ctx.Done():
				}
			}
			fail(errWatches)
		})
	}
	right, err := s.probe(ctx)
	if err != nil {
		return err
	}
	s.join()
	f := &following{s: s, events: events, compared: make(chan comparison), probed: make(chan time.Time)}
	parts.Go(func() { s.probes(ctx, f.probed, fail) })
	defer f.stopComparing()
	f.compare(ctx, right)
	return f.run(ctx)
}

// probe asks the shared store for anything. It returns when it was asked: what
// was written until then is known by its answer, but for what is on its way.
func (s *Store) probe(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	began := s.clock.time()
	if _, err := s.remote.Get(ctx, probeKey); err != nil && !errors.Is(err, store.ErrNotFound) {
		return began, fmt.Errorf("the shared store: %w", err)
	}
	return began, nil
}

// probes asks every probeEvery, and at once when a call has failed.
func (s *Store) probes(ctx context.Context, answered chan<- time.Time, fail func(error)) {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.doubt:
		}
		at, err := s.probe(ctx)
		if err != nil {
			fail(err)
			return
		}
		select {
		case answered <- at:
		case <-ctx.Done():
		}
	}
}

// A following is one time of following the shared store.
type following struct {
	s        *Store
	events   chan store.Event
	probed   chan time.Time
	compared chan comparison

	comparing sync.WaitGroup
	cancel    context.CancelFunc // of the comparison that runs; nil: none does
	right     bool               // the copy was compared, and has all events since
	again     <-chan time.Time   // when to compare after trouble with the local store
}

// A comparison is how one has ended.
type comparison struct {
	began   time.Time // what was written until then is in the copy
	changed bool      // something was wrong
	err     error
}

func (f *following) run(ctx context.Context) error {
	save := time.NewTicker(saveEvery / 2)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-f.events:
			if err := f.take(ctx, e); err != nil {
				return err
			}
		case c := <-f.compared:
			if err := f.finish(ctx, c); err != nil {
				return err
			}
		case at := <-f.probed:
			f.freshen(at)
		case <-f.s.spoilt:
			f.stopComparing()
			f.right, f.again = false, time.After(respite)
		case <-f.again:
			f.compare(ctx, f.s.clock.time())
		case <-save.C:
			if err := f.s.save(ctx); err != nil {
				f.s.log.Warn("the age of the copy could not be written down", "err", err)
			}
		}
	}
}

// take brings one change, and those that wait behind it, into the copy, and
// then to the watchers: what they have heard of is in the copy.
func (f *following) take(ctx context.Context, e store.Event) error {
	frames := make(map[string]frame)
	var events []store.Event
	flush := func() {
		if len(events) > 0 {
			f.s.note(frames)
			f.s.hub.Publish(events)
			frames, events = make(map[string]frame), nil
		}
	}
	for {
		switch {
		case e.Lost:
			flush()
			return errLost
		case e.Reset:
			flush()
			f.s.hub.Publish([]store.Event{e})
			f.compare(ctx, f.s.clock.time())
		default:
			fr := frame{kind: absent, revision: e.Entry.Revision}
			if !e.Deleted {
				fr = presentFrame(e.Entry)
			}
			frames[e.Entry.Key] = fr
			events = append(events, e)
		}
		if len(events) < store.MaxOps {
			select {
			case e = <-f.events:
				continue
			default:
			}
		}
		flush()
		return nil
	}
}

// freshen notes that the copy was right at that time.
func (f *following) freshen(at time.Time) {
	if !f.right {
		return
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !f.s.asOf.IsZero() && at.After(f.s.asOf) { // zero: it was spoilt in between
		f.s.asOf = at
	}
}
