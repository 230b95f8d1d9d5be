package radius

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keywicket/keywicket/core"
)

// An askedEngine counts what readers do not decide.
type askedEngine struct {
	*realEngine
	asked    atomic.Int32
	expected []string
}

func (e *askedEngine) Expect(names [][]byte) {
	for _, name := range names {
		e.expected = append(e.expected, string(name))
	}
	e.realEngine.Expect(names)
}

func (e *askedEngine) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	e.asked.Add(1)
	return e.realEngine.Verify(ctx, a)
}

// R7: what was read together is told apart like what came one after the other. A
// repeat is answered to the octet or not at all, who used an identifier last has
// its answer, and what is not genuine stands in nobody's way.
func TestR7ReadTogether(t *testing.T) {
	const rounds = 3*atHand + 1
	e := &askedEngine{realEngine: newRealEngine(t, 1, nil)}
	other := localClient()
	other.Name, other.Secrets = "other", [][]byte{[]byte("another secret, of the second client")}
	s, err := newServer(testConfig(testClient(), other), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	request := func(n int) []byte { return papRequest(n, e.names[0], e.texts[0]) }
	sock, l := &fakeSocket{}, newLane(nil)
	at, elsewhere := &path{sock: sock, from: testSource}, &path{sock: sock, from: otherSource}
	settle(t, e.realEngine)
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
	if n := e.asked.Load(); n != 0 {
		t.Errorf("%d were not decided at once", n)
	}
	if n := len(e.expected); n < 2*rounds || n > 2*rounds+2 || slices.Max(e.expected) != e.names[0] { // of what comes alone none is told
		t.Errorf("%d genuine requests were expected, of %d", n, 2*rounds+2)
	}
	dropped := s.Counters().Dropped
	if none := dropped["duplicate"] + dropped["superseded"]; all+int(none) != 2*rounds+2 {
		t.Errorf("%d replies, and %d that nobody waited for, of %d", all, none, 2*rounds+2)
	}
	if dropped["bad-message-authenticator"] != 2*rounds || dropped["bad-length"] != rounds {
		t.Errorf("dropped %v", dropped)
	}
}

// R12: what is not genuine stands in nobody's way, wherever it comes among what is:
// each genuine request is answered as it deserves.
func TestR12ReadTogether(t *testing.T) {
	const accounts, requests = 7, 40 * atHand
	e := newRealEngine(t, accounts, nil)
	var logged bytes.Buffer
	s, err := newServer(testConfig(testClient()), e, nil, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	settle(t, e)
	sock, l := &fakeSocket{}, newLane(nil)
	random := rand.New(rand.NewPCG(1, 2))
	want := map[byte][]byte{} // by identifier
	bad := 0
	for n := range requests {
		raw := papRequest(n, e.names[n%accounts], e.texts[n%accounts])
		if random.IntN(2) == 0 {
			raw = flipMA(raw)
			bad++
		} else {
			want[byte(n)] = raw
		}
		at := &path{sock: sock, from: testSource}
		if s.open(raw, at, l) || random.IntN(20) == 0 {
			s.admitAll(l)
		}
		if byte(n) != 255 && n != requests-1 {
			continue
		}
		s.admitAll(l)
		s.running.Wait()
		for _, one := range sock.sent {
			raw := want[one.reply[1]]
			checkReply(t, one.reply, raw, testSecret)
			if one.reply[0] != codeAccessAccept {
				t.Fatalf("request %d got code %d", one.reply[1], one.reply[0])
			}
			delete(want, one.reply[1])
		}
		if len(want) > 0 {
			t.Fatalf("until request %d, %d got no reply", n, len(want))
		}
		sock.sent = nil
	}
	dropped := s.Counters().Dropped
	if dropped["bad-message-authenticator"] != uint64(bad) || dropped["panic"] != 0 || strings.Contains(logged.String(), "panic") {
		t.Errorf("%d were not genuine; dropped %v", bad, dropped)
	}
}

// R6: what is decided in the reader is signed with the secret that its request was
// made with too, whether it says so or its password does, and that is counted.
func TestR6SecretChangeAtOnce(t *testing.T) {
	e := &askedEngine{realEngine: newRealEngine(t, 1, nil)}
	c := changingClient()
	c.RequireMessageAuthenticator = RequireNever
	s, err := newServer(testConfig(c), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	typed := strings.Join(strings.Split(e.texts[0], ""), "-") // three blocks of it
	request := func(n int, secret string, signed bool) []byte {
		a := testAuthenticator(n)
		attributes := [][]byte{attr(1, e.names[0]), hidePassword(typed, secret, a)}
		if !signed {
			return rawPacket(1, byte(n), a, attributes...)
		}
		return signRequest(rawPacket(1, byte(n), a, append(attributes, emptyMA)...), secret)
	}
	settle(t, e.realEngine)
	l := newLane(nil)
	sock := &fakeSocket{}
	at := &path{sock: sock, from: testSource}
	want := map[byte][]byte{}
	for n := range 12 {
		raw := request(n, []string{testSecret, oldSecret, "nobody has this secret, not at all"}[n%3], n%2 == 0)
		want[byte(n)] = raw
		s.open(raw, at, l)
	}
	s.admitAll(l)
	s.running.Wait()
	for _, one := range sock.sent {
		id := one.reply[1]
		if one.reply[0] != codeAccessAccept { // the third secret's, where the test took a second
			continue
		}
		checkReply(t, one.reply, want[id], []string{testSecret, oldSecret, ""}[id%3])
		delete(want, id)
	}
	if len(want) != 4 { // those of the third secret
		t.Errorf("%d got no Accept", len(want))
	}
	if n := e.asked.Load(); n != 4 { // where the password alone tells the secret
		t.Errorf("%d were not decided at once", n)
	}
	if got := s.OldSecrets(); len(got) != 1 || got[0].Packets != 4 {
		t.Errorf("old secrets: %+v, want 4 packets", got)
	}
	if n := s.Counters().Dropped["bad-message-authenticator"]; n != 2 {
		t.Errorf("%d were not genuine, want 2", n)
	}
}
