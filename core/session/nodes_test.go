package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// nodes are tables that share the store of their fixture.
type nodes struct {
	*fixture
	running sync.WaitGroup
}

// tryNodes is try with nodes, which run until fn is over.
func tryNodes(t *testing.T, fn func(t *testing.T, n *nodes)) {
	try(t, func(t *testing.T, f *fixture) {
		n := &nodes{fixture: f}
		defer n.running.Wait()
		ctx, stop := context.WithCancel(f.ctx)
		defer stop()
		f.ctx = ctx
		fn(t, n)
	})
}

// node runs a table of that name, which hears of changes after up to the delay, until
// ctx ends.
func (f *nodes) node(ctx context.Context, name string, delay time.Duration) *session.Table {
	f.t.Helper()
	table := session.New(session.Options{
		Store: f.store, Keyring: f.keys, Now: time.Now, Log: slog.New(slog.DiscardHandler), Standing: f.standing, Node: name,
		Ended: func(session.Session) {}, Damaged: func(key string) { f.t.Errorf("%s cannot be opened", key) },
	})
	must(f.t, table.Load(ctx))
	events, err := f.store.Watch(ctx, "session/")
	must(f.t, err)
	must(f.t, table.Compare(ctx))
	f.running.Go(func() { table.Run(ctx) })
	f.running.Go(func() {
		for ev := range events {
			time.Sleep(rand.N(delay))
			switch {
			case ev.Reset:
				must(f.t, table.Compare(ctx))
			default:
				table.Follow(ev)
			}
		}
	})
	return table
}

// TestNodesAgree: whichever of two nodes hears of what, and however late each hears
// of the other, who heard of a session last has it as it was reported, and in the
// end both, and the store.
func TestNodesAgree(t *testing.T) {
	for _, delay := range []time.Duration{1, 100 * time.Millisecond, 5 * time.Second} {
		for _, faults := range []int{0, 3} {
			t.Run(fmt.Sprint(delay, faults), func(t *testing.T) {
				for range 20 {
					tryNodes(t, func(t *testing.T, f *nodes) { nodesAgree(t, f, delay, faults) })
				}
			})
		}
	}
}

func nodesAgree(t *testing.T, f *nodes, delay time.Duration, faults int) {
	const ids, steps = 4, 200
	nodes := []*session.Table{f.node(f.ctx, "a", delay), f.node(f.ctx, "b", delay)}
	f.store.slow, f.store.faults = 20*time.Millisecond, faults
	octetsAt := func(table *session.Table) map[string]uint64 {
		known := make(map[string]uint64)
		for _, s := range table.List("") {
			known[s.Device] = s.OctetsIn
		}
		return known
	}
	var tokens [ids][]byte
	var last [ids]int // who heard of it
	there := make(map[string]uint64)
	var log []string
	for step := range uint64(steps) {
		time.Sleep(2*time.Millisecond + rand.N([]time.Duration{50 * time.Millisecond, 2 * time.Second, 20 * time.Second}[rand.N(3)]))
		for id := range ids {
			device := fmt.Sprint(id)
			if got := octetsAt(nodes[last[id]])[device]; got != there[device] {
				t.Fatalf("%v: node %d has %d octets of %d, want %d\n%s", time.Now(), last[id], got, id, there[device], strings.Join(log, "\n"))
			}
		}
		id, at := rand.N(ids), rand.N(len(nodes))
		device := fmt.Sprint(id)
		r := session.Report{Event: session.GoesOn, Client: "vpn1", ID: device, Device: device, At: time.Now(), Every: time.Hour, HasOctets: true, OctetsIn: step + 1}
		switch {
		case there[device] == 0:
			r.Event, tokens[id] = session.Starts, f.grant("vpn1", tv)
		case rand.N(3) == 0:
			r.Event = session.Stopped
		}
		r.Tokens = [][]byte{tokens[id]}
		for nodes[at].Report(f.ctx, r) != nil { // its client goes to another one
			time.Sleep(time.Second)
			at = rand.N(len(nodes))
		}
		last[id], there[device] = at, step+1
		if r.Event == session.Stopped {
			delete(there, device)
		}
		log = append(log, fmt.Sprintf("%v: node %d hears of event %d of %d: %d octets", r.At, at, r.Event, id, r.OctetsIn))
	}
	time.Sleep(2 * time.Minute) // all is written, and known to the other one
	f.store.mu.Lock()
	f.store.faults = 0
	f.store.mu.Unlock()
	time.Sleep(time.Minute)
	synctest.Wait()
	for name, table := range map[string]*session.Table{"a": nodes[0], "b": nodes[1], "the store": f.load()} {
		if got := octetsAt(table); !maps.Equal(got, there) {
			t.Errorf("%s knows of %v, want %v\n%s", name, got, there, strings.Join(log, "\n"))
		}
	}
}

