package radius

import (
	"net/netip"
	"sync"
	"time"
)

const (
	answerKept  = 30 * time.Second // hostapd repeats after 21 s
	replayKept  = 5 * time.Minute
	historyCost = 320 // octets of an exchange beside its reply, maps included

	// Shares of all clients together; each has an equal part of them, so that
	// none can push out what another one needs.
	historyBudget = 64 << 20 // octets
	replayBudget  = 1 << 20  // authenticators
)

type authenticator [16]byte

// A slot is what a device tells its requests apart by: RFC 5080, section
// 2.2.2, without the authenticator.
type slot struct {
	from netip.AddrPort
	sock uint16
	id   byte
}

// An exchange is a request that was taken, and its answer once there is one.
type exchange struct {
	slot          slot
	authenticator authenticator
	answered      bool
	reply         []byte // nil while in flight, and for silence
	until         time.Time
	before, after *exchange // of those answered, oldest first
}

// A verdict is what the history says about a request.
type verdict uint8

const (
	verdictNew verdict = iota
	verdictRepeat
	verdictReplay
	verdictFull
)

// A history remembers the exchanges of one client: 30 s for those that come
// again to the octet, and 5 minutes for Request Authenticators that somebody
// recorded. Both are bounded; the oldest goes first.
type history struct {
	mu       sync.Mutex
	slots    map[slot]*exchange
	oldest   *exchange
	newest   *exchange
	size     int // octets
	maxSize  int
	replays  map[authenticator]time.Time // until when
	order    []authenticator             // of replays, oldest at orderAt
	orderAt  int
	maxOrder int
}

func newHistory() *history {
	return &history{slots: map[slot]*exchange{}, replays: map[authenticator]time.Time{}}
}

// share sets what h may keep, when there are n clients.
func (h *history) share(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxSize = max(historyBudget/max(n, 1), 64<<10)
	h.maxOrder = max(replayBudget/max(n, 1), 1024)
}

// take looks for a request. For a repeat it returns the answer, nil while
// there is none. For a new one it begins an exchange; an older one of the same
// slot is over then. With lax, an authenticator may come twice.
func (h *history) take(s slot, a authenticator, lax bool, now time.Time) (verdict, *exchange, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	old := h.slots[s]
	if old != nil && old.authenticator == a {
		return verdictRepeat, nil, old.reply
	}
	if until, seen := h.replays[a]; seen && !lax && now.Before(until) {
		return verdictReplay, nil, nil
	}
	if old != nil {
		h.remove(old)
	}
	for h.size+historyCost > h.maxSize {
		if h.oldest == nil {
			return verdictFull, nil, nil
		}
		h.remove(h.oldest)
	}
	e := &exchange{slot: s, authenticator: a}
	h.slots[s] = e
	h.size += historyCost
	if !lax {
		h.note(a, now)
	}
	return verdictNew, e, nil
}

// answer ends e with reply, nil for a silence that shall last. It reports
// whether e still stands: a device that has used its identifier again does not
// wait for it any more.
func (h *history) answer(e *exchange, reply []byte, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slots[e.slot] != e {
		return false
	}
	e.answered, e.reply, e.until = true, reply, now.Add(answerKept)
	h.size += len(reply)
	e.before = h.newest
	if h.newest != nil {
		h.newest.after = e
	} else {
		h.oldest = e
	}
	h.newest = e
	return true
}

// forget takes e back, as if it had never come: nobody could decide it, and
// its repeat shall be tried anew.
func (h *history) forget(e *exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.replays, e.authenticator)
	if h.slots[e.slot] == e {
		h.remove(e)
	}
}

// remove takes e, which is in slots, out of everything. h.mu is held.
func (h *history) remove(e *exchange) {
	delete(h.slots, e.slot)
	h.size -= historyCost + len(e.reply)
	if !e.answered {
		return
	}
	if e.before != nil {
		e.before.after = e.after
	} else {
		h.oldest = e.after
	}
	if e.after != nil {
		e.after.before = e.before
	} else {
		h.newest = e.before
	}
	e.before, e.after = nil, nil
}

// expire removes what is over. h.mu is held.
func (h *history) expire(now time.Time) {
	for h.oldest != nil && !now.Before(h.oldest.until) {
		h.remove(h.oldest)
	}
	for h.orderAt < len(h.order) {
		a := h.order[h.orderAt]
		if until, ok := h.replays[a]; ok && now.Before(until) {
			return
		}
		h.dropReplay()
	}
}

// note remembers a for replayKept. h.mu is held.
func (h *history) note(a authenticator, now time.Time) {
	for len(h.order)-h.orderAt >= h.maxOrder {
		h.dropReplay()
	}
	h.replays[a] = now.Add(replayKept)
	h.order = append(h.order, a)
}

// dropReplay forgets the oldest authenticator. h.mu is held.
func (h *history) dropReplay() {
	delete(h.replays, h.order[h.orderAt])
	h.orderAt++
	if h.orderAt > 64 && h.orderAt*2 > len(h.order) {
		h.order = append(h.order[:0:0], h.order[h.orderAt:]...)
		h.orderAt = 0
	}
}
