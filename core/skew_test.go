package core_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
)

// TestSkewRotate: what was rotated without an overlap works on no node any more,
// also if it was done on one whose clock is ahead or behind.
func TestSkewRotate(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nil)
			first, text := f.addAlain()
			must(t, f.try(text))
			g := f.another()
			g.pass(ahead)
			_, fresh, err := g.Rotate(g.ctx, alain, first.ID, 0)
			must(t, err)
			synctest.Wait()
			for name, node := range map[string]*fixture{"here": f, "there": g} {
				wantReason(t, name, node.try(text), core.ReasonDeleted)
				must(t, node.try(fresh.Canonical()))
			}
		})
	}
}

// node returns a node of this name over the store of f.
func (f *fixture) node(name string) *fixture {
	f.t.Helper()
	g := f.another()
	g.opt.Node = name
	g.reopen()
	return g
}

// TestSkewLastSeen: a node whose clock was ahead makes no other expire anything
// early, also after a restart, and a clock that is set back revives nothing on
// the node that it was.
func TestSkewLastSeen(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.opt.Node = "a" })
	f.addAlain()
	_, text, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "guest", Expires: f.clock().Add(30 * time.Minute)})
	must(t, err)
	fast := f.node("fast")
	fast.pass(time.Hour)
	try := func(what string, node *fixture, want core.Reason) {
		t.Helper()
		wantReason(t, what, node.try(text.Canonical()), want)
		must(t, node.Flush(node.ctx))
	}
	try("by the fast clock", fast, core.ReasonExpired)
	f.pass(2 * time.Minute) // so that there is something to note
	try("here", f, "")
	if apart := f.Stats().ClockApart; apart == nil || apart.Node != "fast" || apart.Ahead != 58*time.Minute {
		t.Errorf("the clocks are said to differ by %+v", apart)
	}
	f.reopen()
	try("here, after a restart", f, "")
	if behind := f.Stats().ClockBehind; behind != 0 {
		t.Errorf("%v behind", behind)
	}
	try("on a new node", f.node("new"), "")

	fast.pass(-time.Hour)
	try("the fast clock is set right", fast, core.ReasonExpired)
	fast.reopen()
	try("the fast clock is set right, after a restart", fast, core.ReasonExpired)

	f.pass(40 * time.Minute)
	try("over", f, core.ReasonExpired)
	f.pass(-40 * time.Minute)
	try("set back", f, core.ReasonExpired)
	f.reopen()
	try("set back, after a restart", f, core.ReasonExpired)
}

// TestSkewManyNodes: the times of nodes that are no more do not pile up, and
// those that are there keep theirs.
func TestSkewManyNodes(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.opt.Node = "first" })
	_, text := f.addAlain()
	for i := range 100 {
		g := f.node(fmt.Sprint("node ", i))
		g.pass(time.Duration(i+1) * time.Minute)
		must(t, g.try(text))
		must(t, g.Flush(g.ctx))
		must(t, g.Close())
	}
	g := f.node("node 99")
	if behind := g.Stats().ClockBehind; behind != 100*time.Minute {
		t.Errorf("the last node's clock is %v behind, want 100 minutes", behind)
	}
	if behind := f.node("node 0").Stats().ClockBehind; behind != 37*time.Minute {
		t.Errorf("a node of which nothing is kept: %v behind, want what the earliest of 64 saw", behind)
	}
}
