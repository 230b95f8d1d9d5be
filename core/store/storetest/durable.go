package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

// RunDurable checks that what was acknowledged is there after the store's
// process was killed in the middle of writing, whole, and that revisions go
// on. It does so several times over on one directory.
//
// open opens the store in dir; kill ends it the hard way, without a Close, and
// returns when it is gone. A real kill needs a process of its own: let open
// start the test binary anew with Serve in it, return Dial to it, and let kill
// send SIGKILL. A loss of power cannot be had this way; it needs a file system
// that forgets what was not synced.
func RunDurable(t *testing.T, open func(tb testing.TB, dir string) (s store.Store, kill func())) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir() + "/store"
	if err := CheckDurable(ctx, func() (store.Store, func()) { return open(t, dir) }); err != nil {
		t.Error(err)
	}
}

const (
	lives       = 4
	acksPerLife = 120
)

// A lane is one writer's pair of keys. It writes to nobody else's.
type lane struct {
	a, b  string
	tries int            // values tried last: the number itself
	acked int            // number acknowledged last
	rev   store.Revision // and its revision
}

// CheckDurable does what RunDurable does, from outside of a test: open opens the
// same store each time. What it leaves there, the caller removes.
func CheckDurable(ctx context.Context, open func() (store.Store, func())) error {
	lanes := make([]*lane, 4)
	for i := range lanes {
		lanes[i] = &lane{a: fmt.Sprintf("lane %d a", i), b: fmt.Sprintf("lane %d b", i)}
	}
	var highest store.Revision // that anybody saw
	for life := range lives {
		s, kill := open()
		err := checkLanes(ctx, s, lanes)
		if err == nil {
			err = checkGoesOn(ctx, s, &highest)
		}
		if err != nil {
			kill()
			return fmt.Errorf("after %d kills: %w", life, err)
		}
		writeUntilKilled(ctx, s, kill, lanes)
		for _, l := range lanes {
			highest = max(highest, l.rev)
		}
	}
	s, kill := open()
	defer kill()
	return errors.Join(checkLanes(ctx, s, lanes), checkGoesOn(ctx, s, &highest))
}

// checkGoesOn demands that revisions are higher than in former lives.
func checkGoesOn(ctx context.Context, s store.Store, highest *store.Revision) error {
	r, err := apply(ctx, s, put("life", ""))
	if err == nil && r <= *highest {
		err = fmt.Errorf("revision %d comes after %d", r, *highest)
	}
	*highest = max(*highest, r)
	return err
}

// writeUntilKilled lets each lane write and delete both of its keys in turn.
// Once enough was acknowledged, the store is killed in the midst of it.
func writeUntilKilled(ctx context.Context, s store.Store, kill func(), lanes []*lane) {
	var group sync.WaitGroup
	var acks atomic.Int64
	enough := make(chan struct{})
	for _, l := range lanes {
		group.Go(func() {
			for {
				l.tries++
				value := fmt.Sprint(l.tries)
				b := store.Batch{put(l.a, value), put(l.b, value)}
				if l.tries%7 == 0 {
					b = store.Batch{del(l.a), del(l.b)}
				}
				r, err := s.Apply(ctx, b)
				if err != nil {
					return
				}
				l.acked, l.rev = l.tries, r
				if acks.Add(1) == acksPerLife {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-ctx.Done():
	}
	kill()
	group.Wait()
}

// checkLanes demands of each lane that both keys are as its last write left
// them: the one acknowledged last, or the one that was under way.
func checkLanes(ctx context.Context, s store.Store, lanes []*lane) error {
	for _, l := range lanes {
		a, errA := s.Get(ctx, l.a)
		b, errB := s.Get(ctx, l.b)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("Get: %w", err)
			}
		}
		if (errA == nil) != (errB == nil) || string(a.Value) != string(b.Value) || a.Revision != b.Revision {
			return fmt.Errorf("half a batch is there: %q at %d and %q at %d", a.Value, a.Revision, b.Value, b.Revision)
		}
		if !holds(a, errA == nil, l.acked) && !holds(a, errA == nil, l.tries) {
			return fmt.Errorf("write %d was acknowledged and %d tried, but %q is there", l.acked, l.tries, a.Value)
		}
		if errA == nil && string(a.Value) == fmt.Sprint(l.acked) && a.Revision != l.rev {
			return fmt.Errorf("write %d was acknowledged at %d and is there at %d", l.acked, l.rev, a.Revision)
		}
		// What is there now is the starting point of the next life.
		if errA == nil {
			_, _ = fmt.Sscan(string(a.Value), &l.acked)
			l.rev = a.Revision
		} else if !holds(a, false, l.acked) {
			l.acked = l.tries
		}
	}
	return nil
}

// holds says whether the entry is what write n leaves.
func holds(e store.Entry, there bool, n int) bool {
	if n%7 == 0 { // also 0, before the first write
		return !there
	}
	return there && string(e.Value) == fmt.Sprint(n)
}
