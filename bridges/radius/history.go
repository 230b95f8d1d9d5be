package radius

import (
	"sync"
	"time"
)

const (
	answerKept  = 30 * time.Second // hostapd repeats after 21 s
	historyCost = 320              // octets of an exchange beside its reply, maps included
	maxSpare    = 64               // exchanges that are kept to be used again

	// historyBudget is the octets of all clients together; each has an equal
	// part of them, so that none can push out what another one needs.
	historyBudget = 64 << 20
)

type authenticator [16]byte

// A slot is what a device tells its requests apart by: RFC 5080, section
// 2.2.2, without the authenticator.
type slot struct {
	addr  [16]byte
	iface uint32 // of a link-local address: there the same one can be twice
	port  uint16
	sock  uint16
	id    byte
}

func slotOf(from *path, id byte) slot {
	s := slot{addr: from.from.Addr().As16(), port: from.from.Port(), sock: from.sock.number(), id: id}
	if from.from.Addr().IsLinkLocalUnicast() {
		s.iface = from.iface
	}
	return s
}

// An exchange is a request that was taken, and its answer once there is one.
// Then it is the history's alone, which uses it again.
type exchange struct {
	slot          slot
	authenticator authenticator
	answered      bool
	over          bool   // it is not in slots any more
	reply         []byte // empty while in flight, and for silence
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
	mu      sync.Mutex
	slots   map[slot]*exchange
	oldest  *exchange
	newest  *exchange
	size    int // octets
	maxSize int
	spare   []*exchange
	replays replays
}

func newHistory() *history {
	return &history{slots: map[slot]*exchange{}, replays: newReplays(time.Now())}
}

// share sets what h may keep, when there are n clients.
func (h *history) share(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxSize = max(historyBudget/max(n, 1), 64<<10)
	h.replays.limit = max(replayBudget/max(n, 1), leastPages*pageLen)
}

// ahead has fetched what take looks at for the genuine ones of requests, which are
// all of one client.
func (h *history) ahead(requests []request) {
	var room [atHand]replayMark
	marks := room[:0]
	for i := range requests {
		if r := &requests[i]; r.key != nil && !r.lax() {
			marks = append(marks, h.replays.mark(authenticator(r.packet.authenticator())))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replays.fetch(marks)
}

// take looks for a request. For a repeat it appends the answer to reply, nothing
// while there is none. For a new one it begins an exchange; an older one of the
// same slot is over then. With lax, an authenticator may come twice.
func (h *history) take(s slot, a authenticator, lax bool, now time.Time, reply []byte) (verdict, *exchange, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	old := h.slots[s]
	if old != nil && old.authenticator == a {
		return verdictRepeat, nil, append(reply, old.reply...)
	}
	var m replayMark
	if !lax {
		m = h.replays.mark(a)
		if h.replays.seen(m, now) {
			return verdictReplay, nil, nil
		}
	}
	for old == nil && h.size+historyCost > h.maxSize {
		if h.oldest == nil {
			return verdictFull, nil, nil
		}
		h.remove(h.oldest)
	}
	e := h.begin(s, old)
	e.authenticator = a
	if !lax {
		h.replays.add(m, now)
	}
	return verdictNew, e, nil
}

// begin returns an exchange for s, in the place of old if there is one.
func (h *history) begin(s slot, old *exchange) (e *exchange) {
	switch n := len(h.spare); {
	case old != nil && old.answered: // nobody else has it any more
		h.unlink(old)
		h.size -= len(old.reply)
		old.answered, old.reply = false, old.reply[:0]
		return old
	case n > 0:
		e, h.spare = h.spare[n-1], h.spare[:n-1]
		e.slot, e.over = s, false
	default:
		e = &exchange{slot: s}
	}
	if old == nil {
		h.size += historyCost
	} else {
		old.over = true
	}
	h.slots[s] = e
	return e
}

// answer ends e with reply, nothing for a silence that shall last. It reports
// whether e still stands: a device that has used its identifier again does not
// wait for it any more.
func (h *history) answer(e *exchange, reply []byte, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e == nil || e.over || e.answered {
		return false
	}
	e.answered, e.reply, e.until = true, append(e.reply[:0], reply...), now.Add(answerKept)
	h.size += len(reply)
	e.before, e.after = h.newest, nil
	if h.newest != nil {
		h.newest.after = e
	} else {
		h.oldest = e
	}
	h.newest = e
	return true
}

// forget takes e back, as if it had never come: nobody could decide it, and
// its repeat shall be tried anew. What was answered stays.
func (h *history) forget(e *exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.answered {
		return
	}
	h.replays.forget(e.authenticator)
	if !e.over {
		h.remove(e)
	}
}

// remove takes e, which is in slots, out of everything. h.mu is held.
func (h *history) remove(e *exchange) {
	delete(h.slots, e.slot)
	e.over = true
	h.size -= historyCost + len(e.reply)
	if !e.answered {
		return
	}
	h.unlink(e)
	if len(h.spare) < maxSpare {
		e.answered, e.reply = false, e.reply[:0]
		h.spare = append(h.spare, e)
	}
}

// unlink takes e, which is answered, out of the order. h.mu is held.
func (h *history) unlink(e *exchange) {
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
}