// TestClocksOfNodesApart: a session whose client goes to a node whose clock is behind
// stays known to both.
func TestClocksOfNodesApart(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		first, second := f.node(f.ctx, "a", 1), f.node(f.ctx, "b", 1)
		r := session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Tokens: [][]byte{f.grant("vpn1", tv)}, At: time.Now(), Every: time.Minute}
		must(t, first.Report(f.ctx, r))
		r.Event = session.GoesOn
		for range 30 {
			time.Sleep(time.Minute)
			r.At = time.Now().Add(-time.Hour)
			must(t, second.Report(f.ctx, r))
			f.want(1, first)
			f.want(1, second)
		}
	})
}

// TestOverElsewhereWhileItIsWritten: what another node hears the end of just after this
// one has written it, and before it knows that it has, is over here too.
func TestOverElsewhereWhileItIsWritten(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		first, slow := f.node(f.ctx, "a", 1), f.store
		f.store = &faultyStore{Store: slow.Store}
		second := f.node(f.ctx, "b", 1)
		r := session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Tokens: [][]byte{f.grant("vpn1", tv)}}
		must(t, first.Report(f.ctx, r))
		r.Event = session.GoesOn
		must(t, first.Report(f.ctx, r))
		slow.mu.Lock()
		slow.after = make(chan struct{})
		slow.mu.Unlock()
		time.Sleep(31 * time.Second) // it is being written
		r.Event = session.Stopped
		must(t, second.Report(f.ctx, r))
		time.Sleep(time.Second)
		close(slow.after)
		time.Sleep(time.Second)
		f.want(0, first)
		f.want(0, second)
		f.want(0, f.load())
	})
}

// TestHeardElsewhereAfterItExpired: what a node is about to remove as it heard
// nothing of it, and another one hears of, stays.
func TestHeardElsewhereAfterItExpired(t *testing.T) {
	tryNodes(t, func(t *testing.T, f *nodes) {
		first, second := f.node(f.ctx, "a", 1), f.node(f.ctx, "b", 1)
		time.Sleep(15 * time.Second) // so that it expires between two writes
		table := f.node(f.ctx, "c", 1)
		r := session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Tokens: [][]byte{f.grant("vpn1", tv)}, Every: time.Minute}
		for range 20 {
			must(t, first.Report(f.ctx, r))
			for len(first.List("")) > 0 {
				time.Sleep(time.Second)
			}
			must(t, table.Report(f.ctx, r))
			time.Sleep(time.Minute)
			f.want(1, first)
			f.want(1, second)
			f.want(1, f.load())
		}
	})
}

// TestOneNodeAsks: of nodes that know of a session, the one that heard of it last has
// it ended. Where that does not come about, another one does before long.
func TestOneNodeAsks(t *testing.T) {
	for name, tt := range map[string]struct {
		gone    bool // the node that heard of it
		outcome session.Outcome
		want    []int // how often each node asked: at once, and after a while
	}{
		"it asks":          {false, session.Ended, []int{1, 0, 1, 0}},
		"it is gone":       {true, session.Ended, []int{0, 0, 0, 1}},
		"it is refused":    {false, session.Refused, []int{1, 0, 1, 1}},
		"it is not heard":  {false, session.Unanswered, []int{1, 0, 1, 1}},
		"it may not do so": {false, session.NotAsked, []int{1, 0, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			tryNodes(t, func(t *testing.T, f *nodes) {
				ctx, leave := context.WithCancel(f.ctx)
				defer leave()
				tables := []*session.Table{f.node(ctx, "a", 1), f.node(f.ctx, "b", 1)}
				enders := []*ender{newEnder(), newEnder()}
				must(t, tables[0].Report(f.ctx, session.Report{Event: session.Starts, Client: "vpn1", ID: "1", Device: "tv", Tokens: [][]byte{f.grant("vpn1", tv)}}))
				synctest.Wait()
				if tt.gone {
					leave()
				}
				for i, table := range tables {
					enders[i].answers("tv", tt.outcome)
					table.EndWith(enders[i])
				}
				synctest.Wait()
				began := time.Now()
				f.note(func() { f.gone[tv.AppPassword] = true })
				for i, at := range []time.Duration{time.Second, 40 * time.Second} {
					for _, table := range slices.Backward(tables) {
						table.Suspect(alain)
						synctest.Wait()
					}
					time.Sleep(at)
					synctest.Wait()
					if a, b := enders[0].times(), enders[1].times(); a != tt.want[2*i] || b != tt.want[2*i+1] {
						t.Errorf("after %v a has asked %d times and b %d, want %v", at, a, b, tt.want[2*i:2*i+2])
					}
				}
				if tt.outcome == session.Ended {
					f.want(0, tables[1])
					f.want(0, f.load())
				}
				all, err := tables[1].Endings(f.ctx, alain, began)
				must(t, err)
				if len(all) != 1 || all[0].Outcome != tt.outcome {
					t.Errorf("b says %+v", all)
				}
			})
		})
	}
}
