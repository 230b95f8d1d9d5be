package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/storetest"
	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

const patience = 40 * time.Second

func put(key, value string) store.Batch {
	return store.Batch{{Action: store.Put, Key: key, Value: []byte(value)}}
}

// must puts key until it is acknowledged.
func must(t *testing.T, s store.Store, key, value string) store.Revision {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var r store.Revision
		if r, err = s.Apply(t.Context(), put(key, value)); err == nil {
			return r
		}
		if !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	t.Fatalf("put %q: %v", key, err)
	return 0
}

// want gets key until it is answered.
func want(t *testing.T, s store.Store, key, value string) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var e store.Entry
		e, err = s.Get(t.Context(), key)
		if err == nil {
			if string(e.Value) != value {
				t.Fatalf("%q is %q, want %q", key, e.Value, value)
			}
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	t.Fatalf("get %q: %v", key, err)
}

func watch(t *testing.T, s store.Store) <-chan store.Event {
	t.Helper()
	events, err := s.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// hear waits for a Reset or the change of revision r, and says which it was.
func hear(t *testing.T, events <-chan store.Event, r store.Revision) (reset bool) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, open := <-events:
			switch {
			case !open:
				t.Fatal("the watch was closed")
			case e.Reset:
				return true
			case !e.Lost && e.Entry.Revision == r:
				return false
			}
		case <-late:
			t.Fatalf("revision %d was not heard of", r)
		}
	}
}

// hearNext waits for the next event.
func hearNext(t *testing.T, events <-chan store.Event) store.Event {
	t.Helper()
	select {
	case e, open := <-events:
		if !open {
			t.Fatal("the watch was closed")
		}
		return e
	case <-time.After(patience):
		t.Fatal("nothing was heard")
	}
	return store.Event{}
}

// hearLost wants the word Lost to be the next one.
func hearLost(t *testing.T, events <-chan store.Event) {
	t.Helper()
	began := time.Now()
	if e := hearNext(t, events); !e.Lost {
		t.Fatalf("got %+v, want the word Lost", e)
	}
	t.Logf("Lost came %v later", time.Since(began).Round(time.Millisecond))
}

// heardAll waits for the change of revision r, through whatever Resets.
func heardAll(t *testing.T, events <-chan store.Event, s store.Store, key string) {
	t.Helper()
	for i := 0; ; i++ {
		if r := must(t, s, key, fmt.Sprint(i)); !hear(t, events, r) {
			return
		}
	}
}

// TestMemberFails: when the member in use is killed, or stops without hanging
// up, calls and watches go on with the others and nothing is lost.
func TestMemberFails(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 3, etcdtest.Options{})
	for i, m := range c.Members { // one of them leads
		for how, tt := range map[string]struct{ fail, repair func() }{"killed": {m.Kill, m.Start}, "stopped": {m.Pause, m.Resume}} {
			t.Run(fmt.Sprintf("member %d %s", i, how), func(t *testing.T) {
				urls := append(append([]string{}, c.URLs()[i:]...), c.URLs()[:i]...)
				s := open(t, etcdstore.Config{Endpoints: urls, Prefix: t.Name() + "/"})
				events := watch(t, s)
				hear(t, events, must(t, s, "before", "v"))
				tt.fail()
				began := time.Now()
				must(t, s, "meanwhile", "v")
				t.Logf("written after %v", time.Since(began).Round(time.Millisecond))
				want(t, s, "before", "v")
				heardAll(t, events, s, "heard")
				tt.repair()
				c.Ready()
			})
		}
	}
}

