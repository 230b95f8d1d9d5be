package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// newGroup opens a store and stops its committer, so that the test decides what
// is in a group.
func newGroup(t *testing.T) *committer {
	t.Helper()
	return newGroupWith(t, Options{})
}

func newGroupWith(t *testing.T, opts Options) *committer {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "store"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Filled()
	s.commit.close()
	return &committer{s: s, staged: make(map[string]bool), requests: make(chan *request), roomy: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{})}
}

func ask(ctx context.Context, b ...store.Op) *request {
	return &request{ctx: ctx, batch: framedBatch(b), answer: make(chan answer, 1)}
}

func putOp(key, value string) store.Op {
	return store.Op{Action: store.Put, Key: key, Value: []byte(value)}
}

func (r *request) answered(t *testing.T) answer {
	t.Helper()
	select {
	case a := <-r.answer:
		return a
	default:
		t.Fatal("a request has no answer")
		return answer{}
	}
}

// In a group each batch sees those before it, gets its own revision, and fails
// alone.
func TestGroup(t *testing.T) { inEachGroup(t, checkGroup) }

// inEachGroup runs check without a memory, and with each that there can be.
func inEachGroup(t *testing.T, check func(t *testing.T, c *committer)) {
	t.Helper()
	for name, opts := range map[string]Options{
		"from the disk": {}, "from memory": {Memory: 1 << 20, Held: []string{""}}, "knowing what there is": {Memory: 1 << 20, Known: []string{""}},
	} {
		t.Run(name, func(t *testing.T) { check(t, newGroupWith(t, opts)) })
	}
}

func checkGroup(t *testing.T, c *committer) {
	t.Helper()
	ended, end := context.WithCancel(t.Context())
	end()
	absent := func(op store.Op) store.Op { op.IfAbsent = true; return op }
	at := func(op store.Op, r store.Revision) store.Op { op.IfRevision = r; return op }
	group := []*request{
		ask(t.Context(), absent(putOp("a", "first"))),
		ask(t.Context(), absent(putOp("a", "second")), putOp("b", "never")),
		ask(ended, putOp("c", "never")),
		ask(t.Context(), at(putOp("a", "third"), 1)),
		ask(t.Context(), at(putOp("a", "fourth"), 1)),
		ask(t.Context(), store.Op{Action: store.Delete, Key: "a", IfRevision: 2}),
		ask(t.Context(), absent(putOp("a", "fifth"))),
	}
	c.commit(group)
	for i, want := range []answer{{1, nil}, {0, store.ErrConflict}, {0, context.Canceled}, {2, nil}, {0, store.ErrConflict}, {3, nil}, {4, nil}} {
		if a := group[i].answered(t); a.revision != want.revision || !errors.Is(a.err, want.err) {
			t.Errorf("%d: revision %d, error %v; want %d, %v", i, a.revision, a.err, want.revision, want.err)
		}
	}
	next := ask(t.Context(), putOp("d", "1"))
	c.commit([]*request{next})
	if a := next.answered(t); a.err != nil || len(c.staged) > 1 {
		t.Errorf("error %v; %d keys are staged of one", a.err, len(c.staged))
	}
	again := []*request{ask(t.Context(), store.Op{Action: store.Delete, Key: "d"}), ask(t.Context(), absent(putOp("d", "2")))}
	c.commit(again)
	for i, r := range again {
		if a := r.answered(t); a.err != nil {
			t.Errorf("%d of what is deleted and made again: error %v", i, a.err)
		}
	}
	for key, want := range map[string]string{"a": "fifth", "b": "", "c": "", "d": "2"} {
		e, err := c.s.Get(t.Context(), key)
		if (want == "") != errors.Is(err, store.ErrNotFound) || string(e.Value) != want {
			t.Errorf("%s is %q, error %v; want %q", key, e.Value, err, want)
		}
	}
}

// A batch that Badger does not take fails alone, and the store goes on.
func TestGroupWithBadBatch(t *testing.T) { inEachGroup(t, checkGroupWithBadBatch) }

