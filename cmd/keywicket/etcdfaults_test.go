package main_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/core/store/replica"
	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

// An etcdNode is an engine over etcd, with a clock and a way to each member of
// its own.
type etcdNode struct {
	*core.Engine
	t       *testing.T
	keys    *keyring.Keyring
	proxies []*etcdtest.Proxy
	urls    []string
	ahead   atomic.Int64 // of the right time; nanoseconds
	name    string
	copy    *memstore.Store // nil: the node has none

	using sync.RWMutex // by calls; a restart waits for them
	stop  func()
}

// newEtcdNode starts a node that begins with the i-th member.
func newEtcdNode(t *testing.T, c *etcdtest.Cluster, keys *keyring.Keyring, i int, withCopy bool) *etcdNode {
	t.Helper()
	n := &etcdNode{t: t, keys: keys, name: fmt.Sprint("node ", i)}
	for k := range c.Members {
		p := etcdtest.NewProxy(t, c.Members[(i+k)%len(c.Members)])
		n.proxies, n.urls = append(n.proxies, p), append(n.urls, p.URL)
	}
	if withCopy {
		n.copy = memstore.New()
	}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *etcdNode) clock() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

// start opens the engine over what there is.
func (n *etcdNode) start() {
	n.t.Helper()
	shared, err := etcdstore.Open(etcdstore.Config{Endpoints: n.urls, Timeout: callTime})
	must(n.t, err)
	var s store.Store = shared
	closeCopy := func() error { return nil }
	if n.copy != nil {
		r, err := replica.Open(n.t.Context(), shared, n.copy, replica.Options{Prefixes: core.SignInPrefixes(), MaxAge: copyAge, Now: n.clock})
		must(n.t, err)
		s, closeCopy = r, r.Close
	}
	n.Engine, err = core.Open(n.t.Context(), core.Options{
		Store: s, Keyring: n.keys, Node: n.name, Now: n.clock, LateStore: true, Flush: time.Second,
		Directory: local.New(s, n.keys, local.Options{Now: n.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}}),
	})
	must(n.t, err)
	n.stop = func() {
		_ = n.Close() // the last uses are lost where etcd is away
		_ = closeCopy()
		_ = shared.Close()
	}
}

// restart closes the node and opens it again.
func (n *etcdNode) restart() {
	n.using.Lock()
	defer n.using.Unlock()
	n.stop()
	n.start()
}

// enroll makes an account and returns the text of its first app password, which
// is called "canary".
func (n *etcdNode) enroll(t *testing.T, account string) string {
	t.Helper()
	until(t, "there is an account", func() bool {
		_, err := n.AddAccount(t.Context(), account, nil, nil)
		return err == nil || core.KindOf(err) == core.KindConflict
	})
	uri, err := n.Enroll(t.Context(), account)
	must(t, err)
	code, err := core.CodeFor(uri, time.Now())
	must(t, err)
	c, err := n.Confirm(t.Context(), account, code, core.NewAppPassword{Name: "canary"})
	must(t, err)
	return c.FirstText.Canonical()
}

// bound is for how long a node may go on, with what it knows, that does not
// notice yet that it is cut off, or has a copy to go on from.
func (n *etcdNode) bound() time.Duration {
	if n.copy != nil {
		return copyAge + connectedBound // the last news may have been on their way
	}
	return etcdstore.Silence
}

// signIn presents text.
func (n *etcdNode) signIn(ctx context.Context, account, text string) error {
	n.using.RLock()
	defer n.using.RUnlock()
	_, err := n.Verify(ctx, core.Attempt{Account: account, Proof: proof.Cleartext(text), Service: anyService()})
	return err
}

func (n *etcdNode) ask(ctx context.Context, s *slot, o *op) (err error) {
	if o.kind == "verify" {
		return n.signIn(ctx, s.account, o.text)
	}
	n.using.RLock()
	defer n.using.RUnlock()
	switch o.kind {
	case "create", "rotate":
		var text secret.Text
		if o.kind == "create" {
			_, text, err = n.Create(ctx, s.account, core.NewAppPassword{Name: s.name})
		} else {
			_, text, err = n.Rotate(ctx, s.account, s.name, 0)
		}
		o.text = text.Canonical()
	case "delete":
		_, err = n.Delete(ctx, s.account, s.name)
	case "suspend":
		_, err = n.Suspend(ctx, s.account, s.name)
	case "resume":
		_, err = n.Resume(ctx, s.account, s.name)
	case "list":
		var list []core.AppPassword
		list, err = n.List(ctx, s.account)
		o.result = "none"
		for _, p := range list {
			if p.Name == s.name {
				o.result = string(p.Status)
			}
		}
		if err != nil {
			o.result = ""
		}
	}
	return err
}

