package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

// A nas is a device that takes Disconnect-Requests, with code of its own.
type nas struct {
	conn   *net.UDPConn
	secret string
	got    chan []byte
}

// startNAS answers with what reply makes of a request; nil is silence.
func startNAS(t *testing.T, secret string, reply func(request []byte) []byte) *nas {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	n := &nas{conn: conn, secret: secret, got: make(chan []byte, 100)}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			request := bytes.Clone(buf[:size])
			n.got <- request
			if answer := reply(request); answer != nil {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	return n
}

func (n *nas) port() uint16 { return n.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// disconnectReply is RFC 5176, section 2.3, with a Message-Authenticator where signed.
func disconnectReply(request []byte, code byte, secret string, signed bool, attributes ...[]byte) []byte {
	if signed {
		attributes = append([][]byte{emptyMA}, attributes...)
	}
	raw := rawPacket(code, request[1], string(request[4:20]), attributes...)
	if signed {
		signRequest(raw, secret)
	}
	sum := md5.Sum(append(bytes.Clone(raw), secret...))
	copy(raw[4:], sum[:])
	return raw
}

// disconnecter is a server with one client at 127.0.0.1, whose port is n's.
func disconnecter(t *testing.T, n *nas, change ...func(*Client)) *Server {
	t.Helper()
	c := testClient()
	c.Prefixes = prefixes("127.0.0.1/32")
	c.DisconnectTo = netip.AddrPortFrom(netip.Addr{}, n.port())
	for _, each := range change {
		each(&c)
	}
	config := testConfig(c)
	config.Accounting = []string{"127.0.0.1:0"}
	s, err := Listen(config, &fakeEngine{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return s
}

// handleOf is what a report with these attributes leaves behind.
func handleOf(t *testing.T, attributes ...[]byte) []byte {
	t.Helper()
	r := &request{facts: facts{path: path{from: netip.MustParseAddrPort("127.0.0.1:1000"), local: netip.MustParseAddr("127.0.0.1")}}}
	if why := r.packet.parse(rawPacket(4, 1, strings.Repeat("\x00", 16), attributes...)); why != dropNone {
		t.Fatal(why)
	}
	return r.handle()
}

func testSession(t *testing.T) session.Session {
	return session.Session{Client: "vpn1", Handle: handleOf(t, attr(1, testName), attr(4, "\x7F\x00\x00\x01"), attr(44, "0001"), attr(31, "00-11-22-AA-BB-CC"), attr(8, "\x0A\x00\x00\x05"), attr(5, number(3)))}
}

// RFC 5176: the request is signed both ways, is current, and says which session
// it is as the device said it.
func TestRFC5176Request(t *testing.T) {
	n := startNAS(t, testSecret, func(request []byte) []byte { return disconnectReply(request, 41, testSecret, true) })
	s := disconnecter(t, n)
	before := time.Now().Add(-time.Second)
	if outcome, words := s.EndSession(t.Context(), testSession(t)); outcome != session.Ended || words != "" {
		t.Fatalf("%s %s", outcome, words)
	}
	raw := <-n.got
	if raw[0] != 40 || int(binary.BigEndian.Uint16(raw[2:])) != len(raw) || raw[20] != 80 {
		t.Fatalf("request %x", raw)
	}
	if want := stamp(bytes.Clone(raw), testSecret); !bytes.Equal(raw, want) {
		t.Error("Request Authenticator wrong")
	}
	signed := bytes.Clone(raw)
	clear(signed[4:20])
	clear(signed[22:38])
	mac := hmac.New(md5.New, []byte(testSecret))
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(nil), raw[22:38]) {
		t.Error("Message-Authenticator wrong")
	}
	want := map[string]bool{
		string(attr(1, testName)): true, string(attr(4, "\x7F\x00\x00\x01")): true, string(attr(44, "0001")): true,
		string(attr(31, "00-11-22-AA-BB-CC")): true, string(attr(8, "\x0A\x00\x00\x05")): true,
	}
	for _, a := range attributesOf(raw)[1:] {
		if a[0] == 55 {
			if at := time.Unix(int64(binary.BigEndian.Uint32([]byte(a[2:]))), 0); at.Before(before) || at.After(time.Now().Add(time.Second)) {
				t.Errorf("Event-Timestamp %v", at)
			}
			continue
		}
		if !want[a] {
			t.Errorf("attribute %x", a)
		}
		delete(want, a)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if c := s.Counters().Packets; c["disconnect-request"] != 1 || c["disconnect-ack"] != 1 {
		t.Errorf("counted %v", c)
	}
}

// RFC 5176, section 3.5: what a device says to it.
func TestRFC5176Answers(t *testing.T) {
	for name, tt := range map[string]struct {
		reply   func(request []byte) []byte
		outcome session.Outcome
		words   string
	}{
		"ACK":          {func(r []byte) []byte { return disconnectReply(r, 41, testSecret, false) }, session.Ended, ""},
		"signed NAK":   {func(r []byte) []byte { return disconnectReply(r, 42, testSecret, true, attr(101, number(501))) }, session.Refused, "Administratively-Prohibited"},
		"NAK":          {func(r []byte) []byte { return disconnectReply(r, 42, testSecret, false) }, session.Refused, ""},
		"unknown":      {func(r []byte) []byte { return disconnectReply(r, 42, testSecret, false, attr(101, number(999))) }, session.Refused, "Error-Cause 999"},
		"none of them": {func(r []byte) []byte { return disconnectReply(r, 42, testSecret, false, attr(101, number(503))) }, session.Ended, "it was not there any more"},
	} {
		t.Run(name, func(t *testing.T) {
			s := disconnecter(t, startNAS(t, testSecret, tt.reply))
			if outcome, words := s.EndSession(t.Context(), testSession(t)); outcome != tt.outcome || words != tt.words {
				t.Errorf("%s %q, want %s %q", outcome, words, tt.outcome, tt.words)
			}
		})
	}
}

// An answer that is not genuine is none, whoever sends it, and the genuine one
// still counts.
func TestRFC5176ForgedAnswers(t *testing.T) {
	forge := map[string]func(request []byte) []byte{
		"another secret": func(r []byte) []byte { return disconnectReply(r, 41, "another secret 12", false) },
		"another id":     func(r []byte) []byte { b := bytes.Clone(r); b[1]++; return disconnectReply(b, 41, testSecret, false) },
		"another code":   func(r []byte) []byte { return disconnectReply(r, 44, testSecret, false) },
		"unsigned part": func(r []byte) []byte {
			b := append(disconnectReply(r, 41, testSecret, false), attr(101, number(503))...)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			return b
		},
		"bad signature": func(r []byte) []byte {
			b := disconnectReply(r, 41, testSecret, true)
			b[22]++
			copy(b[4:], r[4:20])
			sum := md5.Sum(append(bytes.Clone(b), testSecret...))
			copy(b[4:], sum[:])
			return b
		},
		"two signatures": func(r []byte) []byte { return disconnectReply(r, 41, testSecret, true, emptyMA) },
		"the request":    func(r []byte) []byte { return bytes.Clone(r) },
		"too short":      func(r []byte) []byte { return r[:19] },
	}
	for name, make := range forge {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for the repeat
			first, again := true, []byte(nil)
			n := startNAS(t, testSecret, func(r []byte) []byte {
				if first {
					first, again = false, bytes.Clone(r)
					return make(r)
				}
				if !bytes.Equal(again, r) {
					t.Error("the repeat is another request (RFC 5176, section 2.3)")
				}
				return disconnectReply(r, 42, testSecret, false)
			})
			s := disconnecter(t, n)
			if outcome, _ := s.EndSession(t.Context(), testSession(t)); outcome != session.Refused {
				t.Errorf("%s, want what was said to the repeat", outcome)
			}
		})
	}
}

// RFC 5176, section 2.3: an answer counts for the request that it is made of, from
// whom that was sent to, while somebody waits for it.
func TestRFC5176LateAnswers(t *testing.T) {
	d := &disconnects{waiting: map[question]*disconnect{}}
	to, k := netip.MustParseAddrPort("192.0.2.10:3799"), newKey([]byte(testSecret))
	one := d.begin(to, k, parsedHandle{}, time.Unix(1e9, 0))
	answer := disconnectReply(one.raw, 41, testSecret, true)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	for from, want := range map[netip.AddrPort]*disconnect{
		to: one, mapped: one, netip.MustParseAddrPort("192.0.2.11:3799"): nil, netip.MustParseAddrPort("192.0.2.10:3800"): nil,
	} {
		if got, _ := d.receive(answer, from); got != want {
			t.Errorf("from %v: taken %v, want %v", from, got != nil, want != nil)
		}
	}
	d.end(one)
	if got, _ := d.receive(answer, to); got != nil {
		t.Error("taken when nobody waits any more")
	}
	d.last = one.question.id - 1
	if again := d.begin(to, k, parsedHandle{}, time.Unix(1e9+1, 0)); again.question != one.question {
		t.Fatalf("%v and %v", again.question, one.question)
	}
	if got, _ := d.receive(answer, to); got != nil {
		t.Error("taken for the answer to another request of the same identifier")
	}
}

// Who waits leaves at once when it wants to, and the server when it is closed.
func TestEndSessionStops(t *testing.T) {
	n := startNAS(t, testSecret, func([]byte) []byte { return nil })
	s := disconnecter(t, n)
	ctx, leave := context.WithCancel(context.Background())
	go func() { <-n.got; leave() }()
	if outcome, _ := s.EndSession(ctx, testSession(t)); outcome != session.Unanswered {
		t.Error(outcome)
	}
	go func() { <-n.got; _ = s.Close() }()
	if outcome, _ := s.EndSession(context.Background(), testSession(t)); outcome != session.Unanswered {
		t.Error(outcome)
	}
	s.disconnects.mu.Lock()
	defer s.disconnects.mu.Unlock()
	if n := len(s.disconnects.waiting); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// Who is not to be asked, or cannot be, is not.
func TestEndSessionNotAsked(t *testing.T) {
	n := startNAS(t, testSecret, func(r []byte) []byte { return disconnectReply(r, 41, testSecret, false) })
	unknown, strange := testSession(t), testSession(t)
	unknown.Client, strange.Handle = "vpn9", []byte("no handle")
	for name, tt := range map[string]struct {
		session session.Session
		change  func(*Client)
	}{
		"no client":      {unknown, func(*Client) {}},
		"off":            {testSession(t), func(c *Client) { c.DisconnectOff = true }},
		"strange handle": {strange, func(*Client) {}},
	} {
		s := disconnecter(t, n, tt.change)
		if outcome, words := s.EndSession(t.Context(), tt.session); outcome != session.NotAsked || words == "" {
			t.Errorf("%s: %s %q", name, outcome, words)
		}
	}
	if len(n.got) > 0 {
		t.Error("it was asked")
	}
}

// While the secret changes, the device may have either.
func TestEndSessionWithTheOldSecret(t *testing.T) {
	const old = "the secret before 12345"
	n := startNAS(t, old, func(r []byte) []byte {
		if !bytes.Equal(stamp(bytes.Clone(r), old), r) {
			return nil
		}
		return disconnectReply(r, 41, old, true)
	})
	s := disconnecter(t, n, func(c *Client) {
		c.Secrets, c.OldUntil = append(c.Secrets, []byte(old)), time.Now().Add(time.Hour)
	})
	if outcome, words := s.EndSession(t.Context(), testSession(t)); outcome != session.Ended {
		t.Errorf("%s %s", outcome, words)
	}
}

func TestDisconnectTo(t *testing.T) {
	source := netip.MustParseAddr("192.0.2.10")
	for said, want := range map[string]string{
		"": "192.0.2.10:3799", "0.0.0.0:1700": "192.0.2.10:1700", "198.51.100.1:0": "198.51.100.1:3799", "[2001:db8::1]:1700": "[2001:db8::1]:1700",
	} {
		c := &client{Client: &Client{}}
		if said != "" {
			c.DisconnectTo = netip.MustParseAddrPort(said)
			if c.DisconnectTo.Addr().IsUnspecified() {
				c.DisconnectTo = netip.AddrPortFrom(netip.Addr{}, c.DisconnectTo.Port())
			}
		}
		if got := c.disconnectTo(source).String(); got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

// Identifiers of requests to one device that wait are distinct, and there are
// no more than there can be.
func TestDisconnectIdentifiers(t *testing.T) {
	d := &disconnects{waiting: map[question]*disconnect{}}
	to, k := netip.MustParseAddrPort("192.0.2.10:3799"), newKey([]byte(testSecret))
	var one *disconnect
	for n := range 257 {
		made := d.begin(to, k, parsedHandle{}, time.Now())
		if (made == nil) != (n == 256) {
			t.Fatalf("request %d: %v", n, made)
		}
		if n == 7 {
			one = made
		}
	}
	d.end(one)
	if again := d.begin(to, k, parsedHandle{}, time.Now()); again == nil || again.question != one.question {
		t.Error("a free identifier is not used")
	}
}

// Nothing but a reply that is made with the secret is taken for one.
func FuzzDisconnectReply(f *testing.F) {
	d := &disconnects{waiting: map[question]*disconnect{}}
	to, k := netip.MustParseAddrPort("192.0.2.10:3799"), newKey([]byte(testSecret))
	one := d.begin(to, k, parsedHandle{}, time.Unix(1e9, 0))
	good := disconnectReply(one.raw, 42, testSecret, true, attr(101, number(503)))
	f.Add(good)
	f.Add(disconnectReply(one.raw, 41, testSecret, false))
	f.Add(one.raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, a := d.receive(raw, to)
		if n == nil {
			return
		}
		if n != one || a.code != 41 && a.code != 42 || !responseRight(raw[:binary.BigEndian.Uint16(raw[2:])], one.raw, testSecret) {
			t.Errorf("taken: %x", raw)
		}
	})
}

// A handle is taken apart without a panic, and only whole.
func FuzzHandle(f *testing.F) {
	f.Add([]byte{1, 4, 192, 0, 2, 10, 0, 44, 3, 'x'})
	f.Add([]byte{1, 4, 192, 0, 2, 10, 4, 192, 0, 2, 1, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHandle(b)
		if !ok {
			return
		}
		size := 3 + len(h.source.AsSlice()) + len(h.local.AsSlice())
		for _, a := range h.attributes {
			size += len(a)
		}
		if size != len(b) {
			t.Errorf("%d octets of %d in %x", size, len(b), b)
		}
	})
}
