package radius

import (
	"bytes"
	"log/slog"
	"testing"
)

// R7: what was read together is told apart like what came one after the other. A
// repeat is answered to the octet or not at all, who used an identifier last has
// its answer, and what is not genuine stands in nobody's way.
func TestR7ReadTogether(t *testing.T) {
	const rounds = 3*atHand + 1
	e := newRealEngine(t, 1, nil)
	other := localClient()
	other.Name, other.Secrets = "other", [][]byte{[]byte("another secret, of the second client")}
	s, err := newServer(testConfig(testClient(), other), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	request := func(n int) []byte { return papRequest(n, e.names[0], e.texts[0]) }
	sock, l := &fakeSocket{}, &lane{}
	at, elsewhere := &path{sock: sock, from: testSource}, &path{sock: sock, from: otherSource}
	for n := range 2 { // into the cache
		s.handle(request(1000+n), &path{sock: &fakeSocket{}, from: testSource}, l)
		s.running.Wait()
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open := func(raw []byte, at *path) {
		if s.open(raw, at, l) {
			s.admitAll(l)
		}
	}
	for n := range rounds {
		open(request(n), at)
		open(flipMA(request(256+n)), at)
		open(request(n), at)
		open(request(n), elsewhere) // its secret is another one
		open(request(n)[:19], at)
	}
	open(request(512), at)
	open(request(768), at) // the identifier of the one before
	s.admitAll(l)
	s.running.Wait()

	replies := map[byte][][]byte{}
	for _, one := range sock.sent {
		if one.to != at.from {
			t.Errorf("a reply went to %v", one.to)
		}
		replies[one.reply[1]] = append(replies[one.reply[1]], one.reply)
	}
	all := 0
	for n := range rounds {
		mine := replies[byte(n)]
		all += len(mine)
		if n == 0 {
			last := mine[len(mine)-1]
			checkReply(t, last, request(768), testSecret)
			continue
		}
		for _, reply := range mine {
			checkReply(t, reply, request(n), testSecret)
			if reply[0] != codeAccessAccept || !bytes.Equal(reply, mine[0]) {
				t.Errorf("identifier %d got %x and %x", n, mine[0], reply)
			}
		}
		if len(mine) == 0 {
			t.Errorf("identifier %d got no reply", n)
		}
	}
	dropped := s.Counters().Dropped
	if none := dropped["duplicate"] + dropped["superseded"]; all+int(none) != 2*rounds+2 {
		t.Errorf("%d replies, and %d that nobody waited for, of %d", all, none, 2*rounds+2)
	}
	if dropped["bad-message-authenticator"] != 2*rounds || dropped["bad-length"] != rounds {
		t.Errorf("dropped %v", dropped)
	}
}
