package radius

import (
	"net/netip"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/bridges/radius/digest"
	"github.com/keywicket/keywicket/core"
)

// This is the life of a request. A reader has a lane, and in it:
//
//	open      its client and where its attributes are is known
//	prove     it is genuine, or refused
//	fetch     what the history looks at comes from memory
//	expect    what the Verifier looks at comes, too
//	unmask    what its password is hidden with is computed
//	admit     it is new, or has the answer of before; it is decided, or kept as a job
//	sign      the reply is signed
//	dispatch  the reply goes out, or waits for its time
//
// After open, each step is taken for all that are at hand before the next one is.
// Jobs are decided one by one, by the workers of their client, and their replies
// signed and dispatched (attend).

// atHand is how many requests are worked on at the same time: enough that the
// memory that the next ones need comes meanwhile, and that their MD5s fill the
// processor.
const atHand = 16

// A lane is what one reader works with. Its answers go out together, once all
// that was read together is looked at.
type lane struct {
	out *datagram.Writer // nil: each by itself
	now time.Time        // when the datagrams at hand were read; zero: now

	requests [atHand]request // their packets are views of datagrams
	n        int             // of them are at hand
	replies  []response      // to those, that wait to be signed

	// What stays right for the next.
	table   *table // that said who is at source:
	source  netip.Addr
	known   *client
	spelled spellings

	// Room, of which a step reads what it has written itself.
	sums     *digest.Batch
	macs     [atHand][digestLen]byte
	masks    [atHand][maxPassword]byte
	names    [][]byte
	repeated []byte
	attempt  core.Attempt
	grant    core.Grant
}

func newLane(out *datagram.Writer) *lane { return &lane{out: out, sums: digest.NewBatch()} }

// A response is a reply to a request.
type response struct {
	to    *request
	reply []byte
	wait  time.Duration // after the request arrived, until it goes out
}

// clock is when the datagrams at hand were read, which is recent enough for all
// that lasts a second; without a lane it is now.
func (l *lane) clock() time.Time {
	if l == nil || l.now.IsZero() {
		return time.Now()
	}
	return l.now
}

// client is what t.client says of source, which mostly is the one of before.
func (l *lane) client(t *table, source netip.Addr) *client {
	if l.table != t || l.source != source {
		l.table, l.source, l.known = t, source, t.client(source)
	}
	return l.known
}

// admitAll takes all that is at hand from prove to dispatch. Nothing is decided by
// what is fetched and computed for all of them: it would be for each, later.
func (s *Server) admitAll(l *lane) {
	if l.n == 0 {
		return
	}
	defer s.finish(l)
	s.prove(l)
	l.fetch()
	if s.expecter != nil && l.n > 1 {
		s.expect(l)
	}
	var masks [atHand][]byte
	if s.prompt != nil {
		masks = l.unmask()
	}
	for i := range l.n {
		if r := &l.requests[i]; r.key != nil {
			s.admit(r, masks[i], l)
		}
	}
	l.sign()
	for _, a := range l.replies {
		s.dispatch(a, l)
	}
}

// finish makes l empty, wiped of all that was typed, also after a panic: then
// nobody knows how far each had come, and all count as given up.
func (s *Server) finish(l *lane) {
	v := recover()
	for i := range l.n {
		clear(l.requests[i].password[:])
		clear(l.masks[i][:])
	}
	l.sums.Wipe()
	if v != nil {
		for i := range l.n {
			s.give(&l.requests[i], dropPanic)
		}
		s.panicked(v)
	}
	l.n, l.replies = 0, l.replies[:0]
}

// prove finds out which requests are genuine.
func (s *Server) prove(l *lane) {
	l.sums.Reset()
	var first [atHand]*[digestLen]byte // what its Message-Authenticator is by the first key; nil: it has none
	for i := range l.n {
		r := &l.requests[i]
		if p := &r.packet; p.signed() {
			first[i] = &l.macs[i]
			octets := l.sums.Text(r.client.live(r.arrived)[0].mac, len(p.raw), first[i])
			copy(octets, p.raw)
			clear(octets[p.signature+2:][:digestLen])
		}
	}
	l.sums.Make()
	for i := range l.n {
		s.authenticate(&l.requests[i], first[i])
	}
}

// fetch has fetched what the histories look at.
func (l *lane) fetch() {
	for i := 0; i < l.n; {
		first, peer := i, l.requests[i].client.peer
		for i < l.n && l.requests[i].client.peer == peer {
			i++
		}
		peer.history.ahead(l.requests[first:i])
	}
}

// expect tells the Verifier whose requests are at hand.
func (s *Server) expect(l *lane) {
	l.names = l.names[:0]
	for i := range l.n {
		r := &l.requests[i]
		if name, count := r.packet.find(attrUserName); r.key != nil && count == 1 {
			l.names = append(l.names, r.table.account(name))
		}
	}
	s.expecter.Expect(l.names)
}

// unmask returns what the passwords of the genuine requests are hidden with.
func (l *lane) unmask() (masks [atHand][]byte) {
	l.sums.Reset()
	for i := range l.n {
		r := &l.requests[i]
		if r.key == nil {
			continue
		}
		hidden, _ := r.packet.hiddenPassword()
		masks[i] = l.masks[i][:len(hidden)]
		before := r.packet.authenticator()
		for at := 0; at < len(hidden); at += digestLen {
			octets := l.sums.Text(nil, len(r.key.secret)+digestLen, (*[digestLen]byte)(masks[i][at:]))
			copy(octets[copy(octets, r.key.secret):], before)
			before = hidden[at : at+digestLen]
		}
	}
	l.sums.Make()
	return masks
}

// sign is key.sign for all replies.
func (l *lane) sign() {
	l.sums.Reset()
	for _, a := range l.replies {
		copy(a.reply[4:headerLen], a.to.packet.authenticator())
		copy(l.sums.Text(a.to.key.mac, len(a.reply), (*[digestLen]byte)(a.reply[headerLen+2:])), a.reply)
	}
	l.sums.Make()
	l.sums.Reset()
	for _, a := range l.replies {
		secret := a.to.key.secret
		octets := l.sums.Text(nil, len(a.reply)+len(secret), (*[digestLen]byte)(a.reply[4:]))
		copy(octets[copy(octets, a.reply):], secret)
	}
	l.sums.Make()
}