// cut lets nothing through between n and etcd until heal is called.
func (n *etcdNode) cut() (heal func()) {
	for _, p := range n.proxies {
		p.Cut()
	}
	return func() {
		for _, p := range n.proxies {
			p.Heal()
		}
	}
}

// An etcdFault is something that happens to etcd, or to a node.
type etcdFault struct {
	name    string
	atLeast time.Duration
	strike  func(h *etcdHistory) (heal func())
}

func (h *etcdHistory) anyNode() *etcdNode { return h.nodes[h.random.IntN(len(h.nodes))] }

// members returns n of them, any.
func (h *etcdHistory) members(n int) (some []*etcdtest.Member) {
	for _, i := range h.random.Perm(len(h.cluster.Members))[:n] {
		some = append(some, h.cluster.Members[i])
	}
	return some
}

// killed kills members and starts them again.
func (h *etcdHistory) killed(members ...*etcdtest.Member) (heal func()) {
	for _, m := range members {
		m.Kill()
	}
	return func() {
		for _, m := range members {
			m.Start()
		}
		h.cluster.Ready()
	}
}

// paused stops members and lets them go on.
func (h *etcdHistory) paused(members ...*etcdtest.Member) (heal func()) {
	for _, m := range members {
		m.Pause()
	}
	return func() {
		for _, m := range members {
			m.Resume()
		}
		h.cluster.Ready()
	}
}

// slowed makes the disks of members slow, each by another time.
func (h *etcdHistory) slowed(members ...*etcdtest.Member) (heal func()) {
	var restore []func()
	for _, m := range members {
		restore = append(restore, m.SlowDisk(time.Duration(50+h.random.IntN(700))*time.Millisecond))
	}
	return func() {
		for _, f := range restore {
			f()
		}
	}
}

// etcdFaults are all that happens.
func etcdFaults() []etcdFault {
	return []etcdFault{
		{"the leader is killed", 0, func(h *etcdHistory) func() { return h.killed(h.cluster.Leader()) }},
		{"the leader stops", 0, func(h *etcdHistory) func() { return h.paused(h.cluster.Leader()) }},
		{"a member is killed", 0, func(h *etcdHistory) func() { return h.killed(h.members(1)...) }},
		{"a member stops", 0, func(h *etcdHistory) func() { return h.paused(h.members(1)...) }},
		{"the majority is killed", time.Second, func(h *etcdHistory) func() { return h.killed(h.members(2)...) }},
		{"the majority stops", time.Second, func(h *etcdHistory) func() { return h.paused(h.members(2)...) }},
		{"all are killed", 0, func(h *etcdHistory) func() { return h.killed(h.cluster.Members...) }},
		{"the leader's disk is slow", 0, func(h *etcdHistory) func() { return h.slowed(h.cluster.Leader()) }},
		{"all disks are slow", 0, func(h *etcdHistory) func() { return h.slowed(h.cluster.Members...) }},
		{"the quota is reached", 0, func(h *etcdHistory) func() {
			h.cluster.Fill()
			return h.cluster.Drain
		}},
		{"a node is cut off", 2 * time.Second, func(h *etcdHistory) func() { return h.anyNode().cut() }},
		{"the node with a copy is cut off, for longer than that serves", copyAge + time.Second, func(h *etcdHistory) func() { return h.nodes[2].cut() }},
		{"a node is cut off from the member that it asks first", 0, func(h *etcdHistory) func() {
			p := h.anyNode().proxies[0]
			p.Cut()
			return p.Heal
		}},
		{"what a node has not heard of is compacted", 2 * time.Second, func(h *etcdHistory) func() {
			heal := h.anyNode().cut()
			return func() {
				h.cluster.Compact()
				heal()
			}
		}},
		{"a node that is cut off is started anew", 0, func(h *etcdHistory) func() {
			n := h.anyNode()
			heal := n.cut()
			n.restart()
			return heal
		}},
		{"a node's clock jumps", 0, func(h *etcdHistory) func() {
			n := h.anyNode()
			n.ahead.Store(int64(time.Duration(h.random.IntN(7200)-3600) * time.Second))
			return n.restart
		}},
	}
}

// TestEtcdTooLate: without a copy, a node that is cut off is unavailable, and
// not wrong, when it can no longer know.
func TestEtcdTooLate(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	keys, err := keyring.New(time.Now())
	must(t, err)
	n := newEtcdNode(t, c, keys, 0, false)
	text := n.enroll(t, alain)
	must(t, n.signIn(t.Context(), alain, text))
	heal := n.cut()
	until(t, "it says so", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), callTime)
		defer cancel()
		return core.ReasonOf(n.signIn(ctx, alain, text)) == core.ReasonUnavailable
	})
	heal()
	until(t, "it knows again", func() bool { return n.signIn(t.Context(), alain, text) == nil })
}
