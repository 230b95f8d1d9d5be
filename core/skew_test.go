package core_test

import (
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