func checkGroupWithBadBatch(t *testing.T, c *committer) {
	t.Helper()
	group := []*request{
		ask(t.Context(), store.Op{Action: store.Put, Key: "a", Value: []byte("1"), IfAbsent: true}),
		ask(t.Context(), putOp("b", "1"), putOp(strings.Repeat("k", 70_000), "too long for Badger")),
		ask(t.Context(), putOp("c", "1")),
	}
	c.commit(group)
	c.commit(group[1:2]) // also when it is alone
	for i, fails := range []bool{false, true, false} {
		if a := group[i].answered(t); (a.err != nil) != fails || (a.revision == 0) != fails {
			t.Errorf("%d: revision %d, error %v", i, a.revision, a.err)
		}
	}
	if _, err := c.s.Get(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of the batch is there: %v", err)
	}
	more := ask(t.Context(), putOp("d", "1"))
	c.commit([]*request{more})
	if a := more.answered(t); a.err != nil || c.failed != nil {
		t.Error(a.err, c.failed)
	}
}

// A failed transaction fails every batch of its group, also one that only
// conflicted with another of it.
func TestGroupFails(t *testing.T) {
	c := newGroup(t)
	if err := c.s.ack.f.Close(); err != nil {
		t.Fatal(err)
	}
	failsTogether(t, c)
	var err error
	if c.s.ack, err = openAck(c.s.dir, c.s.log); err != nil {
		t.Fatal(err)
	}
}

// The same for a log that cannot be synced.
func TestSyncFails(t *testing.T) {
	c := newGroup(t)
	if err := c.s.logs.file.Close(); err != nil {
		t.Fatal(err)
	}
	failsTogether(t, c)
	if _, err := c.s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what may not be on disk is read: %v", err)
	}
	c.s.logs.file = nil
	if err := c.s.logs.follow(c.s.logs.current); err != nil {
		t.Fatal(err)
	}
}

func failsTogether(t *testing.T, c *committer) {
	t.Helper()
	first := ask(t.Context(), store.Op{Action: store.Put, Key: "a", IfAbsent: true})
	second := ask(t.Context(), store.Op{Action: store.Put, Key: "a", IfAbsent: true})
	c.commit([]*request{first, second})
	for _, r := range []*request{first, second} {
		if a := r.answered(t); !errors.Is(a.err, store.ErrUnavailable) {
			t.Error(a.err)
		}
	}
	if err := c.s.Degraded(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Degraded: %v", err)
	}
}

// No group is too large for Badger, whatever is in it; nobody is left out, and
// who does not fit begins the next one.
func TestTake(t *testing.T) {
	c := newGroup(t)
	const writers = 40
	for i := range writers {
		value := strings.Repeat("v", (i*7919*31)%store.MaxValue)
		r := ask(t.Context(), putOp(fmt.Sprint(i), value), putOp(fmt.Sprint(i, "/"), value))
		go func() { c.requests <- r }()
	}
	time.Sleep(20 * time.Millisecond) // most of them wait by now
	groups, taken := 0, make(map[string]bool)
	for len(taken) < writers {
		held := c.held
		group, ok := c.take()
		if !ok {
			t.Fatal("take gave up")
		}
		if held != nil && group[0] != held {
			t.Error("who was held back was overtaken")
		}
		octets := 0
		for _, r := range group {
			taken[r.batch[0].Key] = true
			octets += r.octets()
		}
		if octets > maxGroup {
			t.Errorf("a group of %d octets", octets)
		}
		groups++
		c.commit(group) // Badger takes it as one
		for _, r := range group {
			if a := r.answered(t); a.err != nil {
				t.Error(a.err)
			}
		}
	}
	if groups < 5 || groups == writers {
		t.Errorf("%d groups", groups)
	}
}

// What waits when the store closes is refused, also what take has in its hand;
// whose context ends while waiting gets an answer.
func TestCloseWhileWaiting(t *testing.T) {
	c := newGroup(t)
	held := ask(t.Context(), putOp("held", ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancelled, waiting := make(chan error), make(chan error)
	go func() { _, err := c.apply(ctx, store.Batch{putOp("a", "")}); cancelled <- err }()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("its context ended: %v", err)
	}
	go func() { _, err := c.apply(t.Context(), store.Batch{putOp("b", "")}); waiting <- err }()
	close(c.stop)
	if err := <-waiting; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("waiting: %v", err)
	}
	c.held = held
	c.run() // commits what it holds, or refuses it, but does not forget it
	held.answered(t)
}
