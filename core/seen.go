package core

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
)

const (
	timeNote = time.Minute // how far the time in the store may be behind
	maxSeen  = 64          // nodes whose time is kept
)

// recallTime sets the clock to the latest time that this node has seen before.
// What other nodes have seen is theirs: the clock of one may be ahead. Only a
// node that was never there goes by the earliest of them.
func (e *Engine) recallTime(meta *record.Meta) {
	seen, known := meta.Seen[e.opt.Node]
	switch {
	case known:
	case e.opt.Node == "" || len(meta.Seen) == 0:
		seen = meta.LastSeen
	default:
		seen = slices.Min(slices.Collect(maps.Values(meta.Seen)))
	}
	e.clock.advance(fromMillis(seen))
}

// noteTime writes the latest time that was seen, so that a clock set back
// before the next start revives nothing.
func (e *Engine) noteTime(ctx context.Context) error {
	seen := e.clock.seen.Load()
	if time.Duration(seen-e.timeNoted)*time.Millisecond < timeNote {
		return nil
	}
	meta, rev, err := e.readMeta(ctx)
	if err != nil {
		return err
	}
	e.compareClocks(meta)
	if e.setSeen(meta, seen) {
		if err := e.writeMeta(ctx, meta, rev); KindOf(err) == KindConflict {
			return nil // another node was faster; the next time
		} else if err != nil {
			return err
		}
	}
	e.timeNoted = seen
	return nil
}

// setSeen notes seen as this node's in meta. It says whether that is news.
func (e *Engine) setSeen(meta *record.Meta, seen int64) bool {
	if e.opt.Node == "" {
		news := meta.LastSeen < seen
		meta.LastSeen = max(meta.LastSeen, seen)
		return news
	}
	if meta.Seen[e.opt.Node] >= seen {
		return false
	}
	if meta.Seen == nil {
		meta.Seen = make(map[string]int64)
	}
	if _, known := meta.Seen[e.opt.Node]; !known && len(meta.Seen) >= maxSeen { // most are of nodes that are no more
		oldest := slices.Min(slices.Collect(maps.Values(meta.Seen)))
		maps.DeleteFunc(meta.Seen, func(_ string, seen int64) bool { return seen == oldest })
	}
	meta.Seen[e.opt.Node] = seen
	return true
}

// compareClocks looks whether another node has seen a time that is not yet here.
func (e *Engine) compareClocks(meta *record.Meta) {
	now := toMillis(e.opt.Now())
	var apart *ClockApart
	for name, seen := range meta.Seen {
		ahead := time.Duration(seen-now) * time.Millisecond
		if name != e.opt.Node && ahead > timeNote && (apart == nil || ahead > apart.Ahead) {
			apart = &ClockApart{Node: name, Ahead: ahead}
		}
	}
	if before := e.apart.Swap(apart); apart != nil && (before == nil || before.Node != apart.Node) {
		e.log.Warn("the clocks of two nodes differ: expiry and security codes go by the clock of the node that is asked", "node", apart.Node, "ahead", apart.Ahead)
	}
}

// A ClockApart says by how much the clock of another node is ahead of this
// one's.
type ClockApart struct {
	Node  string
	Ahead time.Duration
}
