package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/core/store/replica"
	"github.com/keywicket/keywicket/core/store/storetest"
)

// TestContract: with the shared store in reach the Store is one.
func TestContract(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) store.Store { return join(tb, memstore.New(), memstore.New()) })
	s := join(t, memstore.New(), memstore.New())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := storetest.CheckClosed(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// TestOnDisk: a copy in a real store serves a node that is started while it is
// cut off.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir() + "/copy"
	remote := newShared(memstore.New())
	var last store.Revision
	for life, cut := range []bool{false, true, true} {
		local, err := badgerstore.Open(dir, badgerstore.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		if cut {
			remote.cut()
		}
		s, err := replica.Open(t.Context(), remote, local, replica.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !cut {
			for !s.Status().Copied {
				time.Sleep(time.Millisecond) // between looks
			}
			if last, err = s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: "a", Value: []byte("v")}}); err != nil {
				t.Fatal(err)
			}
		}
		if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "v" || e.Revision != last {
			t.Errorf("life %d: %+v, error %v", life, e, err)
		}
		if err := errors.Join(s.Close(), local.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func join(tb testing.TB, remote, local store.Store) *replica.Store {
	tb.Helper()
	s, err := replica.Open(tb.Context(), remote, local, replica.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	for !s.Status().Joined {
		time.Sleep(time.Millisecond) // between looks
	}
	return s
}

// TestGoesOn: while the shared store is out of reach reads come from the copy,
// and what the copy cannot do is unavailable.
func TestGoesOn(t *testing.T) {
	for name, away := range map[string]func(*shared){"cut": (*shared).cut, "hanging": (*shared).hang} {
		t.Run(name, func(t *testing.T) {
			try(t, func(f *fixture) {
				f.put("a", "of another")
				f.apply(f, store.Op{Action: store.Put, Key: "b", Value: []byte("own")})
				f.put("gone", "v")
				f.del("gone")
				f.pass(2 * time.Second)
				away(f.remote)
				began := time.Now()
				f.has("a", "of another")
				if waited := time.Since(began); waited > time.Second {
					t.Errorf("the first answer took %v", waited)
				}
				f.pass(3 * time.Second)
				f.joined(false)
				began = time.Now()
				f.has("a", "of another")
				f.has("b", "own")
				f.hasNot("gone", store.ErrUnavailable)
				f.hasNot("never there", store.ErrUnavailable)
				f.hasNot("", store.ErrInvalid)
				_, err := f.Apply(f.t.Context(), store.Batch{{Action: store.Put, Key: "c"}})
				err2 := f.Snapshot(f.t.Context(), func(store.Revision) error { return nil }, func(store.Entry) error { return nil })
				for limit := 1; limit < 4; limit++ {
					entries, err := f.Scan(f.t.Context(), "", "", limit)
					if err != nil || len(entries) != min(limit, 2) || entries[0].Key != "a" || string(entries[0].Value) != "of another" {
						t.Errorf("Scan of the copy: %v, error %v", entries, err)
					}
				}
				_, err3 := f.Get(store.Current(f.t.Context()), "a")
				_, err4 := f.Scan(store.Current(f.t.Context()), "", "", 1)
				for _, err := range []error{err, err2, err3, err4} {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("without the shared store: %v", err)
					}
				}
				if waited := time.Since(began); waited > 0 {
					t.Errorf("answers without the shared store took %v", waited)
				}
				if st := f.Status(); !st.Copied || st.Age < 2*time.Second || st.Age > 5*time.Second {
					t.Errorf("status %+v after 3 s", st)
				}
			})
		})
	}
}

// TestComesBack: what others changed during a cut is seen at once when it ends,
// and is in the copy at the next cut.
func TestComesBack(t *testing.T) {
	for name, reads := range map[string]bool{"what was read in between": true, "what was compared alone": false} {
		t.Run(name, func(t *testing.T) { try(t, func(f *fixture) { comesBack(f, reads) }) })
	}
}

func comesBack(f *fixture, reads bool) {
	t := f.t
	for i := range 250 { // some pages
		f.put(fmt.Sprintf("k%03d", i), "v")
	}
	f.put("changed", "old")
	f.put("deleted", "old")
	f.put("made anew", "old")
	f.pass(2 * time.Second)
	f.remote.cut()
	f.pass(time.Minute)
	f.put("changed", "new")
	f.put("created", "new")
	f.del("deleted")
	f.del("k000")
	f.del("k249")
	for i := 90; i < 130; i++ {
		f.del(fmt.Sprintf("k%03d", i))
	}
	f.del("made anew")
	f.put("made anew", "new")
	f.has("changed", "old")
	f.has("deleted", "old")
	f.remote.heal()
	f.pass(time.Second)
	f.joined(true)
	check := func(none error) {
		t.Helper()
		f.has("changed", "new")
		f.has("created", "new")
		f.has("made anew", "new")
		f.has("k131", "v")
		f.has("k248", "v")
		for _, key := range []string{"deleted", "k000", "k090", "k129", "k249"} {
			f.hasNot(key, none)
		}
	}
	if reads {
		check(store.ErrNotFound)
	}
	f.pass(2 * time.Second)
	f.remote.cut()
	f.pass(time.Minute)
	check(store.ErrUnavailable)
}

// TestSeenStays: what this node has itself written, read or heard of is never
// shown as it was before, whatever did not reach the copy by the watch.
func TestSeenStays(t *testing.T) {
	for name, see := range map[string]func(f *fixture){
		"written": func(f *fixture) {
			f.apply(f, store.Op{Action: store.Put, Key: "changed", Value: []byte("new")}, store.Op{Action: store.Delete, Key: "deleted"})
		},
		"read": func(f *fixture) {
			f.put("changed", "new")
			f.del("deleted")
			f.has("changed", "new")
			f.hasNot("deleted", store.ErrNotFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(f *fixture) {
				f.put("changed", "old")
				f.put("deleted", "old")
				f.remote.deafen()
				see(f)
				f.remote.cut()
				check := func() {
					t.Helper()
					f.has("changed", "new")
					f.hasNot("deleted", store.ErrUnavailable)
				}
				check()
				f.pass(time.Minute)
				check()
				f.crash()
				f.start()
				check()
			})
		})
	}
}

// TestTooOld: a copy serves for MaxAge and no longer, over restarts, crashes and
// a clock that is set back.
func TestTooOld(t *testing.T) {
	const most = time.Hour
	for name, tt := range map[string]struct {
		during func(f *fixture, passed *time.Duration) // what happens within the hour
		exact  bool
	}{
		"nothing":           {func(*fixture, *time.Duration) {}, true},
		"a restart":         {func(f *fixture, _ *time.Duration) { f.stop(); f.start() }, true},
		"a crash":           {func(f *fixture, _ *time.Duration) { f.crash(); f.start() }, true},
		"clock set back":    {func(f *fixture, _ *time.Duration) { f.wrong = -24 * time.Hour }, true},
		"restart, set back": {func(f *fixture, _ *time.Duration) { f.stop(); f.wrong = -24 * time.Hour; f.start() }, false},
		"crash, set back":   {func(f *fixture, _ *time.Duration) { f.crash(); f.wrong = -24 * time.Hour; f.start() }, false},
		"many crashes, set back": {func(f *fixture, passed *time.Duration) {
			for range 100 {
				f.crash()
				f.wrong -= time.Hour
				f.start()
				f.pass(3 * time.Second)
				*passed += 3 * time.Second
			}
		}, false},
		"a day switched off": {func(f *fixture, passed *time.Duration) {
			f.stop()
			f.pass(24 * time.Hour)
			f.start()
			*passed += 24 * time.Hour
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			try(t, func(f *fixture) {
				f.put("a", "v")
				f.pass(10 * time.Second) // the age is counted from a probe, once a second
				f.remote.cut()
				passed := 30 * time.Minute
				f.pass(passed)
				if tt.during(f, &passed); passed < most {
					f.has("a", "v")
					f.joined(false)
				}
				if left := most - passed - time.Minute; left > 0 && tt.exact {
					f.pass(left)
					passed += left
					f.has("a", "v")
				}
				f.pass(max(0, most-passed+2*time.Second))
				f.hasNot("a", store.ErrUnavailable)
				if st := f.Status(); !st.Copied || st.Age <= st.MaxAge {
					t.Errorf("status %+v", st)
				}
				f.remote.heal()
				f.pass(3 * time.Second)
				f.has("a", "v")
				f.remote.cut()
				f.pass(time.Minute)
				f.has("a", "v")
			})
		})
	}
}

// TestFirstLife: without a copy from before, a node that is cut off says
// unavailable, and joins when it can.
func TestFirstLife(t *testing.T) {
	try(t, func(f *fixture) {
		f.put("a", "v")
		f.stop()
		f.local = &faulty{Store: memstore.New()}
		f.remote.cut()
		f.start()
		f.hasNot("a", store.ErrUnavailable)
		if st := f.Status(); st.Copied || st.Joined {
			t.Errorf("status %+v", st)
		}
		f.remote.heal()
		f.pass(time.Second)
		f.has("a", "v")
	})
}

// TestWatch: watchers hear each change, Lost at the cut and Reset after it; one
// that begins during the cut is told so.
func TestWatch(t *testing.T) {
	try(t, func(f *fixture) {
		events, err := f.Watch(f.t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		next := func(c <-chan store.Event) store.Event {
			t.Helper()
			synctest.Wait()
			select {
			case e := <-c:
				return e
			default:
				t.Error("nothing was heard")
				return store.Event{}
			}
		}
		f.put("b", "v")
		if r, e := f.put("a", "v"), next(events); e.Entry.Revision != r || e.Entry.Key != "a" {
			t.Errorf("got %+v", e)
		}
		f.remote.cut()
		f.pass(3 * time.Second)
		if e := next(events); !e.Lost {
			t.Errorf("got %+v, want Lost", e)
		}
		late, err := f.Watch(f.t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if e := next(late); !e.Lost {
			t.Errorf("got %+v, want Lost", e)
		}
		f.put("a", "missed")
		f.remote.heal()
		f.pass(time.Second)
		for _, c := range []<-chan store.Event{events, late} {
			for e := next(c); !e.Reset; e = next(c) {
				t.Errorf("got %+v, want a Reset", e)
			}
		}
		f.pass(time.Second)
		for len(drain(events)) > 0 { // a second Reset, when the copy was compared
		}
		if r, e := f.put("a", "after"), next(events); e.Entry.Revision != r {
			t.Errorf("got %+v", e)
		}
		f.remote.cut()
		f.pass(3 * time.Second)
		f.remote.heal()
		f.pass(3 * time.Second)
		if all := drain(events); len(all) == 0 || !all[len(all)-1].Reset {
			t.Errorf("heard %+v of a cut in which nothing happened, want a Reset", all)
		}
	})
}

func drain(c <-chan store.Event) (all []store.Event) {
	for {
		synctest.Wait()
		select {
		case e := <-c:
			all = append(all, e)
		default:
			return all
		}
	}
}

// TestPrefixes: what is not copied is the shared store's alone.
func TestPrefixes(t *testing.T) {
	try(t, func(f *fixture) {
		f.stop()
		f.opt.Prefixes = []string{"account/", "meta/"}
		f.start()
		f.put("account/a", "v")
		f.put("activity/a", "v")
		f.put("meta/m", "v")
		events, err := f.Watch(f.t.Context(), "activity/")
		if err != nil {
			t.Fatal(err)
		}
		f.put("activity/b", "v")
		if heard := drain(events); len(heard) != 1 {
			t.Errorf("heard %+v", heard)
		}
		f.pass(2 * time.Second)
		f.remote.cut()
		f.pass(3 * time.Second)
		f.has("account/a", "v")
		f.has("meta/m", "v")
		f.hasNot("activity/a", store.ErrUnavailable)
		if _, err := f.Scan(f.t.Context(), "a", "", 9); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a Scan of what is not all copied: %v", err)
		}
		if entries, err := f.Scan(f.t.Context(), "account/", "", 9); err != nil || len(entries) != 1 {
			t.Errorf("a Scan of what is copied: %v, error %v", entries, err)
		}
		if _, err := f.Watch(f.t.Context(), "activity/"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a watch of what is not copied: %v", err)
		}
	})
}

// TestTooLong: what does not fit into the copy is not in it, and is not taken
// for removed.
func TestTooLong(t *testing.T) {
	try(t, func(f *fixture) {
		long, key := string(bytes.Repeat([]byte("v"), store.MaxValue)), strings.Repeat("k", store.MaxKey)
		f.put("a", "short")
		f.has("a", "short")
		f.put("a", long)
		f.put(key, "v")
		f.has("a", long)
		f.pass(2 * time.Second)
		f.remote.cut()
		f.pass(3 * time.Second)
		f.hasNot("a", store.ErrUnavailable)
		f.hasNot(key, store.ErrUnavailable)
		if _, err := f.Scan(f.t.Context(), "", "", 9); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a Scan of what was too long: %v", err)
		}
		f.remote.heal()
		f.put("a", "short again")
		f.pass(3 * time.Second)
		f.remote.cut()
		f.pass(3 * time.Second)
		f.has("a", "short again")
	})
}

// TestCopyFails: a copy that cannot be written serves nothing any more, also
// after a restart, until it was compared as a whole; the shared store is used
// meanwhile as ever.
func TestCopyFails(t *testing.T) {
	try(t, func(f *fixture) {
		f.put("a", "old")
		f.pass(10 * time.Second)
		f.local.fail(store.ErrFull)
		f.remote.deafen()
		f.apply(f, store.Op{Action: store.Put, Key: "a", Value: []byte("new")})
		f.has("a", "new")
		f.joined(true)
		f.remote.cut()
		f.hasNot("a", store.ErrUnavailable)
		f.remote.heal()
		f.pass(time.Minute)
		f.has("a", "new")
		f.joined(true)
		f.local.fail(nil)
		f.pass(time.Minute)
		f.remote.cut()
		f.pass(time.Second)
		f.has("a", "new")
	})
}

// TestLostBehind: a shared store that says Lost is not taken for one that knows
// everything.
func TestLostBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := make(chan store.Event)
		s, err := replica.Open(t.Context(), saying{memstore.New(), says}, memstore.New(), replica.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		synctest.Wait()
		events, err := s.Watch(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		says <- store.Event{Lost: true}
		synctest.Wait()
		if s.Status().Joined {
			t.Error("joined a store that has said Lost")
		}
		time.Sleep(time.Second)
		if all := drain(events); len(all) == 0 || !all[len(all)-1].Reset || !s.Status().Joined {
			t.Errorf("heard %+v, joined %v", all, s.Status().Joined)
		}
		says <- store.Event{Reset: true}
		if all := drain(events); len(all) == 0 || !all[len(all)-1].Reset {
			t.Errorf("heard %+v, want a Reset", all)
		}
	})
}

// saying is a store whose watches say what they are told to.
type saying struct {
	store.Store
	says chan store.Event
}

func (s saying) Watch(ctx context.Context, _ string) (<-chan store.Event, error) {
	out := make(chan store.Event)
	go func() {
		defer close(out)
		for {
			select {
			case e := <-s.says:
				select {
				case out <- e:
				case <-ctx.Done():
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
