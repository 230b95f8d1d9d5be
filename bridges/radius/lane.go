package radius

import (
	"net/netip"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/bridges/radius/digest"
	"github.com/keywicket/keywicket/core"
)

// atHand is how many requests are worked on at the same time: enough that the
// memory that the next ones need comes meanwhile, and that their MD5s fill the
// processor.
const atHand = 16

// A lane is what one reader works with. Its answers go out together, once all
// that was read together is looked at.
type lane struct {
	requests [atHand]request  // that are worked on together; their packets are views of datagrams
	n        int              // of them
	out      *datagram.Writer // nil: each by itself
	now      time.Time        // when the datagram was read; zero: now
	attempt  core.Attempt
	grant    core.Grant
	repeated []byte
	spelled  spellings

	table  *table // that said who is at source:
	source netip.Addr
	known  *client

	macs    [atHand][digestLen]byte
	names   [][]byte      // of those at hand
	sums    *digest.Batch // nil before the first
	replied []*request    // whose replies wait to be signed
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

// admitAll takes what is at hand: what is not genuine is refused; what the others
// need of memory that the processor does not have is fetched for all of them at
// the same time; and each is admitted.
func (s *Server) admitAll(l *lane) {
	defer func() {
		if v := recover(); v != nil {
			for i := range l.n {
				s.give(&l.requests[i], dropPanic)
			}
			s.panicked(v)
		}
		l.n, l.replied = 0, l.replied[:0]
	}()
	s.prove(l)
	l.fetch()
	if s.expecter != nil && l.n > 1 {
		s.expect(l)
	}
	if s.prompt != nil {
		l.unmask()
	}
	for i := range l.n {
		if r := &l.requests[i]; r.key != nil {
			s.admit(r, l)
		}
	}
	l.sign()
	for _, r := range l.replied {
		s.dispatch(r, l)
	}
}

// begin makes the sums empty.
func (l *lane) begin() {
	if l.sums == nil {
		l.sums = digest.NewBatch()
	}
	l.sums.Reset()
}

// prove finds out which requests are genuine.
func (s *Server) prove(l *lane) {
	l.begin()
	var first [atHand]*[digestLen]byte // what its Message-Authenticator is by the first key
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

// unmask makes what the passwords of the genuine requests are hidden with.
func (l *lane) unmask() {
	l.begin()
	for i := range l.n {
		r := &l.requests[i]
		if r.masks = 0; r.key == nil {
			continue
		}
		hidden, _ := r.packet.hiddenPassword()
		r.masks = len(hidden) / digestLen
		before := r.packet.authenticator()
		for at := 0; at < len(hidden); at += digestLen {
			octets := l.sums.Text(nil, len(r.key.secret)+digestLen, (*[digestLen]byte)(r.mask[at:]))
			copy(octets[copy(octets, r.key.secret):], before)
			before = hidden[at : at+digestLen]
		}
	}
	l.sums.Make()
	l.sums.Wipe()
}

// sign is key.sign for all replies.
func (l *lane) sign() {
	l.begin()
	for _, r := range l.replied {
		copy(r.reply[4:headerLen], r.packet.authenticator())
		copy(l.sums.Text(r.key.mac, len(r.reply), (*[digestLen]byte)(r.reply[headerLen+2:])), r.reply)
	}
	l.sums.Make()
	l.begin()
	for _, r := range l.replied {
		octets := l.sums.Text(nil, len(r.reply)+len(r.key.secret), (*[digestLen]byte)(r.reply[4:]))
		copy(octets[copy(octets, r.reply):], r.key.secret)
	}
	l.sums.Make()
	l.sums.Wipe()
}
