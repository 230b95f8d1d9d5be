package radius

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// What decides a sign-in from the cache allocates nothing, from the octets of a
// request to those of its answer, with the engine and the audit behind it. Every
// round asks as a device does that goes through its identifiers again.
func TestSignInAllocatesNothing(t *testing.T) {
	e := newRealEngine(t, 1, nil)
	c := testClient()
	c.FailuresPerSecond = maxFailuresPerSecond
	config := testConfig(c)
	config.RejectDelay = 1
	s, err := newServer(config, e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	settle(t, e)
	const rounds, each = 20, 256
	base := 0
	for name, tt := range map[string]struct {
		text string
		code byte
		more [][]byte
	}{
		"accept":             {e.texts[0], codeAccessAccept, nil},
		"accept of a device": {e.texts[0], codeAccessAccept, [][]byte{attr(31, "02-00-5E-10-00-01"), attr(attrNASPort, "\x00\x01\x02\x03")}},
		"accept of a port":   {e.texts[0], codeAccessAccept, [][]byte{attr(attrNASPortID, "ge-0/0/1:100")}},
		"reject":             {otherText(t), codeAccessReject, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out := &countingSocket{}
			at, l := &path{sock: out, from: testSource}, newLane(nil)
			requests := make([][]byte, 0, (rounds+2)*each)
			base += 1_000_000
			for n := range cap(requests) {
				requests = append(requests, papRequest(base+n, e.names[0], tt.text, tt.more...))
			}
			ask := func() {
				for _, raw := range requests[:each] {
					s.handle(raw, at, l)
				}
				requests = requests[each:]
			}
			ask()
			out.codes = [256]int{}
			if n := testing.AllocsPerRun(rounds, ask); n > each/8 && !underRace { // the lists of what is written later grow
				t.Errorf("%v allocations for %d", n, each)
			}
			if out.codes[tt.code] != (rounds+1)*each {
				t.Errorf("%d answers as they should be, of %d; dropped: %v", out.codes[tt.code], (rounds+1)*each, s.Counters().Dropped)
			}
		})
	}
}

// settle has the first account at hand, so that readers decide what is asked of it.
func settle(t testing.TB, e *realEngine) {
	t.Helper()
	ask := func() {
		if _, err := e.Verify(t.Context(), core.Attempt{Account: e.names[0], Service: "radius/vpn1", Proof: proof.Cleartext(e.texts[0])}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the first use is written into the account, which is then read anew
		ask()
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for settled, g := 0, (core.Grant{}); settled < 100; settled++ { // news of what was written empty the cache once more
		if decided, err := e.VerifyText(&core.Attempt{Service: "radius/vpn1"}, []byte(e.names[0]), []byte(e.texts[0]), &g); err != nil {
			t.Fatal(err)
		} else if !decided {
			settled = 0
			ask()
		}
		time.Sleep(time.Millisecond)
	}
}

// otherText is an app password that nobody has.
func otherText(t testing.TB) string {
	t.Helper()
	text, err := secret.Generate(rand.Reader, secret.Standard)
	if err != nil {
		t.Fatal(err)
	}
	return text.Canonical()
}

// A countingSocket counts what is sent.
type countingSocket struct{ codes [256]int }

func (*countingSocket) number() uint16 { return 0 }

func (c *countingSocket) add(reply []byte, _ *path) (failed int, err error) {
	c.codes[reply[0]]++
	return 0, nil
}

func (*countingSocket) flush() (failed int, err error) { return 0, nil }

// least is how much of what a bare loop of the same batches does, for the same
// processor time, a sign-in must do: the load and the kernel's part are in both.
// It is a third of what it is; less means that something was made dear. Every
// datagram is one of its own, as of separate devices.
const least = 0.16

// A sign-in from the cache costs little more than its datagrams, measured in the
// processor time of one process, so that it does not matter how fast or busy the
// machine is.
func TestSpeed(t *testing.T) {
	if underRace || testing.Short() {
		t.Skip("it says nothing here")
	}
	const accounts, requests = 200, 40_000
	e := newRealEngine(t, accounts, nil)
	config := testConfig(localClient())
	s, err := Listen(config, e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context()) }()
	defer s.Close()
	echoes, err := datagram.Listen("udp4", "127.0.0.1:0", runtime.GOMAXPROCS(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.sockets[0].conns {
		c.DisableOffload()
	}
	for _, c := range echoes {
		c.DisableOffload()
		defer c.Close()
		go func() {
			r, w := c.NewReader(), c.NewWriter()
			for r.Read() == nil {
				for data, from, ok := r.Next(); ok; data, from, ok = r.Next() {
					_, _ = w.Add(data, from)
				}
				_, _ = w.Flush()
			}
		}()
	}
	raw := make([][]byte, requests)
	for n := range raw {
		raw[n] = papRequest(n, e.names[n%accounts], e.texts[n%accounts])
	}
	for n := range 2 { // into the cache, and once more when the first uses are written
		drive(t, s.Addrs()[0], raw[n*accounts:(n+1)*accounts])
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	whole := drive(t, s.Addrs()[0], raw[2*accounts:])
	bare := drive(t, echoes[0].Addr(), raw[2*accounts:])
	if got := s.Counters().Packets["access-accept"]; got != requests {
		t.Errorf("%d accepts of %d", got, requests)
	}
	n := float64(requests - 2*accounts)
	ratio := float64(bare) / float64(whole)
	t.Logf("of processor time, load included: a sign-in %.2f µs, an echo %.2f µs: %.2f", whole.Seconds()/n*1e6, bare.Seconds()/n*1e6, ratio)
	if ratio < least {
		t.Errorf("a sign-in does %.3f of what an echo does, want %.3f at least", ratio, least)
	}
}

// drive sends raw in batches, waits for as many replies, and returns what
// processor time this took in the process.
func drive(t testing.TB, to netip.AddrPort, raw [][]byte) time.Duration {
	t.Helper()
	all, err := datagram.Listen("udp4", "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	c := all[0]
	defer c.Close()
	c.DisableOffload()
	r, w := c.NewReader(), c.NewWriter()
	at := &datagram.Path{Peer: to}
	start := processorTime(t)
	for len(raw) > 0 {
		batch := raw[:min(128, len(raw))]
		raw = raw[len(batch):]
		for _, one := range batch {
			_, _ = w.Add(one, at)
		}
		if failed, err := w.Flush(); failed > 0 {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		for n := 0; n < len(batch); {
			if err := r.Read(); err != nil {
				t.Fatalf("%d of %d came back: %v", n, len(batch), err)
			}
			for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
				n++
			}
		}
	}
	return processorTime(t) - start
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
