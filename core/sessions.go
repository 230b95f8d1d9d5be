package core

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxSessions   = 100_000
	maxSessionsOf = 64      // of one app password
	maxOver       = 1 << 16 // sessions that are remembered as over

	// overFor is how long a session that is over is remembered, so that a report
	// from before, which comes late, does not bring it back.
	overFor = 15 * time.Minute

	// A session that is not reported for missedReports of its client's intervals
	// is over. Where nobody knows the interval it is sessionLife; an interval
	// that was only watched is between minEvery and maxEvery.
	missedReports = 3
	sessionGrace  = time.Minute
	sessionLife   = 24 * time.Hour
	minEvery      = time.Minute
	maxEvery      = 8 * time.Hour
)

// A sessionKey stands for a client and the id that it gave a session.
type sessionKey [16]byte

func sessionKeyOf(client, id string) sessionKey {
	sum := sha256.Sum256([]byte(client + "\x00" + id))
	return sessionKey(sum[:16])
}

// A session is a Session with what the engine needs of it.
type session struct {
	Session
	token
	key      sessionKey
	id       string // the client's
	port     string
	at       time.Time     // what is known of it was so then
	seen     time.Time     // when the last report came
	every    time.Duration // how often the client reports; 0: not known
	gaps     int           // between reports that were watched
	replaced bool          // another one of the same device took its place

	ending *ending   // while it is being ended
	tries  int       // that failed
	asked  time.Time // when the last try began
	again  time.Time // when the next one may
}

// life is how long s may go without a report.
func (s *session) life() time.Duration {
	if s.every == 0 {
		return sessionLife
	}
	return missedReports*s.every + sessionGrace
}

// sessions are those that the clients told of and that are not over.
type sessions struct {
	mu       sync.Mutex
	all      map[sessionKey]*session
	accounts sessionIndex // by normalised name
	clients  sessionIndex
	over     overs
	lost     uint64   // that found no room
	damaged  []string // keys of records that could not be opened

	writing  sessionWrites
	endings  endings
	suspects map[string]struct{} // accounts to look at
	wake     chan struct{}       // a token: there are suspects, or sessions to be ended
}

func newSessions() *sessions {
	return &sessions{
		all: make(map[sessionKey]*session), accounts: make(sessionIndex), clients: make(sessionIndex),
		over: overs{until: make(map[sessionKey]over)}, writing: newSessionWrites(), endings: newEndings(),
		suspects: make(map[string]struct{}), wake: make(chan struct{}, 1),
	}
}

// A sessionIndex has sessions by a name.
type sessionIndex map[string]map[*session]struct{}

func (x sessionIndex) add(name string, s *session) {
	if x[name] == nil {
		x[name] = make(map[*session]struct{})
	}
	x[name][s] = struct{}{}
}

func (x sessionIndex) remove(name string, s *session) {
	delete(x[name], s)
	if len(x[name]) == 0 {
		delete(x, name)
	}
}

// An over is a session that is over.
type over struct {
	issued int64 // of its last token
	until  time.Time
}

// overs remembers sessions that are over, the oldest up to a number of them.
type overs struct {
	until map[sessionKey]over
	order []sessionKey // oldest first
}

func (o *overs) add(s *session, now time.Time) {
	for len(o.order) > 0 && (len(o.order) >= maxOver || !now.Before(o.until[o.order[0]].until)) {
		delete(o.until, o.order[0])
		o.order = o.order[1:]
	}
	if _, known := o.until[s.key]; !known {
		o.order = append(o.order, s.key)
	}
	o.until[s.key] = over{issued: s.issued, until: now.Add(overFor)}
}

// has says whether a report with t, or with no token, comes after its session.
func (o *overs) has(key sessionKey, t token, now time.Time) bool {
	was, ok := o.until[key]
	return ok && now.Before(was.until) && t.issued <= was.issued
}

// knows says whether a report of key can be taken without a token.
func (s *sessions) knows(key sessionKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over := s.over.until[key]
	return s.all[key] != nil || over
}

// knowsAs says whether the session at key is one of the app password of t.
func (s *sessions) knowsAs(key sessionKey, t token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.all[key]
	return known != nil && known.sameOwner(t)
}

func (t token) sameOwner(u token) bool {
	return t.account == u.account && t.password == u.password // not a secret: ids
}

// report takes r, which t ties to ref, if it is not the zero token. It returns
// the account's name; false if there is no such session and no token.
func (s *sessions) report(key sessionKey, r SessionReport, t token, ref Ref, now time.Time) (name string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.all[key]
	if s.over.has(key, t, now) {
		return t.name, true
	}
	tied := t != token{}
	if known != nil && tied && !known.sameOwner(t) {
		if t.issued <= known.issued {
			return known.name, true // of before the client used the id again
		}
		s.remove(known)
		known = nil
	}
	if known == nil && !tied {
		return "", false
	}
	if known == nil {
		known = &session{
			Session: Session{Account: t.name, AppPassword: ref, Client: r.Client, Since: r.At.Add(-r.For)},
			token:   t, key: key, id: r.ID, seen: now,
		}
		if r.Event != SessionStopped {
			s.add(known)
		}
	}
	known.take(r, t, now)
	switch r.Event {
	case SessionStopped:
		s.end(known, now)
	case SessionStarts:
		s.replace(known)
		fallthrough
	default:
		s.writing.note(key, r.Event == SessionStarts)
	}
	return known.name, true
}

