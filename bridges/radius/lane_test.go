package radius

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A namedEngine decides by the words in a name, and tells in a grant what it was
// asked.
type namedEngine struct{ quietEngine }

func (e namedEngine) Verify(_ context.Context, a core.Attempt) (core.Grant, error) {
	text, _ := a.Proof.(proof.Cleartext)
	g := core.Grant{Session: []byte("left behind by nobody")}
	return g, e.decide(&a, []byte(a.Account), text, &g)
}

func (e namedEngine) VerifyText(a *core.Attempt, name, typed []byte, g *core.Grant) (bool, error) {
	if bytes.HasPrefix(name, []byte("waits")) {
		return false, nil
	}
	return true, e.decide(a, name, typed, g)
}

func (namedEngine) Expect([][]byte) {}

func (namedEngine) decide(a *core.Attempt, name, typed []byte, g *core.Grant) error {
	switch {
	case bytes.Contains(name, []byte("panics")):
		panic("as it is called")
	case bytes.Contains(name, []byte("fails")):
		return errors.New("disk on fire")
	case bytes.Contains(name, []byte("limited")):
		return denied(core.ReasonThrottled)
	case !strings.HasPrefix(string(typed), testPassword):
		return denied(core.ReasonWrong)
	case bytes.Contains(name, []byte("bare")): // a grant of which nothing is said
		return nil
	}
	*g = core.Grant{
		Account: string(name), Reply: []core.Reply{{Name: "Filter-Id", Value: a.Device + "/" + a.Port}},
		Session: fmt.Appendf(g.Session[:0], "%s/%x", name, md5.Sum(typed)),
	}
	return nil
}

// anyRequest makes the packet number n: of any kind, by the one secret or the other,
// genuine or not.
func anyRequest(random *rand.Rand, n int) (raw []byte, accounting bool) {
	secret := []string{testSecret, testSecret, testSecret, oldSecret, "nobody has this secret, not at all"}[random.IntN(5)]
	if random.IntN(12) == 0 {
		return accountingRequest(n, secret, random.IntN(2) == 0, start("session")...), true
	}
	a := testAuthenticator(n)
	words := []string{"granted", "granted", "bare", "panics", "fails", "limited", "waits", "waits, panics", "waits, fails"}
	attributes := [][]byte{attr(1, words[random.IntN(len(words))]+" "+string(rune('a'+n%26)))}
	password := testPassword + strings.Repeat("x", random.IntN(5)*random.IntN(25))
	switch random.IntN(16) {
	default:
		attributes = append(attributes, hidePassword(password, secret, a))
	case 0:
		attributes = append(attributes, hidePassword("wrong", secret, a))
	case 1:
		attributes = append(attributes, hidePassword("", secret, a))
	case 2:
		attributes = append(attributes, attr(2, "15 octets of it"))
	case 3:
		attributes = append(attributes, hidePassword(password, secret, a), hidePassword(password, secret, a))
	case 4:
		attributes = append(attributes, attr(3, strings.Repeat("x", 17)))
	case 5:
		attributes = append(attributes, hidePassword(password, secret, a), attr(3, strings.Repeat("x", 17)))
	case 6:
	}
	if random.IntN(3) == 0 {
		attributes = append(attributes, attr(31, "02-00-5E-10-00-0"+string(rune('0'+n%10))), attr(attrNASPortID, "ge-"+string(rune('0'+n%10))))
	}
	if random.IntN(20) == 0 {
		attributes = append(attributes, attr(33, "state"))
	}
	code := byte(codeAccessRequest)
	if random.IntN(30) == 0 {
		code = codeStatusServer
	}
	switch random.IntN(12) {
	default:
		attributes = append(attributes, emptyMA)
	case 0: // two
		attributes = append(attributes, emptyMA, emptyMA)
	case 1, 2: // none
		return rawPacket(code, byte(n), a, attributes...), false
	case 3: // too short
		return rawPacket(code, byte(n), a, append(attributes, attr(80, "short"))...), false
	case 4:
		return flipMA(signRequest(rawPacket(code, byte(n), a, append(attributes, emptyMA)...), secret)), false
	case 5: // of no length that there is
		return rawPacket(code, byte(n), a, append(attributes, []byte{1})...), false
	}
	random.Shuffle(len(attributes), func(i, j int) { attributes[i], attributes[j] = attributes[j], attributes[i] })
	return signRequest(rawPacket(code, byte(n), a, attributes...), secret), false
}

