package load_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/load"
	"github.com/keywicket/keywicket/bridges/radius/radiustest"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	secret   = radiustest.Secret
	password = radiustest.Password
)

func config(server netip.AddrPort) load.Config {
	return load.Config{Server: server, Secret: []byte(secret), Method: proof.MethodCleartext,
		Accounts: []load.Account{{"alain", password}, {"alain@contoso.com", password}},
		InFlight: 32, WarmUp: 50 * time.Millisecond, Duration: 200 * time.Millisecond, Repeat: time.Second, Tries: 3}
}

// Every way to make load gets the answers that the server owes it.
func TestRun(t *testing.T) {
	server := radiustest.Serve(t)
	for name, change := range map[string]func(*load.Config){
		"closed loop":      func(*load.Config) {},
		"more than a port": func(c *load.Config) { c.InFlight, c.Ports = 600, 1 },
		"rate":             func(c *load.Config) { c.InFlight, c.Rate = 0, 2000 },
		"MS-CHAPv2":        func(c *load.Config) { c.Method = proof.MethodMSCHAPv2 },
		"some wrong":       func(c *load.Config) { c.Wrong, c.Duration = 0.02, time.Second },
		"addresses":        func(c *load.Config) { c.From = load.Addresses(netip.MustParseAddr("127.0.1.1"), 3) },
		"single":           func(c *load.Config) { c.Single = true },
		"in order":         func(c *load.Config) { c.InOrder = true },
		"flood":            func(c *load.Config) { c.Flood = 2000 },
	} {
		t.Run(name, func(t *testing.T) {
			c := config(server)
			change(&c)
			begun, ended := false, false
			c.Begin, c.End = func() { begun = true }, func() { ended = true }
			r, err := load.Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Accepted == 0 || (r.Rejected > 0) != (c.Wrong > 0) || r.Mistaken+r.Forged+r.Answered > 0 || (r.Flooded > 0) != (c.Flood > 0) {
				t.Errorf("%d accepted, %d rejected, %d mistaken, %d forged, %d flooded, %d of these answered", r.Accepted, r.Rejected, r.Mistaken, r.Forged, r.Flooded, r.Answered)
			}
			if r.Latencies.Count() != r.Replies() || r.Latencies.Percentile(50) <= 0 || r.Latencies.Percentile(50) > r.Latencies.Most() || !begun || !ended {
				t.Errorf("%d latencies of %d replies, half %v, most %v; begun %v, ended %v", r.Latencies.Count(), r.Replies(), r.Latencies.Percentile(50), r.Latencies.Most(), begun, ended)
			}
		})
	}
}