// TestQuorumLost: without a majority nothing is answered, and watchers are told
// that they may miss something; what was acknowledged is there afterwards. A
// write that was not answered is there or not, and stays so.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 3, etcdtest.Options{})
	s := open(t, etcdstore.Config{Endpoints: c.URLs(), Timeout: 2 * time.Second})
	events := watch(t, s)
	hear(t, events, must(t, s, "before", "acknowledged"))
	c.Members[0].Kill()
	c.Members[1].Kill()
	if _, err := s.Apply(t.Context(), put("meanwhile", "v")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a write without a majority: %v", err)
	}
	if _, err := s.Get(t.Context(), "before"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a read without a majority: %v", err)
	}
	if _, err := s.Watch(t.Context(), ""); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a watch without a majority: %v", err)
	}
	hearLost(t, events)
	c.Members[1].Start()
	want(t, s, "before", "acknowledged")
	heardAll(t, events, s, "after")
	// The outcome of the other is known by now.
	first, err := s.Get(t.Context(), "meanwhile")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	c.Members[0].Start()
	c.Ready()
	second, err2 := s.Get(t.Context(), "meanwhile")
	if errors.Is(err, store.ErrNotFound) != errors.Is(err2, store.ErrNotFound) || first.Revision != second.Revision {
		t.Errorf("the outcome has changed: %v %v, then %v %v", first, err, second, err2)
	}
}

// TestCutOff: a node behind a network that swallows everything hears Lost while
// it is still cut off; afterwards a Reset, and then every change.
func TestCutOff(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	p := etcdtest.NewProxy(t, c.Members[0])
	s := open(t, etcdstore.Config{Endpoints: []string{p.URL}})
	other := open(t, etcdstore.Config{Endpoints: c.URLs()})
	events := watch(t, s)
	hear(t, events, must(t, s, "before", "v"))
	p.Cut()
	hearLost(t, events)
	if _, err := s.Get(t.Context(), "before"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read while cut off: %v", err)
	}
	if s.Health(t.Context()) == nil {
		t.Error("the health of a store that is cut off is good")
	}
	must(t, other, "missed", "v")
	p.Heal()
	if e := hearNext(t, events); !e.Reset {
		t.Errorf("got %+v after the cut, want a Reset", e)
	}
	want(t, s, "missed", "v")
	if r := must(t, s, "after", "v"); hear(t, events, r) {
		t.Error("a second Reset came")
	}
}

// TestCompacted: changes that etcd has forgotten before a watcher heard of them
// become a Reset, and later ones are complete.
func TestCompacted(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	p := etcdtest.NewProxy(t, c.Members[0])
	s := open(t, etcdstore.Config{Endpoints: []string{p.URL}}.Patient(time.Hour)) // so that no other Reset comes
	other := open(t, etcdstore.Config{Endpoints: c.URLs()})
	events := watch(t, s)
	hear(t, events, must(t, s, "before", "v"))
	p.Cut()
	// Until the store has given up the connection, on which all would still come.
	if _, err := s.Apply(t.Context(), put("lost", "v")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a write while cut off: %v", err)
	}
	must(t, other, "missed", "1")
	c.Ctl("compaction", fmt.Sprint(must(t, other, "missed", "2")))
	p.Heal()
	want(t, s, "missed", "2")
	if e := hearNext(t, events); !e.Reset {
		t.Fatalf("got %+v, want a Reset", e)
	}
	heardAll(t, events, s, "after")
}

// TestFull: an etcd over its quota says ErrFull and what helps, reads go on, and
// so do writes when that was done.
func TestFull(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(8 << 20)}})
	s := open(t, etcdstore.Config{Endpoints: c.URLs()})
	must(t, s, "first", "v")
	c.Fill()
	_, err := s.Apply(t.Context(), put("second", "v"))
	if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "compact its history") {
		t.Fatalf("filled: %v", err)
	}
	want(t, s, "first", "v")
	s.Used()
	if err := s.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "takes no writes") {
		t.Errorf("the health of a full one: %v", err)
	}
	if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: "first", Revokes: true}}); !errors.Is(err, store.ErrFull) {
		t.Errorf("what takes access away: %v", err)
	}
	c.Drain()
	s.Used()
	must(t, s, "second", "v")
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("the health after that: %v", err)
	}
}