// poison leaves in l, which is empty, what is of nobody, wherever something can be
// left from one batch to the next.
func (l *lane) poison(t *testing.T) {
	if l.n != 0 || len(l.replies) != 0 {
		t.Fatalf("%d requests and %d replies are left", l.n, len(l.replies))
	}
	for i := range l.requests {
		r := &l.requests[i]
		r.poison(t)
		fill(l.macs[i][:])
		fill(l.masks[i][:])
		l.replies = append(l.replies, response{to: r, reply: r.reply, wait: time.Hour})
	}
	l.replies = l.replies[:0]
	l.names = [][]byte{[]byte("stranger")}
	l.repeated = []byte{codeAccessAccept, 1, 2}
	l.attempt = core.Attempt{Account: "stranger", Service: "stranger", Client: "stranger", Device: "stranger", Port: "stranger"}
	l.grant = core.Grant{Account: "stranger", Groups: []string{"stranger"}, Profile: "stranger", Reply: []core.Reply{{Name: "Filter-Id", Value: "stranger"}}, Session: []byte("stranger")}
	lasts := []string{"out", "now", "n", "table", "source", "known", "spelled", "sums"} // and is of no request
	noZero(t, "lane", reflect.ValueOf(*l), lasts)
}

// poison makes r one of nobody.
func (r *request) poison(t *testing.T) {
	stranger := &client{Client: &Client{Name: "stranger", AllowReplayedAuthenticator: true}, peer: newPeer("stranger"), keys: []*key{newKey([]byte("the secret of nobody at all"))}}
	r.facts = facts{
		path:  path{sock: strangeSocket{t}, from: netip.MustParseAddrPort("203.0.113.1:1"), local: testSource.Addr(), iface: 1, accounting: true},
		table: &table{}, client: stranger, arrived: time.Unix(1, 0), key: stranger.keys[0],
		exchange: &exchange{}, mschap: &exchanged{}, finding: finding{decided: true, refused: errors.New("stranger"), used: core.Ref{ID: "stranger"}, garbled: true, foreign: true},
	}
	raw := papRequest(1, "stranger", testPassword, attr(31, "stranger"), attr(79, ""), attr(33, "stranger"))
	r.packet.parse(raw)
	r.packet.raw = append(make([]byte, 0, maxPacket), raw...)[:headerLen+1]
	r.reply = bytes.Repeat([]byte{0xaa}, maxPacket)
	fill(r.password[:])
	noZero(t, "facts", reflect.ValueOf(r.facts), nil)
	noZero(t, "finding", reflect.ValueOf(r.finding), nil)
	noZero(t, "packet", reflect.ValueOf(r.packet), nil)
	noZero(t, "request", reflect.ValueOf(*r), nil)
}

func fill(room []byte) {
	for i := range room {
		room[i] = 0xaa
	}
}

// noZero wants every field of v, a struct, to be something: that of a new field it is
// tested too that nothing is left in it.
func noZero(t *testing.T, of string, v reflect.Value, but []string) {
	t.Helper()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && !slices.Contains(but, name) {
			t.Fatalf("%s.%s: poison leaves nothing in it; say there what could be left", of, name)
		}
	}
}

// A strangeSocket is one that nobody may use.
type strangeSocket struct{ t *testing.T }

func (strangeSocket) number() uint16 { return 9 }
func (k strangeSocket) add(reply []byte, _ *path) (int, error) {
	k.t.Errorf("%x went to where it is left from before", reply)
	return 0, nil
}
func (strangeSocket) flush() (int, error) { return 0, nil }