// take brings s up to date with r.
func (s *session) take(r SessionReport, t token, now time.Time) {
	for _, field := range []struct {
		at   *string
		said string
	}{{&s.Device, r.Device}, {&s.port, r.Port}, {&s.Address, r.Address}} {
		*field.at = cmp.Or(strings.ToValidUTF8(field.said, "\uFFFD"), *field.at)
	}
	s.Handle = r.Handle
	s.issued = max(s.issued, t.issued)
	if r.HasOctets && !r.At.Before(s.at) { // what comes late says less
		s.OctetsIn, s.OctetsOut = r.OctetsIn, r.OctetsOut
	}
	if r.At.After(s.at) {
		s.at = r.At
	}
	if r.Event == SessionGoesOn {
		s.replaced = false // it is there after all
		s.watch(now.Sub(s.seen))
	}
	s.every = max(s.every, min(r.Every, maxEvery))
	s.seen = now
}

// watch learns from the time between two reports. The first one says nothing:
// clients report once more as soon as the device has its address.
func (s *session) watch(gap time.Duration) {
	s.gaps++
	if s.gaps > 1 {
		s.every = max(s.every, min(max(gap, minEvery), maxEvery))
	}
}

// replace marks what the device of s had before at the same port: its end was
// lost. It does not count any more, but is still ended with the others.
func (s *sessions) replace(by *session) {
	if by.Device == "" || by.port == "" {
		return
	}
	for other := range s.accounts[by.name] {
		if other != by && other.sameOwner(by.token) && other.Client == by.Client && other.Device == by.Device && other.port == by.port {
			other.replaced = true
			s.writing.note(other.key, false)
		}
	}
}

// add makes room for a session and adds it. s.mu is held.
func (s *sessions) add(added *session) {
	var oldest *session
	n := 0
	for other := range s.accounts[added.name] {
		if other.sameOwner(added.token) {
			n++
			if other.ending != nil {
				continue // what is being ended is not lost sight of
			}
			if oldest == nil || other.seen.Before(oldest.seen) {
				oldest = other
			}
		}
	}
	if n >= maxSessionsOf && oldest != nil {
		s.lost++
		s.remove(oldest)
	}
	if len(s.all) >= maxSessions {
		s.thin()
	}
	s.all[added.key] = added
	s.accounts.add(added.name, added)
	s.clients.add(added.Client, added)
}

// thin takes the oldest sessions from the client that has the most, so that
// none can push out what others have.
func (s *sessions) thin() {
	var most map[*session]struct{}
	for _, of := range s.clients {
		if len(of) > len(most) {
			most = of
		}
	}
	byAge := slices.SortedFunc(maps.Keys(most), func(a, b *session) int { return a.seen.Compare(b.seen) })
	for _, old := range byAge[:max(1, len(byAge)/64)] {
		if old.ending == nil {
			s.lost++
			s.remove(old)
		}
	}
}

// remove takes a session out of everything. s.mu is held.
func (s *sessions) remove(gone *session) {
	if s.all[gone.key] != gone {
		return
	}
	delete(s.all, gone.key)
	s.accounts.remove(gone.name, gone)
	s.clients.remove(gone.Client, gone)
	if gone.ending != nil {
		gone.ending.stop()
	}
	s.writing.note(gone.key, false)
}

// end is remove for a session that is over. s.mu is held.
func (s *sessions) end(gone *session, now time.Time) {
	s.over.add(gone, now)
	s.remove(gone)
	s.writing.note(gone.key, true)
}

// forget ends what a device had before it began anew, and returns the keys.
func (s *sessions) forget(client string, of func(handle []byte) bool, now time.Time) []sessionKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []sessionKey
	for gone := range maps.Clone(s.clients[client]) {
		if of(gone.Handle) {
			s.end(gone, now)
			keys = append(keys, gone.key)
		}
	}
	return keys
}

// expire removes sessions that were not reported for too long.
func (s *sessions) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.all {
		if old.ending == nil && now.Sub(old.seen) > old.life() {
			s.remove(old)
		}
	}
}

// list returns the sessions of the account called name, or all.
func (s *sessions) list(name string) []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Session
	for _, each := range s.all {
		if (name == "" || each.name == name) && !each.replaced {
			found = append(found, each.Session)
		}
	}
	return found
}

// count returns how many sessions the app password of t has, beside what the
// device of a had at the same place.
func (s *sessions) count(name string, t token, a Attempt) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for each := range s.accounts[name] {
		back := a.Device != "" && a.Port != "" && each.Client == a.Client && each.Device == a.Device && each.port == a.Port
		if each.sameOwner(t) && !each.replaced && !back {
			n++
		}
	}
	return n
}

func (s *sessions) stats() (n int, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.lost
}