// TestReserve: near the quota, where it is known, only what takes access away is
// written, and once etcd is compacted and defragmented everything is.
func TestReserve(t *testing.T) {
	t.Parallel()
	const quota = 16 << 20
	c := etcdtest.Start(t, 1, etcdtest.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(quota), "--backend-batch-limit", "1"}})
	s := open(t, etcdstore.Config{Endpoints: c.URLs(), Quota: quota})
	must(t, s, "first", "v")
	var err error
	for i := 0; i < 1000 && err == nil; i++ { // the same again: it is its past that takes the room
		_, err = s.Apply(t.Context(), put("large", string(make([]byte, store.MaxValue))))
		s.Used()
	}
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "a quota of 16 MiB") {
		t.Fatalf("filled: %v", err)
	}
	if err := s.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "takes access away") {
		t.Errorf("the health near the quota: %v", err)
	}
	want(t, s, "first", "v")
	for range 10 {
		if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: "first", Value: make([]byte, 8<<10), Revokes: true}}); err != nil {
			t.Fatalf("what takes access away: %v", err)
		}
	}
	if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Delete, Key: "first"}}); err != nil {
		t.Errorf("a removal: %v", err)
	}
	c.Compact()
	c.Ctl("defrag")
	s.Used()
	must(t, s, "second", "v") // without an alarm to disarm
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("the health after that: %v", err)
	}
}

// TestSlowDisk: a write waits for the disks, and one for which they are too slow
// is unavailable and may have been carried out.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	s := open(t, etcdstore.Config{Endpoints: c.URLs(), Timeout: 2 * time.Second})
	events := watch(t, s)
	hear(t, events, must(t, s, "k", "before"))
	const slow = 400 * time.Millisecond
	restore := c.Members[0].SlowDisk(slow)
	began := time.Now()
	r := must(t, s, "k", "slow")
	if took := time.Since(began); took < slow {
		t.Errorf("a write took %v, on a disk that takes %v", took, slow)
	}
	hear(t, events, r)
	restore()
	restore = c.Members[0].SlowDisk(5 * time.Second)
	if _, err := s.Apply(t.Context(), put("k", "too slow")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write on a disk that takes 5 s: %v", err)
	}
	restore()
	hear(t, events, must(t, s, "after", "v"))
	e, err := s.Get(t.Context(), "k")
	if v := string(e.Value); err != nil || v != "slow" && v != "too slow" {
		t.Errorf("%q, error %v", v, err)
	}
}

// TestDurable: what was acknowledged is there after the member was killed.
func TestDurable(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	c.Members[0].Kill()
	storetest.RunDurable(t, func(tb testing.TB, _ string) (store.Store, func()) {
		c.Members[0].Start()
		c.Ready()
		s := open(tb, etcdstore.Config{Endpoints: c.URLs()})
		return s, func() {
			c.Members[0].Kill()
			_ = s.Close()
		}
	})
}

// TestRemoveMuch: a batch of only deletions, of as many as there can be, has a
// revision of its own, whether or not it removes something.
func TestRemoveMuch(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	s := open(t, etcdstore.Config{Endpoints: c.URLs()})
	last := must(t, s, "k007", "v")
	var b store.Batch
	for i := range store.MaxOps {
		b = append(b, store.Op{Action: store.Delete, Key: fmt.Sprintf("k%03d", i)})
	}
	for range 2 {
		r, err := s.Apply(t.Context(), b)
		if err != nil || r <= last {
			t.Fatalf("revision %d after %d: %v", r, last, err)
		}
		last = r
	}
	if entries, err := s.Scan(t.Context(), "", "", 10); err != nil || len(entries) != 0 {
		t.Errorf("%d entries are left: %v", len(entries), err)
	}
	if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Check, Key: "k", IfRevision: 1 << 63}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a revision that etcd cannot have: %v", err)
	}
}

// TestReadersMayLeave: a call ends with its context, whatever etcd does.
func TestReadersMayLeave(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	s := open(t, etcdstore.Config{Endpoints: c.URLs()})
	must(t, s, "k", "v")
	c.Members[0].Pause()
	defer c.Members[0].Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read of a member that hangs: %v", err)
	}
}