// What was read together is answered as if each had come alone, to a lane that was
// never used, whatever is left in the lane, and when the memory of the datagrams is
// used again at once.
func TestNothingIsLeftInALane(t *testing.T) {
	const chunks, each = 30, 100 // of a chunk no two have one identifier
	synctest.Test(t, func(t *testing.T) {
		newOne := func() *Server {
			lax := changingClient()
			lax.Name, lax.Prefixes, lax.RequireMessageAuthenticator = "lax", prefixes("198.51.100.1/32"), RequireNever
			strict := changingClient()
			strict.FailuresPerSecond, lax.FailuresPerSecond = maxFailuresPerSecond, maxFailuresPerSecond
			config := testConfig(strict, lax)
			config.RejectDelay = 1
			s, err := newServer(config, namedEngine{}, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		random := rand.New(rand.NewPCG(3, 4))
		together, alone := newOne(), newOne()
		defer func() { _, _ = together.Close(), alone.Close() }()
		together.jobs.New = func() any {
			j := &job{}
			j.poison(t)
			fill(j.octets[:])
			noZero(t, "job", reflect.ValueOf(*j), nil)
			return j
		}
		l, codes := newLane(nil), map[byte]int{}
		for chunk := range chunks {
			got, want, at := &fakeSocket{}, &fakeSocket{}, path{}
			var datagrams [][]byte
			admitAll := func() {
				together.admitAll(l)
				for _, raw := range datagrams { // what the next are read into
					fill(raw)
				}
				datagrams = datagrams[:0]
				l.poison(t)
			}
			for i := range each {
				n := chunk*each + i
				raw, accounting := anyRequest(random, n)
				at.from, at.accounting = testSource, accounting
				switch random.IntN(9) {
				case 0:
					at.from = testSourceOf("203.0.113.9")
				case 1, 2, 3:
					at.from = testSourceOf("198.51.100.1")
				}
				at.sock = want
				alone.handle(bytes.Clone(raw), &at, newLane(nil))
				synctest.Wait()
				at.sock, datagrams = got, append(datagrams, raw)
				if full := together.open(raw, &at, l); full || random.IntN(15) == 0 {
					admitAll()
				}
			}
			admitAll()
			synctest.Wait()
			sorted := func(k *fakeSocket) (all []string) {
				for _, one := range k.sent {
					codes[one.reply[0]]++
					all = append(all, one.to.String()+" "+string(one.reply))
				}
				slices.Sort(all)
				return all
			}
			if a, b := sorted(got), sorted(want); !slices.Equal(a, b) {
				t.Fatalf("chunk %d: together %d replies\n%q\nalone %d\n%q", chunk, len(a), a, len(b), b)
			}
			time.Sleep(time.Second)
		}
		if a, b := together.Counters(), alone.Counters(); !maps.Equal(a.Dropped, b.Dropped) || !maps.Equal(a.Packets, b.Packets) {
			t.Errorf("together %v, alone %v", a, b)
		}
		for _, why := range []string{"unknown-client", "bad-attributes", "no-message-authenticator", "bad-message-authenticator", "unsigned-proxy-state", "throttled", "internal", "panic", "bad-request-authenticator"} {
			if alone.Counters().Dropped[why] == 0 {
				t.Errorf("nothing was dropped as %s: %v", why, alone.Counters().Dropped)
			}
		}
		for _, code := range []byte{codeAccessAccept, codeAccessReject, codeAccountingResponse} {
			if codes[code] < 2*chunks {
				t.Errorf("%d replies of code %d", codes[code], code)
			}
		}
	})
}

// R7: when a batch panics, what the workers have of it is theirs: a repeat of it is
// not decided a second time.
func TestR7APanicInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &waitingEngine{goOn: make(chan struct{})}
		s, err := newServer(testConfig(), engine, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		sock, l := &fakeSocket{}, newLane(nil)
		waits, granted := papRequest(1, "waits", testPassword), papRequest(2, "granted", testPassword)
		at, broken := &path{sock: sock, from: testSource}, &path{sock: &failingSocket{}, from: testSource}
		for range 3 {
			s.open(waits, at, l)
			s.open(granted, broken, l)
			s.admitAll(l)
			synctest.Wait()
		}
		if n := s.Counters().Dropped["panic"]; n == 0 || len(sock.sent) != 0 {
			t.Errorf("%d panics, %d replies before they were decided", n, len(sock.sent))
		}
		close(engine.goOn)
		synctest.Wait()
		if engine.asked.Load() != 1 || len(sock.sent) != 1 {
			t.Errorf("asked %d times, %d replies", engine.asked.Load(), len(sock.sent))
		}
	})
}

// A waitingEngine has its workers wait.
type waitingEngine struct {
	namedEngine
	asked atomic.Int32
	goOn  chan struct{}
}

func (e *waitingEngine) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	e.asked.Add(1)
	<-e.goOn
	return e.namedEngine.Verify(ctx, a)
}
