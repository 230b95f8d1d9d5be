package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// TestR26MadeUpSessions: a client that makes up sessions of an app password, of which
// it has a token, takes the room of its own, and not that of another client.
func TestR26MadeUpSessions(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		for n := range 3 {
			must(t, f.tell(session.Starts, fmt.Sprint(n), f.grant("vpn1", tv), session.Report{Device: fmt.Sprint("real", n)}))
			time.Sleep(time.Minute)
		}
		token := f.grant("evil", tv)
		for n := range 3 * session.MaxPerAppPassword {
			must(t, f.tell(session.GoesOn, fmt.Sprint(n), token, session.Report{Client: "evil"}))
		}
		left := map[string]int{}
		for _, s := range f.want(session.MaxPerAppPassword, f.Table) {
			left[s.Client]++
		}
		if left["vpn1"] != 3 {
			t.Errorf("left are %v", left)
		}
		x := newEnder()
		f.EndWith(x)
		f.take(tv)
		time.Sleep(time.Minute)
		f.want(0, f.Table)
	})
}

// TestC2ClockWasAhead: what was heard while the clock was wrong is over in time once
// it is right, and does not count for years.
func TestC2ClockWasAhead(t *testing.T) {
	try(t, func(t *testing.T, f *fixture) {
		const ahead = 4 * 365 * 24 * time.Hour
		f.ahead.Store(int64(ahead))
		for id, every := range map[string]time.Duration{"1": 0, "2": 10 * time.Minute} {
			must(t, f.tell(session.Starts, id, f.grant("vpn1", tv), session.Report{Every: every, At: time.Now().Add(ahead)}))
		}
		f.close()
		f.ahead.Store(0)
		f.open()
		time.Sleep(time.Second)
		must(t, f.tell(session.GoesOn, "1", nil, session.Report{HasOctets: true, OctetsIn: 7}))
		octets := uint64(0)
		for _, s := range f.want(2, f.Table) {
			octets += s.OctetsIn
			if s.Since.After(time.Now()) {
				t.Errorf("it began in %v", time.Until(s.Since))
			}
		}
		if octets != 7 {
			t.Errorf("%d octets", octets)
		}
		time.Sleep(33 * time.Minute)
		f.want(1, f.Table)
		time.Sleep(24 * time.Hour)
		f.want(0, f.Table)
		if n := f.Count(tv, session.Place{}); n != 0 {
			t.Errorf("%d count", n)
		}
		f.close()
		if left := f.store.records(t); len(left) != 0 {
			t.Errorf("%d records are left", len(left))
		}
		f.open()
	})
}

// TestStaleStoreAway: what is over is not left in the store for ever where that was
// away when it was to be removed.
func TestStaleStoreAway(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		table := f.node(f.ctx, "a", 1)
		must(t, table.Report(f.ctx, session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Every: time.Minute, Tokens: [][]byte{f.grant("vpn1", tv)}}))
		f.store.refuse(store.ErrUnavailable)
		time.Sleep(10 * time.Minute)
		f.want(0, table)
		f.store.refuse(nil)
		time.Sleep(time.Minute)
		if left := f.store.records(t); len(left) != 0 {
			t.Errorf("%d records are left", len(left))
		}
	})
}

// TestFaultyStore: whatever the store does with what, and whenever the node is killed
// or ends, what was answered is so: a client repeats what was not.
func TestFaultyStore(t *testing.T) {
	for range 100 {
		try(t, faultyStores)
	}
}

