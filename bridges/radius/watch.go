package radius

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxWatches = 8   // that look on at the same time
	watchQueue = 256 // packets that a slow one has not looked at yet
)

// A Filter says which packets somebody wants to see. What is empty lets all
// through.
type Filter struct {
	Client string // name
	User   string // User-Name as sent, or the account that it means; case does not matter
}

// A Watch sees packets as they come and what becomes of them. What it is too
// slow for it misses, and is told how many: nobody waits for it.
type Watch struct {
	server *Server
	filter Filter
	queue  chan sight
	missed atomic.Uint64
}

// A sight is a copy of what passed, nothing of it decoded.
type sight struct {
	at      time.Time
	table   *table
	client  *client // nil: no client has this address
	from    netip.AddrPort
	request []byte
	outcome
}

// An outcome is what became of a packet.
type outcome struct {
	finding
	drop   drop // why there is no answer; dropNone where there is one
	reply  []byte
	wait   time.Duration // after the request, when the reply goes out
	repeat bool          // the reply is one of before
}

// Watch begins to look on. Whoever does calls Close in the end.
func (s *Server) Watch(f Filter) (*Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Watch
	if now := s.watches.Load(); now != nil {
		all = *now
	}
	if len(all) >= maxWatches {
		return nil, errors.New("too many look on already; end one of them first")
	}
	w := &Watch{server: s, filter: f, queue: make(chan sight, watchQueue)}
	all = append(slices.Clone(all), w)
	s.watches.Store(&all)
	return w, nil
}

// Close ends w. Its Next must not be called any more.
func (w *Watch) Close() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if now := w.server.watches.Load(); now != nil {
		all := slices.DeleteFunc(slices.Clone(*now), func(other *Watch) bool { return other == w })
		w.server.watches.Store(&all)
		if len(all) == 0 {
			w.server.watches.Store(nil)
		}
	}
}

// Next waits for a packet, until ctx or the server ends.
func (w *Watch) Next(ctx context.Context) (Sighting, error) {
	select {
	case <-ctx.Done():
		return Sighting{}, ctx.Err()
	case <-w.server.ctx.Done():
		return Sighting{}, errors.New("the server stops")
	case seen := <-w.queue:
		told := seen.tell()
		told.Missed = w.missed.Swap(0)
		return told, nil
	}
}

// watched says whether anybody looks on: what nobody sees costs this.
func (s *Server) watched() bool { return s.watches.Load() != nil }

// see shows a packet to those who look on. raw is copied where somebody wants it.
func (s *Server) see(t *table, c *client, from *path, raw []byte, what outcome) {
	now := s.watches.Load()
	if now == nil {
		return
	}
	var seen *sight
	for _, w := range *now {
		if !w.wants(t, c, raw) {
			continue
		}
		if len(w.queue) == cap(w.queue) {
			w.missed.Add(1)
			continue
		}
		if seen == nil {
			what.reply = bytes.Clone(what.reply)
			source := netip.AddrPortFrom(from.source(), from.from.Port())
			seen = &sight{at: time.Now(), table: t, client: c, from: source, request: bytes.Clone(raw), outcome: what}
		}
		select {
		case w.queue <- *seen:
		default:
			w.missed.Add(1)
		}
	}
}

// seeRequest is see for a request, with what was found out about it.
func (s *Server) seeRequest(r *request, what outcome) {
	if !s.watched() {
		return
	}
	what.finding = r.finding
	s.see(r.table, r.client, &r.path, r.packet.raw, what)
}

// wants says whether the filter lets a packet through. What cannot be read has
// no user.
func (w *Watch) wants(t *table, c *client, raw []byte) bool {
	if w.filter.Client != "" && (c == nil || c.Name != w.filter.Client) {
		return false
	}
	if w.filter.User == "" {
		return true
	}
	var p packet
	if p.parse(raw) != dropNone {
		return false
	}
	name, _ := p.find(attrUserName)
	return strings.EqualFold(string(name), w.filter.User) || strings.EqualFold(string(t.account(name)), w.filter.User)
}
