package main_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An op is a call on one app password, with what came of it. Texts stand for
// app passwords; the text of one that was made and never seen is "?".
type op struct {
	kind   string // create, delete, suspend, resume, rotate, verify, list
	text   string // that verify tried, or that create and rotate gave
	result string // "ok", "none" (there is no such one), "taken", or a reason; "" is unknown
	call   time.Duration
	end    time.Duration // of an unknown one: when the daemon died, for later it cannot happen
}

func (o op) String() string {
	return fmt.Sprintf("%s %.4s: %q, %s to %s", o.kind, o.text, o.result, o.call, o.end)
}

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
		return o.result == "" && (o.kind == "verify" || o.kind == "list") // changed nothing, says nothing
	})
	slices.SortFunc(history, func(a, b op) int { return int(a.call - b.call) })
	var (
		tried  = make(map[string]bool)
		done   = make([]bool, len(history))
		order  []op
		search func(s state, left int) bool
	)
	search = func(s state, left int) bool {
		if left == 0 {
			return true
		}
		var key strings.Builder
		for _, d := range done {
			key.WriteByte(map[bool]byte{true: '1', false: '0'}[d])
		}
		fmt.Fprint(&key, s)
		if tried[key.String()] {
			return false
		}
		tried[key.String()] = true
		end := time.Duration(1<<63 - 1) // nobody may come before this one and be called after
		for i, o := range history {
			if !done[i] {
				end = min(end, o.end)
			}
		}
		for i, o := range history {
			if done[i] || o.call > end {
				continue
			}
			next, may := s.step(o)
			for _, skipped := range []bool{false, true} {
				if skipped && o.result != "" || !skipped && !may {
					continue
				}
				if skipped {
					next = s
				}
				done[i] = true
				order = append(order, o)
				if search(next, left-1) {
					return true
				}
				if len(order) > len(stuck) {
					stuck = slices.Clone(order)
				}
				order = order[:len(order)-1]
				done[i] = false
			}
		}
		return false
	}
	return stuck, search(state{}, len(history))
}