func faultyStores(t *testing.T, f *fixture) {
	const ids, steps = 5, 150
	f.close()
	f.store.faults = 3
	ctx, kill := context.WithCancel(f.ctx)
	var table *session.Table
	open := func() {
		ctx, kill = context.WithCancel(f.ctx)
		table = session.New(session.Options{
			Store: f.store, Keyring: f.keys, Now: time.Now, Log: slog.New(slog.DiscardHandler), Standing: f.standing,
			Ended: func(session.Session) {}, Damaged: func(key string) { t.Errorf("%s cannot be opened", key) },
		})
		for table.Load(ctx) != nil {
			time.Sleep(time.Second)
		}
		go table.Run(ctx)
	}
	open()
	defer func() { kill() }()
	var log []string
	there, octets := make(map[string]bool), make(map[string]uint64)
	tokens := make(map[string][]byte)
	for step := range uint64(steps) {
		id := fmt.Sprint(rand.N(ids))
		r := session.Report{Event: session.GoesOn, Client: "vpn1", ID: id, Device: id, Every: time.Hour, HasOctets: true, OctetsIn: step + 1}
		what := ""
		switch n := rand.N(10); {
		case n == 0:
			what = "killed"
			kill()
			synctest.Wait()
			open()
			clear(octets)
		case n == 1:
			what = "ended"
			kill()
			synctest.Wait()
			if table.Flush(f.ctx) != nil {
				clear(octets)
			}
			open()
		case n == 2:
			what = "began anew"
			for table.Forget(ctx, "vpn1", func(session.Session) bool { return true }) != nil {
				time.Sleep(time.Second)
			}
			clear(there)
			clear(octets)
		case !there[id]:
			what = "starts " + id
			time.Sleep(time.Millisecond)
			r.Event, tokens[id], there[id], octets[id] = session.Starts, f.grant("vpn1", tv), true, r.OctetsIn
		case n < 6:
			what = "stops " + id
			r.Event = session.Stopped
			delete(there, id)
			delete(octets, id)
		default:
			what = "goes on " + id
			octets[id] = r.OctetsIn
		}
		if n := strings.Fields(what); len(n) > 1 && n[1] == id || len(n) > 2 {
			if r.Event == session.Starts || rand.N(2) == 0 {
				r.Tokens = [][]byte{tokens[id]}
			}
			for table.Report(ctx, r) != nil {
				time.Sleep(time.Second)
			}
		}
		log = append(log, fmt.Sprint(time.Now(), " ", what))
		time.Sleep(rand.N([]time.Duration{1, time.Second, time.Minute}[rand.N(3)]))
		got := make(map[string]bool)
		for _, s := range table.List("") {
			got[s.Device] = true
			if want, ok := octets[s.Device]; ok && s.OctetsIn != want {
				t.Fatalf("%s has %d octets, want %d\n%s", s.Device, s.OctetsIn, want, strings.Join(log, "\n"))
			}
		}
		if !maps.Equal(got, there) {
			t.Fatalf("known are %v, want %v\n%s", got, there, strings.Join(log, "\n"))
		}
	}
}

// TestNodeNotRecorded: while the store fails, a node that shares it says of no end that
// it is recorded, however often it is told, also where it has not heard of the session.
func TestNodeNotRecorded(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		table, deaf := f.node(f.ctx, "a", 1), f.node(f.ctx, "b", 24*time.Hour)
		r := session.Report{Client: "vpn1", Tokens: [][]byte{f.grant("vpn1", tv)}}
		for _, r.ID = range []string{"1", "2", "3"} {
			r.Event = session.Starts
			must(t, table.Report(f.ctx, r))
		}
		time.Sleep(time.Second)
		f.store.refuse(store.ErrUnavailable)
		r.Event = session.Stopped
		for range 3 {
			for each, id := range map[*session.Table]string{table: "2", deaf: "3"} {
				r.ID = id
				if err := each.Report(f.ctx, r); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("the end of %s: %v", id, err)
				}
			}
			if err := table.Forget(f.ctx, "vpn1", func(session.Session) bool { return true }); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("the end of all: %v", err)
			}
			time.Sleep(time.Minute)
		}
		f.store.refuse(nil)
		must(t, table.Forget(f.ctx, "vpn1", func(session.Session) bool { return true }))
		r.ID = "3"
		must(t, deaf.Report(f.ctx, r))
		f.want(0, f.load())
	})
}

// TestNodeIsStillRemoving: an end that is on its way into the store is not recorded yet.
func TestNodeIsStillRemoving(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		table, all := f.node(f.ctx, "a", 1), func(session.Session) bool { return true }
		must(t, table.Report(f.ctx, session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Tokens: [][]byte{f.grant("vpn1", tv)}}))
		time.Sleep(time.Second)
		f.store.refuse(store.ErrUnavailable)
		if err := table.Forget(f.ctx, "vpn1", all); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("store down: %v", err)
		}
		f.store.refuse(nil)
		f.store.mu.Lock()
		f.store.hold = make(chan struct{})
		f.store.mu.Unlock()
		time.Sleep(31 * time.Second) // it is being removed
		left, leave := context.WithTimeout(f.ctx, time.Second)
		defer leave()
		if err := table.Forget(left, "vpn1", all); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("meanwhile: %v", err)
		}
		close(f.store.hold)
		must(t, table.Forget(f.ctx, "vpn1", all))
		f.want(0, f.load())
	})
}
