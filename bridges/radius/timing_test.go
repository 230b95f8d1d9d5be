package radius

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// rankSum is the test of Mann and Whitney: how many standard deviations the
// ranks of a are from where they would be if a and b came from the same.
func rankSum(a, b []time.Duration) float64 {
	type sample struct {
		d     time.Duration
		first bool
	}
	var all []sample
	for _, d := range a {
		all = append(all, sample{d, true})
	}
	for _, d := range b {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return int(x.d - y.d) })
	ranks := 0.0
	for i, s := range all {
		if s.first {
			ranks += float64(i + 1)
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return (ranks - n*(n+m+1)/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// tooFar is a distance that chance brings about once in ten million times.
const tooFar = 5.4

// evenJitter takes the jitter of an account away, which differs on purpose, and
// can plant a difference.
type evenJitter struct {
	*core.Engine
	planted map[string]uint64
}

func (e evenJitter) Jitter(account string) uint64 { return e.planted[account] }

// R24: the jitter is one for all spellings of an account, whether it exists or not: two
// for one name would tell that it does not. It is another one elsewhere.
func TestR24Jitter(t *testing.T) {
	e, other := newRealEngine(t, 1, nil), newRealEngine(t, 0, nil)
	seen := map[uint64]string{}
	for _, spellings := range [][]string{{e.names[0], strings.ToUpper(e.names[0])}, {"nobody00@contoso.com", "Nobody00@Contoso.COM"}, {"\xff"}, {""}} {
		for _, name := range spellings {
			n := e.Jitter(name)
			if before, known := seen[n]; known != (name != spellings[0]) || known && before != spellings[0] {
				t.Errorf("%q has the jitter of %q, or none of its own", name, before)
			}
			if n == other.Jitter(name) {
				t.Errorf("the jitter of %q is the same with another key", name)
			}
			seen[n] = spellings[0]
		}
	}
}

// R24: whatever stands as a name, it is a Reject like any other.
func TestR24Names(t *testing.T) {
	e := newRealEngine(t, 1, nil)
	config := testConfig()
	config.RejectDelay = 1
	s, err := newServer(config, e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sock, l := &fakeSocket{}, newLane(nil)
	at := &path{sock: sock, from: testSource}
	names := []string{e.names[0], "\xff\xfe", "a\x00b", "a\nb", "\u202ea", `CONTOSO\`, `\`, "@", " ", strings.Repeat("x", 253), strings.Repeat("ü", 126), "a/../b", "${jndi:x}"}
	for n, name := range names {
		for i, raw := range [][]byte{papRequest(2*n, name, otherText(t)), mschap2Request(t, 2*n+1, name, name, testPassword)} {
			s.handle(raw, at, l)
			s.running.Wait()
			if len(sock.sent) != 2*n+i+1 {
				t.Fatalf("%q: %d replies; dropped %v", name, len(sock.sent), s.Counters().Dropped)
			}
			reply := sock.sent[2*n+i].reply
			checkReply(t, reply, raw, testSecret)
			if rest := reply[38:]; reply[0] != codeAccessReject || !bytes.Equal(rest, sock.sent[i].reply[38:]) {
				t.Errorf("%q: %x, the first name has %x", name, reply, sock.sent[i].reply)
			}
		}
	}
}

// R24: whatever an attempt is refused for, the answer has the same octets and
// comes at the same time.
func TestR24Indistinguishable(t *testing.T) {
	if underRace {
		t.Skip("it says nothing here")
	}
	e := newRealEngine(t, 5, func(p *core.Policy) {
		p.Profiles["lounge"] = core.Profile{Letters: 20, Services: []string{"radius/lounge"}, Methods: []proof.Method{proof.MethodCleartext}}
	})
	deleted, err := e.Delete(t.Context(), e.names[1], "device of ")
	if err != nil || deleted.ID == "" {
		t.Fatal(err)
	}
	if _, err := e.Suspend(t.Context(), e.names[4], "device of "); err != nil {
		t.Fatal(err)
	}
	_, expired, err := e.Create(t.Context(), e.names[2], core.NewAppPassword{Name: "expired", Expires: time.Now().Add(300 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][2]string{ // names of one length, as the answer might have their octets
		"wrong":     {e.names[0], otherText(t)},
		"deleted":   {e.names[1], e.texts[1]},
		"expired":   {e.names[2], expired.Canonical()},
		"scope":     {e.names[3], e.create(t, e.names[3], "lounge")},
		"suspended": {e.names[4], e.texts[4]},
		"unknown":   {"nobody00@contoso.com", otherText(t)},
		"mistyped":  {e.names[0], "aaaabbbbccccddddaaaa"},
	}
	time.Sleep(350 * time.Millisecond) // until it has expired
	for what, tt := range cases {
		_, err := e.Verify(t.Context(), core.Attempt{Account: tt[0], Service: "radius/vpn1", Proof: proof.Cleartext(tt[1])})
		t.Logf("%s: %s", what, core.ReasonOf(err))
	}
	samples, replies := askAll(t, evenJitter{Engine: e.Engine}, cases)
	for what := range cases {
		if z := rankSum(samples["wrong"], samples[what]); math.Abs(z) > tooFar {
			t.Errorf("%s is told from wrong by the time of its answer: %.1f standard deviations", what, z)
		}
		if !bytes.Equal(replies[what], replies["wrong"]) {
			t.Errorf("%s is told from wrong by the octets of its answer: %x, %x", what, replies[what], replies["wrong"])
		}
	}
	// It would be seen. On an idle machine half a millisecond is enough; this much
	// is found on a busy one too.
	samples, _ = askAll(t, evenJitter{e.Engine, map[string]uint64{"nobody00@contoso.com": uint64(4 * time.Millisecond)}}, cases)
	if z := rankSum(samples["wrong"], samples["unknown"]); math.Abs(z) <= tooFar {
		t.Errorf("four milliseconds more are not seen: %.1f standard deviations", z)
	}
}

// askAll asks each of cases many times, mixed, and returns how long the answers
// took, and one answer of each without identifier and authenticators.
func askAll(t *testing.T, v Verifier, cases map[string][2]string) (samples map[string][]time.Duration, replies map[string][]byte) {
	t.Helper()
	const askers, rounds = 6, 60
	c := localClient()
	c.FailuresPerSecond = maxFailuresPerSecond
	config := testConfig(c)
	config.RejectDelay = 20 * time.Millisecond
	s, err := Listen(config, v, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	samples, replies = map[string][]time.Duration{}, map[string][]byte{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for asker := range askers {
		asking.Go(func() {
			conn, err := net.Dial("udp", s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(60 * time.Second))
			for round := range rounds {
				if !askRound(t, conn, (asker*rounds+round)*256, cases, samples, replies, &mu) {
					return
				}
			}
		})
	}
	asking.Wait()
	return samples, replies
}

// askRound asks each of cases once, in any order, all at once.
func askRound(t *testing.T, conn net.Conn, first int, cases map[string][2]string, samples map[string][]time.Duration, replies map[string][]byte, mu *sync.Mutex) bool {
	what, since := make([]string, 0, len(cases)), make([]time.Time, len(cases))
	for name := range cases {
		what = append(what, name)
	}
	rand.Shuffle(len(what), func(i, j int) { what[i], what[j] = what[j], what[i] })
	for i, name := range what {
		raw := papRequest(first+i, cases[name][0], cases[name][1])
		since[i] = time.Now()
		if _, err := conn.Write(raw); err != nil {
			t.Error(err)
			return false
		}
	}
	for range what {
		var buf [4096]byte
		n, err := conn.Read(buf[:])
		if err != nil {
			t.Error(err)
			return false
		}
		took, i := time.Since(since[buf[1]]), buf[1]
		reply := append([]byte{buf[0]}, buf[2:4]...)
		reply = append(append(reply, buf[20:22]...), buf[38:n]...)
		mu.Lock()
		samples[what[i]] = append(samples[what[i]], took)
		if before := replies[what[i]]; before != nil && !bytes.Equal(before, reply) {
			t.Errorf("%s: %x and %x", what[i], before, reply)
		}
		replies[what[i]] = reply
		mu.Unlock()
	}
	return true
}

// R25: however many wrong tries came for an account from one client, its right
// app password is accepted at once, from that client and from another.
// WRONG_TRIES says how many there are.
func TestR25WrongTries(t *testing.T) {
	tries := 20_000
	if n, err := strconv.Atoi(os.Getenv("WRONG_TRIES")); err == nil {
		tries = n
	}
	other := testClient()
	other.Name, other.Prefixes = "wifi", prefixes("198.51.100.1/32")
	e := newRealEngine(t, 1, func(p *core.Policy) { p.FailuresPerSecond = nil })
	s, err := newServer(testConfig(testClient(), other), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	defer func() { _ = s.Close() }()
	wrong, sock, l := otherText(t), &fakeSocket{}, newLane(nil)
	at := &path{sock: sock, from: testSource}
	for n := range tries {
		s.handle(papRequest(n, e.names[0], wrong), at, l)
	}
	for i, from := range []string{"192.0.2.10:7000", "198.51.100.1:7000"} {
		at := &path{sock: sock, from: netip.MustParseAddrPort(from)}
		request := papRequest(tries+i, e.names[0], e.texts[0])
		start := time.Now()
		s.handle(request, at, l)
		for deadline := start.Add(30 * time.Second); !sock.accepted(at, request); {
			if time.Now().After(deadline) {
				t.Fatalf("from %s: no accept after %d wrong tries; dropped %v", from, tries, s.Counters().Dropped)
			}
			time.Sleep(time.Millisecond)
		}
		t.Logf("from %s: accepted after %v, and %d wrong tries", from, time.Since(start), tries)
	}
}

// accepted says whether request, which came by at, was accepted.
func (f *fakeSocket) accepted(at *path, request []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.sent, func(s sent) bool {
		return s.to == at.from && s.reply[0] == codeAccessAccept && s.reply[1] == request[1]
	})
}
