package main_test

import (
	"fmt"
	"slices"
	"time"
)

// An op is a call on one app password, with what came of it. Texts stand for
// app passwords; the text of one that was made and never seen is "?".
type op struct {
	kind   string // create, delete, suspend, resume, rotate, verify, list
	text   string // that verify tried, or that create and rotate gave
	result string // "ok", "none" (there is no such one), "taken", or a reason; "" is unknown
	node   int    // that was asked
	call   time.Duration
	end    time.Duration // of an unknown one: when the daemon died, for later it cannot happen
}

func (o op) String() string {
	return fmt.Sprintf("%s %.4s of node %d: %q, %s to %s\n", o.kind, o.text, o.node, o.result, o.call, o.end)
}

// reads says whether o changes nothing.
func (o op) reads() bool { return o.kind == "verify" || o.kind == "list" }

// A state is what an app password may be: absent, or a text, suspended or not.
type state struct {
	text      string // "" is absent
	suspended bool
}

// step says whether o may have come of s, and what is then. Of an unknown
// outcome the effect is asked for, without a result.
func (s state) step(o op) (state, bool) {
	there, done := s.text != "", o.result == "ok" || o.result == ""
	switch o.kind {
	case "create":
		if done {
			return state{text: cmpOr(o.text, "?")}, !there
		}
		return s, there && o.result == "taken"
	case "rotate":
		if done {
			return state{cmpOr(o.text, "?"), s.suspended}, there
		}
	case "delete":
		if done {
			return state{}, there
		}
	case "suspend", "resume":
		if done {
			return state{s.text, o.kind == "suspend"}, there
		}
	case "list":
		want := "none"
		if there {
			want = "active"
			if s.suspended {
				want = "suspended"
			}
		}
		return s, o.result == want
	case "verify":
		if o.text != s.text {
			return s, o.result != "ok" && o.result != "suspended"
		}
		if s.suspended {
			return s, o.result == "suspended"
		}
		return s, o.result == "ok"
	}
	return s, !there && o.result == "none"
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// explain looks for an order of the calls, each at one moment between its call
// and its end, in which every result comes of what was before. It returns the
// longest part that has one where the whole has none. Unknown ones may be left
// out. It is the search of Wing and Gong, with a memory of what was tried.
func explain(history []op) (stuck []op, ok bool) {
	history = slices.DeleteFunc(slices.Clone(history), func(o op) bool {
		return o.result == "" && o.reads() // changed nothing, says nothing
	})
	slices.SortFunc(history, func(a, b op) int { return int(a.call - b.call) })
	x := explanation{history: history, tried: make(map[string]bool), done: make([]byte, len(history))}
	ok = x.search(state{}, len(history))
	return x.stuck, ok
}

// An explanation is a search for an order.
type explanation struct {
	history []op
	done    []byte // 1: it stands in order
	order   []op
	stuck   []op // the longest order that there was
	tried   map[string]bool
}

// search says whether there is an order of the left that are not done, from s.
func (x *explanation) search(s state, left int) bool {
	if left == 0 {
		return true
	}
	key := fmt.Sprint(string(x.done), s)
	if x.tried[key] {
		return false
	}
	x.tried[key] = true
	end := time.Duration(1<<63 - 1) // nobody may come before this one and be called after
	for i, o := range x.history {
		if x.done[i] == 0 {
			end = min(end, o.end)
		}
	}
	for _, reads := range []bool{true, false} {
		for i, o := range x.history {
			if x.done[i] != 0 || o.call > end || o.reads() != reads {
				continue
			}
			next, may := s.step(o)
			switch {
			case may && x.take(i, next, left):
				return true
			case may && reads: // it fits here, and for the others its place makes no difference
				return false
			case o.result == "" && x.take(i, s, left):
				return true
			}
		}
	}
	return false
}

// take is search with what stands at i next in the order.
func (x *explanation) take(i int, next state, left int) bool {
	x.done[i] = 1
	x.order = append(x.order, x.history[i])
	if x.search(next, left-1) {
		return true
	}
	if len(x.order) > len(x.stuck) {
		x.stuck = slices.Clone(x.order)
	}
	x.order = x.order[:len(x.order)-1]
	x.done[i] = 0
	return false
}
