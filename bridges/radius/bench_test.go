package radius

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A quietEngine grants everything and keeps nothing.
type quietEngine struct{}

func (quietEngine) Verify(_ context.Context, a core.Attempt) (core.Grant, error) {
	return core.Grant{Account: a.Account}, nil
}
func (quietEngine) Ready(context.Context) error { return nil }
func (quietEngine) Jitter(string) uint64        { return 0 }

func benchServer(b *testing.B) (*Server, *path) {
	b.Helper()
	s, err := newServer(testConfig(), &fakeEngine{verify: grantAll}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return s, &path{sock: &fakeSocket{}, from: testSource}
}

// BenchmarkAuthenticate is parse and Message-Authenticator of a good request.
func BenchmarkAuthenticate(b *testing.B) {
	s, at := benchServer(b)
	c := s.table.Load().client(at.source())
	request := papRequest(1, testName, testPassword)
	var p packet
	b.ReportAllocs()
	for b.Loop() {
		if p.parse(request) != dropNone {
			b.Fatal("parse")
		}
		if !c.keys[0].signs(&p) {
			b.Fatal("not genuine")
		}
	}
}

// BenchmarkBadMessageAuthenticator is all that such a packet costs (R12).
func BenchmarkBadMessageAuthenticator(b *testing.B) {
	s, at := benchServer(b)
	request := flipMA(papRequest(1, testName, testPassword))
	l := newLane(nil)
	b.ReportAllocs()
	for b.Loop() {
		s.handle(request, at, l)
	}
}

// BenchmarkUnknownClient is all that a stranger's packet costs (R5).
func BenchmarkUnknownClient(b *testing.B) {
	s, at := benchServer(b)
	at.from = netip.MustParseAddrPort("203.0.113.1:1")
	request := papRequest(1, testName, testPassword)
	l := newLane(nil)
	b.ReportAllocs()
	for b.Loop() {
		s.handle(request, at, l)
	}
}

// BenchmarkPAPLoopback is sign-ins over UDP, a few in flight; the half of the time is the
// client's.
func BenchmarkPAPLoopback(b *testing.B) {
	s, err := Listen(testConfig(localClient()), quietEngine{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(b.Context()) }()
	defer s.Close()
	var next atomic.Int64
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", s.Addrs()[0].String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		var buf [4096]byte
		for pb.Next() {
			_, _ = conn.Write(papRequest(int(next.Add(1)), testName, testPassword))
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Read(buf[:]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSignIn is a sign-in from the cache, with the engine and the audit
// behind it and without sockets, one by one and as many as are read together.
func BenchmarkSignIn(b *testing.B) {
	const accounts = 1000
	e := newRealEngine(b, accounts, nil)
	s, err := newServer(testConfig(), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var requests [][]byte
	for i := range 64 * accounts {
		requests = append(requests, papRequest(i, e.names[i%accounts], e.texts[i%accounts]))
	}
	for range 2 { // the first uses are written, and the accounts read anew
		for i := range e.names {
			if _, err := e.Verify(b.Context(), core.Attempt{Account: e.names[i], Service: "radius/vpn1", Proof: proof.Cleartext(e.texts[i])}); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	replays := &s.table.Load().client(testSource.Addr()).peer.history.replays
	for n := range 3_000_000 { // of a minute before
		replays.add(replays.mark(numbered(n)), time.Now())
	}
	for name, together := range map[string]int{"one by one": 1, "together": atHand} {
		b.Run(name, func(b *testing.B) {
			benchLane(b, s, requests, together)
		})
	}
}

// benchLane has s accept requests, over and over, so many together.
func benchLane(b *testing.B, s *Server, requests [][]byte, together int) {
	b.Helper()
	replays := &s.table.Load().client(testSource.Addr()).peer.history.replays
	out := &countingSocket{}
	at, l := &path{sock: out, from: testSource}, newLane(nil)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%len(requests) == 0 {
			replays.seed = maphash.MakeSeed() // as if others came
		}
		s.open(requests[n%len(requests)], at, l)
		if n++; n%together == 0 {
			s.admitAll(l)
		}
	}
	s.admitAll(l)
	if out.codes[codeAccessAccept] != n {
		b.Errorf("%d accepts of %d; dropped %v", out.codes[codeAccessAccept], n, s.Counters().Dropped)
	}
}

// BenchmarkWorkers is sign-ins that the workers decide, and Rejects that waited, many
// at a time, by the processor time of both sides.
func BenchmarkWorkers(b *testing.B) {
	for name, engine := range map[string]Verifier{
		"accept": quietEngine{},
		"reject": &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) { return core.Grant{}, denied(core.ReasonWrong) }},
	} {
		b.Run(name, func(b *testing.B) {
			c := localClient()
			c.FailuresPerSecond = maxFailuresPerSecond
			config := testConfig(c)
			config.RejectDelay = 10 * time.Millisecond
			s, err := Listen(config, engine, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = s.Serve(b.Context()) }()
			defer s.Close()
			var took time.Duration
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				var raw [][]byte
				for i := range 128 {
					raw = append(raw, papRequest(128*n+i, testName, testPassword))
				}
				b.StartTimer()
				took += drive(b, s.Addrs()[0], raw)
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(128*b.N), "cpu-ns/request")
		})
	}
}

// BenchmarkKey is what the shared secret costs in a sign-in beside its
// Message-Authenticator: a password of 20 octets, and the reply.
func BenchmarkKey(b *testing.B) {
	k := newKey([]byte("a secret of 32 octets as we make"))
	request, hidden, text := make([]byte, 16), make([]byte, 32), make([]byte, 32)
	reply := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		k.reveal(text, hidden, request)
		k.sign(reply, request)
	}
}

// A readyEngine grants everything at once and keeps nothing.
type readyEngine struct{ quietEngine }

func (readyEngine) VerifyText(_ *core.Attempt, _, _ []byte, g *core.Grant) (bool, error) {
	*g = core.Grant{Session: append(g.Session[:0], "a session of some forty octets, or fifty"...)}
	return true, nil
}

// BenchmarkLane is what a sign-in costs here, without the engine and sockets, among
// as many as are worked on together.
func BenchmarkLane(b *testing.B) {
	s, err := newServer(testConfig(), readyEngine{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var requests [][]byte
	for i := range 128 * atHand {
		requests = append(requests, papRequest(i, testName, testPassword))
	}
	benchLane(b, s, requests, atHand)
}
