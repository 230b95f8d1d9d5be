package main_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

const (
	historyClients  = 6
	historyAccounts = 3
	historyNames    = 5               // app passwords of an account that are worked on in one round
	historyUnknown  = 4               // outcomes of a slot; more would only make the search long
	historyQuiet    = time.Second / 2 // without a fault, at both ends of a round
	connectedBound  = time.Second     // in which a deletion reaches a node that is connected
	copyAge         = 3 * time.Second // replica_max_age
	callTime        = 2 * time.Second // for which a bridge waits
)

// A span is from when to when.
type span struct{ from, to time.Duration }

// An etcdHistory is nodes over one etcd, what was done on them, and when
// nothing was wrong.
type etcdHistory struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	begin   time.Time
	cluster *etcdtest.Cluster
	nodes   []*etcdNode
	canary  string // the text of an app password of the first account
	dead    []*slot
	granted int // sign-ins, in all rounds

	mu    sync.Mutex
	quiet []span // the last one may have no end
	late  time.Duration
}

func (h *etcdHistory) now() time.Duration { return time.Since(h.begin) }

// do makes a call on a node and writes down what came of it.
func (h *etcdHistory) do(node int, s *slot, kind, text string) {
	o := op{node: node, kind: kind, text: text, call: h.now()}
	ctx, cancel := context.WithTimeout(h.t.Context(), callTime)
	defer cancel()
	err := h.nodes[node].ask(ctx, s, &o)
	o.end = h.now()
	switch core.KindOf(err) {
	case 0:
		o.result = cmpOr(o.result, "ok")
	case core.KindNotFound:
		o.result = "none"
	case core.KindConflict:
		o.result = "taken"
	case core.KindUnavailable:
		o.end = math.MaxInt64 // a write may still be carried out
	case core.KindDenied:
		o.result = string(core.ReasonOf(err))
	default:
		h.t.Errorf("seed %d: %s of %s of %s on node %d: %v", h.seed, kind, s.name, s.account, node, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.result == "ok" && (kind == "create" || kind == "rotate") {
		s.texts = append(s.texts, o.text)
	}
	s.history = append(s.history, o)
}

// isOver says whether too much of s is unknown to go on.
func (s *slot) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	unknown := 0
	for _, o := range s.history {
		if o.result == "" && !o.reads() {
			unknown++
		}
	}
	return unknown >= historyUnknown
}

// load lets clients work on slots, each call on any node, until stop is called.
func (h *etcdHistory) load(slots []*slot) (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	var clients sync.WaitGroup
	for range historyClients {
		random := rand.New(rand.NewPCG(h.random.Uint64(), 0)) //nolint:gosec // a test's
		clients.Go(func() {
			for ctx.Err() == nil {
				s, kind, text := anyCall(random, slots)
				if kind != "" && !s.isOver() {
					h.do(random.IntN(len(h.nodes)), s, kind, text)
				}
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // so that what is to be explained stays short
			}
		})
	}
	return func() {
		cancel()
		clients.Wait()
	}
}

// setQuiet notes that from now on nothing is wrong, or that something may be.
func (h *etcdHistory) setQuiet(quiet bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if quiet {
		h.quiet = append(h.quiet, span{h.now(), math.MaxInt64})
	} else {
		h.quiet[len(h.quiet)-1].to = h.now()
	}
}

func (h *etcdHistory) isQuiet(o op) bool {
	return slices.ContainsFunc(h.quiet, func(s span) bool { return o.call >= s.from && o.end <= s.to })
}

// measure notes how late this machine is with what should happen at once, until
// stop is called.
func (h *etcdHistory) measure() (stop func()) {
	const every = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(h.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for last := h.now(); ctx.Err() == nil; {
			time.Sleep(every)
			h.mu.Lock()
			h.late, last = max(h.late, h.now()-last-every), h.now()
			h.mu.Unlock()
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// loosened returns the calls as the promises have them: what a node sees may be
// as old as the bound, but never older than what it has itself answered, and
// what it refuses as wrong is wrong now, but for one that goes on from a copy.
func (h *etcdHistory) loosened(calls []op) []op {
	late := h.late
	for _, o := range calls { // a machine that is late with these is late with the news too
		if h.isQuiet(o) {
			late = max(late, o.end-o.call)
		}
	}
	calls = slices.Clone(calls)
	for i, o := range calls {
		n := h.nodes[o.node]
		if !o.reads() || n.copy == nil && (o.kind == "list" || o.result == string(core.ReasonWrong)) {
			continue // the store was asked
		}
		bound := connectedBound
		if !h.isQuiet(o) {
			bound = n.bound()
		}
		call := o.call - bound - late
		for _, own := range calls {
			if own.node == o.node && !own.reads() && own.result != "" && own.end <= o.call {
				call = max(call, own.end)
			}
		}
		calls[i].call = call
	}
	return calls
}

// explained demands an order of what was seen of s, and that no node has let
// in what it once refused as deleted.
func (h *etcdHistory) explained(s *slot) {
	for _, o := range s.history {
		for _, later := range s.history {
			if o.kind == "verify" && o.result == "deleted" && later.kind == "verify" && later.node == o.node && later.text == o.text && later.call > o.end && later.result == "ok" {
				h.t.Errorf("seed %d: node %d let in what it had refused as deleted, %v after %v", h.seed, o.node, later, o)
			}
		}
	}
	if stuck, ok := explain(h.loosened(s.history)); !ok {
		h.t.Errorf("seed %d: nothing explains what came of %s of %s, with quiet %v:\n%v\nit goes as far as\n%v", h.seed, s.name, s.account, h.quiet, s.history, stuck)
	}
}

// look sees what all nodes have of s, and deletes it. What was deleted is tried
// once more, and explained, when the next round is over.
func (h *etcdHistory) look(s *slot) {
	for node := range h.nodes {
		h.do(node, s, "list", "")
		for _, text := range s.texts {
			h.do(node, s, "verify", text)
		}
	}
	h.do(len(s.texts)%len(h.nodes), s, "delete", "")
}

// bury tries what was deleted more than the bound ago.
func (h *etcdHistory) bury() {
	for _, s := range h.dead {
		for node := range h.nodes {
			for _, text := range s.texts {
				h.do(node, s, "verify", text)
			}
		}
		h.explained(s)
	}
	h.dead = nil
}

// round lets clients work while a fault comes and goes.
func (h *etcdHistory) round(n int, f etcdFault) {
	var slots []*slot
	for i := range historyAccounts * historyNames {
		slots = append(slots, &slot{account: crashAccount(i % historyAccounts), name: fmt.Sprintf("device %d of round %d", i/historyAccounts, n)})
	}
	h.late = 0
	h.cluster.Compact() // as an operator has it done, or the quota is reached
	stop := h.measure()
	stopLoad := h.load(slots)
	time.Sleep(historyQuiet)
	h.bury() // of the round before
	h.setQuiet(false)
	began := h.now()
	heal := f.strike(h)
	time.Sleep(f.atLeast + time.Duration(300+h.random.IntN(1000))*time.Millisecond)
	heal()
	healed := h.now()
	h.settle()
	h.setQuiet(true)
	settled := h.now()
	time.Sleep(historyQuiet)
	stopLoad()
	for _, s := range slots {
		h.look(s)
	}
	stop()
	h.dead = slots
	h.t.Logf("round %d: %s for %v, right again after %v; %s", n, f.name, (healed - began).Round(time.Millisecond), (settled - healed).Round(time.Millisecond), h.summary(slots))
}

// summary says what came of the calls of a round.
func (h *etcdHistory) summary(slots []*slot) string {
	calls, unknown, granted := 0, 0, 0
	for _, s := range slots {
		for _, o := range s.history {
			calls++
			switch {
			case o.result == "":
				unknown++
			case o.kind == "verify" && o.result == "ok":
				granted++
			}
		}
	}
	h.granted += granted
	return fmt.Sprintf("%d calls, %d of them unknown, %d sign-ins granted, up to %v late", calls, unknown, granted, h.late.Round(time.Millisecond))
}

// settle waits until every node has heard of a change that was made after all
// was well.
func (h *etcdHistory) settle() {
	h.t.Helper()
	for _, want := range []core.Reason{core.ReasonSuspended, ""} {
		change := h.nodes[0].Suspend
		if want == "" {
			change = h.nodes[0].Resume
		}
		var err error
		defer func() {
			if err != nil {
				h.t.Logf("it is not made: %v", err)
			}
		}()
		until(h.t, "a change is made", func() bool {
			_, err = change(h.t.Context(), crashAccount(0), "canary")
			return err == nil
		})
		for i, n := range h.nodes {
			until(h.t, fmt.Sprintf("node %d has heard of it", i), func() bool {
				return core.ReasonOf(n.signIn(h.t.Context(), crashAccount(0), h.canary)) == want
			})
		}
	}
}

// TestEtcdHistory: several nodes over one etcd, to which something happens again
// and again. What one of them acknowledged is there and stays; what was deleted on one
// works on none, after a second where all is well, and else after the time in
// which a node notices; a call of unknown outcome has happened or has not; and
// what all clients saw has an order. ETCD_HISTORY says for how long, ETCD_SEED
// which run to repeat: faults and choices come of it, but not the moment of a
// call. What it has found is in TestSkewRotate and TestReplicaGoesOn of core.
func TestEtcdHistory(t *testing.T) {
	long, seed := 20*time.Second, uint64(time.Now().UnixNano())
	var err error
	if text := os.Getenv("ETCD_HISTORY"); text != "" {
		long, err = time.ParseDuration(text)
		must(t, err)
	}
	if text := os.Getenv("ETCD_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	h := newEtcdHistory(t, seed)
	faults := etcdFaults()
	for n := 0; h.now() < long; n++ {
		if n%len(faults) == 0 { // all of them, in another order each time
			h.random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		}
		h.round(n, faults[n%len(faults)])
		if t.Failed() {
			t.FailNow()
		}
	}
	time.Sleep(connectedBound) // the time that a deletion may take
	h.bury()
	if h.granted < 20 {
		t.Errorf("seed %d: only %d sign-ins were granted; that proves nothing", seed, h.granted)
	}
}

// newEtcdHistory starts a cluster, and nodes over it that have the accounts.
func newEtcdHistory(t *testing.T, seed uint64) *etcdHistory {
	t.Helper()
	t.Logf("seed %d", seed)
	h := &etcdHistory{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), begin: time.Now(), //nolint:gosec // a test's
		cluster: etcdtest.Start(t, 3, etcdtest.Options{Args: []string{"--quota-backend-bytes", fmt.Sprint(16 << 20)}}),
	}
	keys, err := keyring.New(time.Now())
	must(t, err)
	for i := range 3 {
		h.nodes = append(h.nodes, newEtcdNode(t, h.cluster, keys, i, i == 2))
	}
	for i := range historyAccounts {
		text := h.nodes[0].enroll(t, crashAccount(i))
		if i == 0 {
			h.canary = text
		}
	}
	h.settle()
	h.setQuiet(true)
	return h
}