// A server that answers wrongly is found out: one that accepts what is wrong,
// and one that does not know the shared secret.
func TestRunFindsFaults(t *testing.T) {
	server := radiustest.Serve(t)
	c := config(server)
	c.Accounts[1].Password = "something else" // what is right to us is wrong to it
	c.WarmUp = 0                              // soon it is silent to so many failures
	runUntil(t, c, func(r load.Result) bool { return r.Mistaken > 0 && r.Accepted > 0 })
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { // sends an Access-Accept that is signed with nothing
		var buf [4096]byte
		for {
			n, from, err := conn.ReadFrom(buf[:])
			if err != nil {
				return
			}
			buf[0] = 2
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	c = config(netip.MustParseAddrPort(conn.LocalAddr().String()))
	c.Repeat, c.Duration = 50*time.Millisecond, time.Second
	r := runUntil(t, c, func(r load.Result) bool { return r.Forged > 0 && r.Repeats > 0 && r.Lost > 0 })
	if r.Replies() != 0 {
		t.Errorf("%d replies count, though all are forged", r.Replies())
	}
}

// runUntil runs c until enough happened in one run: on a busy machine nothing may.
func runUntil(t *testing.T, c load.Config, enough func(load.Result) bool) load.Result {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		r, err := load.Run(t.Context(), c)
		switch {
		case err != nil:
			t.Fatal(err)
		case enough(r):
			return r
		case time.Now().After(end):
			t.Fatalf("%d accepted, %d mistaken, %d forged, %d repeats, %d lost: not enough", r.Accepted, r.Mistaken, r.Forged, r.Repeats, r.Lost)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for name, change := range map[string]func(*load.Config){
		"secret":   func(c *load.Config) { c.Secret = nil },
		"accounts": func(c *load.Config) { c.Accounts = nil },
		"name":     func(c *load.Config) { c.Accounts[0].Name = "" },
		"password": func(c *load.Config) { c.Accounts[0].Password = string(make([]byte, 129)) },
		"both":     func(c *load.Config) { c.Rate = 1 },
		"neither":  func(c *load.Config) { c.InFlight = 0 },
		"wrong":    func(c *load.Config) { c.Wrong = 1.1 },
		"tries":    func(c *load.Config) { c.Tries = 0 },
		"method":   func(c *load.Config) { c.Method = proof.MethodCHAP },
		"from":     func(c *load.Config) { c.From = []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
	} {
		c := config(netip.MustParseAddrPort("127.0.0.1:9"))
		change(&c)
		if _, err := load.Run(t.Context(), c); err == nil {
			t.Errorf("%s: no fault", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := load.Run(ctx, config(netip.MustParseAddrPort("127.0.0.1:9"))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Percentiles are within 3 %, whatever the lengths are.
func TestLatencies(t *testing.T) {
	for _, unit := range []time.Duration{1, 37, time.Microsecond, time.Millisecond, time.Second} {
		var l load.Latencies
		for i := range 1000 {
			l.Add(time.Duration(i+1) * unit)
		}
		for _, p := range []float64{1, 50, 90, 99, 99.9, 100} {
			want := float64(unit) * p * 10
			if got := float64(l.Percentile(p)); got < want*0.999 || got > want*1.04 && got > want+1 {
				t.Errorf("unit %v: %v %% are within %v, want %v", unit, p, got, want)
			}
		}
	}
	var none load.Latencies
	none.Add(-1)
	none.Add(200 * 24 * time.Hour)
	if none.Count() != 2 || none.Percentile(1) > 1 {
		t.Errorf("%d, %v", none.Count(), none.Percentile(1))
	}
}

// between stands between the load and a server. hold gets the reply to each request
// and says what goes back now.
func between(t *testing.T, server netip.AddrPort, hold func(request, reply []byte) [][]byte) netip.AddrPort {
	t.Helper()
	in, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp4", server.String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			request, reply := make([]byte, 4096), make([]byte, 4096)
			n, from, err := in.ReadFrom(request)
			if err != nil {
				return
			}
			_, _ = out.Write(request[:n])
			_ = out.SetReadDeadline(time.Now().Add(5 * time.Second))
			m, err := out.Read(reply)
			if err != nil {
				continue
			}
			for _, raw := range hold(request[:n], reply[:m]) {
				_, _ = in.WriteTo(raw, from)
			}
		}
	}()
	t.Cleanup(func() { _, _ = in.Close(), out.Close(); <-done })
	return netip.MustParseAddrPort(in.LocalAddr().String())
}

// A reply that comes when its identifier is used again is late, and not forged.
func TestLateReplies(t *testing.T) {
	type asked struct {
		authenticator string
		reply         []byte
	}
	const late = 3 // uses of the identifier
	all := map[byte][]asked{}
	server := between(t, radiustest.Serve(t), func(request, reply []byte) [][]byte {
		before := all[request[1]]
		n := len(before)
		if n > 0 && before[n-1].authenticator == string(request[4:20]) {
			return nil // sent again
		}
		all[request[1]] = append(before, asked{string(request[4:20]), reply})
		if n < late {
			return nil
		}
		return [][]byte{before[n-late].reply}
	})
	c := config(server)
	c.InFlight, c.Ports, c.Tries, c.Repeat, c.Duration = 4, 1, 2, 10*time.Millisecond, 2*time.Second
	r, err := load.Run(t.Context(), c)
	if err != nil || r.Late == 0 || r.Forged > 0 || r.Lost == 0 || r.Replies() > 0 {
		t.Errorf("%d late, %d forged, %d lost, %d replies, %v", r.Late, r.Forged, r.Lost, r.Replies(), err)
	}
	// Nor is a second reply to the same request.
	server = between(t, radiustest.Serve(t), func(_, reply []byte) [][]byte { return [][]byte{reply, reply} })
	c = config(server)
	c.InFlight, c.Ports, c.Duration = 1, 1, time.Second
	if r, err = load.Run(t.Context(), c); err != nil || r.Late == 0 || r.Forged > 0 || r.Replies() == 0 {
		t.Errorf("twice: %d late, %d forged, %d replies, %v", r.Late, r.Forged, r.Replies(), err)
	}
}

// At a rate, a server that stands still for a while has made all wait that were due
// in that time, also those that could not even be sent.
func TestStandstillCounts(t *testing.T) {
	const stands, rate = 600 * time.Millisecond, 1500
	n := 0
	server := between(t, radiustest.Serve(t), func(_, reply []byte) [][]byte {
		if n++; n == 100 {
			time.Sleep(stands)
		}
		return [][]byte{reply}
	})
	c := config(server)
	c.InFlight, c.Rate, c.Ports, c.WarmUp, c.Duration, c.Repeat = 0, rate, 1, 0, 2*time.Second, 5*time.Second
	r, err := load.Run(t.Context(), c)
	if err != nil || r.Replies() == 0 {
		t.Fatalf("%d replies, %v", r.Replies(), err)
	}
	// 256 identifiers are 0.17 s of it. Of 2 s, those of the other 0.43 s are a fifth.
	if waited := r.Latencies.Percentile(80); waited < 50*time.Millisecond {
		t.Errorf("the last fifth waited %v", waited)
	}
	if r.Answers.Count() != r.Replies() || r.Behind.Count() == 0 || r.Answers.Most() > r.Latencies.Most() {
		t.Errorf("%d answers of %d replies after %v at most, of %v; %d were sent", r.Answers.Count(), r.Replies(), r.Answers.Most(), r.Latencies.Most(), r.Behind.Count())
	}
}
