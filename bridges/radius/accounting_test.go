package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/session"
)

// fakeSessions records what it is told.
type fakeSessions struct {
	mu      sync.Mutex
	err     error
	wait    chan struct{} // nil: nothing is waited for
	reports []session.Report
	forgot  []func(session.Session) bool
}

func (f *fakeSessions) ReportSession(ctx context.Context, r session.Report) error {
	f.mu.Lock()
	f.reports = append(f.reports, r)
	wait, err := f.wait, f.err
	f.mu.Unlock()
	if wait == nil {
		return err
	}
	select {
	case <-wait:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeSessions) ForgetSessions(_ context.Context, _ string, of func(session.Session) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgot = append(f.forgot, of)
	return f.err
}

func (f *fakeSessions) told() []session.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reports
}

func (f *fakeSessions) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// inAccounting is inBubble with a path that leads to a port for accounting.
func inAccounting(t *testing.T, f func(h *harness, all *fakeSessions), change ...func(*Client)) {
	t.Helper()
	c := testClient()
	for _, each := range change {
		each(&c)
	}
	inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
		all := &fakeSessions{}
		h.s.UseSessions(all)
		h.path.accounting = true
		f(h, all)
	})
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// accountingRequest is number n, with attributes and, first of them, a
// Message-Authenticator where signed.
func accountingRequest(n int, secret string, signed bool, attributes ...[]byte) []byte {
	if signed {
		attributes = append([][]byte{emptyMA}, attributes...)
	}
	raw := rawPacket(4, byte(n), strings.Repeat("\x00", 16), attributes...)
	if signed {
		signRequest(raw, secret)
	}
	return stamp(raw, secret)
}

// stamp puts the Request Authenticator of RFC 2866, section 3, into raw.
func stamp(raw []byte, secret string) []byte {
	clear(raw[4:20])
	sum := md5.Sum(append(bytes.Clone(raw), secret...))
	copy(raw[4:], sum[:])
	return raw
}

func start(id string, more ...[]byte) [][]byte {
	return append([][]byte{attr(40, number(1)), attr(44, id)}, more...)
}

// recorded returns the Accounting-Response there must be, checked against its
// request: Message-Authenticator first, over zeros for the authenticator.
func (h *harness) recorded(request []byte) []byte {
	h.t.Helper()
	all := h.replies()
	if len(all) != 1 {
		h.t.Fatalf("%d replies, want one", len(all))
	}
	reply := all[0].reply
	if len(reply) < 38 || reply[0] != 5 || reply[1] != request[1] || int(binary.BigEndian.Uint16(reply[2:])) != len(reply) {
		h.t.Fatalf("reply %x", reply)
	}
	if reply[20] != 0x50 || reply[21] != 0x12 {
		h.t.Fatalf("octets 20 and 21 are %x, want 5012", reply[20:22])
	}
	if !responseRight(reply, request, testSecret) {
		h.t.Error("Response Authenticator wrong")
	}
	signed := bytes.Clone(reply)
	clear(signed[4:20])
	clear(signed[22:38])
	mac := hmac.New(md5.New, []byte(testSecret))
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(nil), reply[22:38]) {
		h.t.Error("Message-Authenticator of the reply wrong")
	}
	return reply
}

// RFC 2866: what a report says is told whole, whichever way it is signed.
func TestRFC2866Report(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		request := accountingRequest(1, testSecret, false,
			attr(40, number(3)), attr(44, "0001"), attr(1, testName), attr(25, "their own"), attr(25, "ours"), attr(31, "00-11-22-AA-BB-CC"),
			attr(4, "\xC0\x00\x02\x0A"), attr(32, "nas"), attr(5, number(7)), attr(8, "\x0A\x00\x00\x05"), attr(41, number(10)), attr(46, number(60)),
			attr(42, number(5)), attr(52, number(1)), attr(43, number(6)), attr(53, number(2)), attr(33, "proxy"))
		h.ask(request)
		reply := h.recorded(request)
		if got := attributesOf(reply); len(got) != 2 || got[1] != string(attr(33, "proxy")) {
			t.Errorf("attributes of the reply: %q", got)
		}
		told := all.told()
		if len(told) != 1 {
			t.Fatalf("%d reports", len(told))
		}
		r := told[0]
		if !r.At.Equal(time.Now().Add(-10*time.Second)) || r.For != time.Minute {
			t.Errorf("it was at %v for %v", r.At, r.For)
		}
		if r.Event != session.GoesOn || r.Client != "vpn1" || r.Account != testName || r.Device != "00:11:22:aa:bb:cc" || r.Port != "7" ||
			r.Address != "10.0.0.5" || r.OctetsIn != 1<<32+5 || r.OctetsOut != 2<<32+6 || !r.HasOctets || r.Every != 0 {
			t.Errorf("told %+v", r)
		}
		if len(r.Tokens) != 2 || string(r.Tokens[1]) != "ours" {
			t.Errorf("tokens %q", r.Tokens)
		}
		parsed, ok := parseHandle(r.Handle)
		if !ok || parsed.source != testSource.Addr() || string(parsed.find(attrAcctSessionID)) != string(attr(44, "0001")) ||
			string(parsed.find(attrNASIdentifier)) != string(attr(32, "nas")) || string(parsed.find(attrUserName)) != string(attr(1, testName)) {
			t.Errorf("handle %x", r.Handle)
		}
	})
}

// R4: where the Message-Authenticator of a report stands does not matter.
func TestRFC2866Signed(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		for n := range 4 {
			attributes := slices.Insert(start("1", attr(1, testName)), n, emptyMA)
			request := stamp(signRequest(rawPacket(4, byte(n), strings.Repeat("\x00", 16), attributes...), testSecret), testSecret)
			h.ask(request)
			h.recorded(request)
			spoiled := bytes.Clone(request)
			spoiled[1] += 100
			h.ask(stamp(flipMA(spoiled), testSecret))
			h.silent(time.Second, dropMessageAuthenticator)
		}
		if n := len(all.told()); n != 4 {
			t.Errorf("told of %d reports, want 4", n)
		}
	})
}

// The same session identifier of another device behind one client is another session,
// also where devices say nothing of themselves, against RFC 2866, section 4.1.
func TestRFC2866SessionsOfTwoDevices(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		for n, nas := range []string{"\xC0\x00\x02\x01", "\xC0\x00\x02\x02"} {
			request := accountingRequest(n, testSecret, true, start("1", attr(4, nas))...)
			h.ask(request)
			h.recorded(request)
		}
		if told := all.told(); told[0].ID == told[1].ID {
			t.Errorf("both are %q", told[0].ID)
		}
		for n, tt := range []struct{ from, id string }{{"192.0.2.1:1000", "05"}, {"192.0.2.10:1000", "5"}} {
			h.path.from = netip.MustParseAddrPort(tt.from)
			h.ask(accountingRequest(2+n, testSecret, true, start(tt.id)...))
		}
		if told := all.told(); len(told) != 4 || told[2].ID == told[3].ID {
			t.Errorf("of two addresses: %q", told[len(told)-1].ID)
		}
	}, func(c *Client) { c.Prefixes = prefixes("192.0.2.0/24") })
}

// RFC 2866, section 3, and R4: what is not genuine is met with silence, and
// nobody is told of it.
func TestRFC2866NotGenuine(t *testing.T) {
	good := start("1", attr(1, testName))
	spoiled := accountingRequest(1, testSecret, true, good...)
	spoiled[22]++
	twice := stamp(signRequest(rawPacket(4, 1, strings.Repeat("\x00", 16), append([][]byte{emptyMA, emptyMA}, good...)...), testSecret), testSecret)
	short := stamp(rawPacket(4, 1, strings.Repeat("\x00", 16), append([][]byte{attr(80, "short")}, good...)...), testSecret)
	unstamped := accountingRequest(1, testSecret, true, good...)
	unstamped[4]++
	for name, tt := range map[string]struct {
		raw  []byte
		want drop
	}{
		"another secret":                {accountingRequest(1, "another secret 12", false, good...), dropRequestAuthenticator},
		"zeros":                         {rawPacket(4, 1, strings.Repeat("\x00", 16), good...), dropRequestAuthenticator},
		"signed, authenticator wrong":   {unstamped, dropRequestAuthenticator},
		"stamped, the signature wrong":  {stamp(spoiled, testSecret), dropMessageAuthenticator},
		"two signatures":                {twice, dropMessageAuthenticator},
		"short signature":               {short, dropMessageAuthenticator},
		"Access-Request":                {papRequest(1, testName, testPassword), dropCode},
		"Accounting-Response":           {stamp(rawPacket(5, 1, strings.Repeat("\x00", 16), good...), testSecret), dropCode},
		"no Acct-Session-Id":            {accountingRequest(1, testSecret, false, attr(40, number(1))), dropReport},
		"empty Acct-Session-Id":         {accountingRequest(1, testSecret, false, attr(40, number(1)), attr(44, "")), dropReport},
		"no Acct-Status-Type":           {accountingRequest(1, testSecret, false, attr(44, "1")), dropReport},
		"two of them":                   {accountingRequest(1, testSecret, false, attr(40, number(1)), attr(40, number(2)), attr(44, "1")), dropReport},
		"Acct-Status-Type of one octet": {accountingRequest(1, testSecret, false, attr(40, "\x01"), attr(44, "1")), dropReport},
	} {
		t.Run(name, func(t *testing.T) {
			inAccounting(t, func(h *harness, all *fakeSessions) {
				h.ask(tt.raw)
				h.silent(5*time.Second, tt.want)
				if told := all.told(); len(told) > 0 {
					t.Errorf("told %+v", told)
				}
				request := accountingRequest(2, testSecret, true, good...)
				h.ask(request)
				h.recorded(request)
			})
		})
	}
}

// An Accounting-Request on the port for sign-ins is silence.
func TestRFC2866WrongPort(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		h.path.accounting = false
		h.ask(accountingRequest(1, testSecret, true, start("1")...))
		h.silent(time.Second, dropCode)
		if len(all.told()) > 0 {
			t.Error("it was told of")
		}
	})
}

// RFC 2866, section 2: what could not be recorded is not answered, and the
// repeat is tried anew; what was is answered again from memory alone.
func TestRFC2866Repeats(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		all.fails(&core.Error{Op: "test", Kind: core.KindUnavailable, Err: errors.New("disk on fire")})
		request := accountingRequest(1, testSecret, false, start("1")...)
		h.ask(request)
		h.silent(time.Second, dropUnrecorded)
		all.fails(nil)
		h.ask(request)
		first := h.recorded(request)
		h.ask(request)
		if again := h.recorded(request); !bytes.Equal(again, first) {
			t.Errorf("another answer: %x, before %x", again, first)
		}
		if n := len(all.told()); n != 2 {
			t.Errorf("told %d times, want 2", n)
		}
		h.later(6 * time.Minute) // a client that still sends the same octets
		h.ask(request)
		h.recorded(request)
	})
}

// While a report waits for the disk its repeats are dropped, and so is what is
// over maxReports; the sign-ins of the same client go on.
func TestReportsThatWait(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		all.wait = make(chan struct{})
		var requests [][]byte
		for n := range maxReports {
			h.path.from = netipPort(n)
			requests = append(requests, accountingRequest(n, testSecret, false, start("1")...))
			h.ask(requests[n])
		}
		h.ask(requests[maxReports-1])
		h.silent(0, dropDuplicate)
		h.path.from = netipPort(maxReports)
		h.ask(accountingRequest(1, testSecret, false, start("1")...))
		h.silent(0, dropQueueFull)
		h.path.accounting = false
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		close(all.wait)
		synctest.Wait()
		if n := len(h.replies()); n != maxReports {
			t.Errorf("%d answers, want %d", n, maxReports)
		}
	})
}

// A session that is tied to no app password of ours is answered: the client
// need not keep what nobody will ever want.
func TestForeignSession(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		all.fails(&core.Error{Op: "test", Kind: core.KindNotFound})
		w := h.watch(Filter{})
		defer w.Close()
		request := accountingRequest(1, testSecret, false, start("1")...)
		h.ask(request)
		h.recorded(request)
		if told := h.saw(w); !strings.Contains(told.Why, "answered, and not listed: it carries no Class of ours") {
			t.Errorf("told %+v", told)
		}
		if !strings.Contains(h.log.String(), "carries no Class of ours") {
			t.Error("nothing in the log says so")
		}
	})
}

// Accounting-On and -Off are about one device of a client.
func TestRFC2866OnAndOff(t *testing.T) {
	const one, two, source = "\xC0\x00\x02\x01", "\xC0\x00\x02\x02", "\xC0\x00\x02\x0A" // testSource
	for name, tt := range map[string]struct {
		session, on [][]byte
		want        bool
	}{
		"same address":          {[][]byte{attr(4, one)}, [][]byte{attr(4, one)}, true},
		"other address":         {[][]byte{attr(4, one)}, [][]byte{attr(4, two)}, false},
		"session says more":     {[][]byte{attr(4, one), attr(32, "a")}, [][]byte{attr(4, one)}, true},
		"other name":            {[][]byte{attr(4, one), attr(32, "a")}, [][]byte{attr(4, one), attr(32, "b")}, false},
		"nothing in common":     {[][]byte{attr(32, "a")}, [][]byte{attr(4, source)}, true}, // it came from there
		"its session did":       {[][]byte{attr(4, source)}, [][]byte{attr(32, "a")}, true},
		"by a proxy":            {[][]byte{attr(32, "a")}, [][]byte{attr(4, one)}, false},
		"its session by one":    {[][]byte{attr(4, one)}, [][]byte{attr(32, "a")}, false},
		"its session, IPv6":     {[][]byte{attr(95, strings.Repeat("\x20", 16))}, [][]byte{attr(32, "a")}, false},
		"one says nothing":      {[][]byte{attr(32, "a")}, nil, true},
		"neither says anything": {nil, nil, true},
	} {
		for _, status := range []uint32{7, 8} {
			inAccounting(t, func(h *harness, all *fakeSessions) {
				h.ask(accountingRequest(1, testSecret, false, start("1", tt.session...)...))
				request := accountingRequest(2, testSecret, false, append([][]byte{attr(40, number(status))}, tt.on...)...)
				h.replies()
				h.ask(request)
				h.recorded(request)
				if got := all.forgot[0](session.Session{Handle: all.told()[0].Handle, Since: all.told()[0].At}); got != tt.want {
					t.Errorf("%s: %v, want %v", name, got, tt.want)
				}
				if all.forgot[0](session.Session{Handle: []byte("no handle")}) {
					t.Error("what is no handle is of this device")
				}
			})
		}
	}
}

// A device that began anew and says so late, because the first times got lost, tells
// for how long (RFC 2866, section 5.2): what began meanwhile goes on. That is believed
// for some minutes.
func TestRFC2866OnComesLate(t *testing.T) {
	for _, tt := range []struct {
		delay, age time.Duration // of the report; of the session
		want       bool          // it is over
	}{
		{0, 0, true}, {0, time.Second, true}, {0, -time.Minute, true}, // of a node whose clock is ahead
		{30 * time.Second, 29 * time.Second, false}, {30 * time.Second, 30 * time.Second, true}, {30 * time.Second, time.Hour, true},
		{time.Hour, 5*time.Minute - time.Second, false}, {time.Hour, 5 * time.Minute, true}, {time.Hour, 59 * time.Minute, true},
		{math.MaxUint32 * time.Second, 0, false}, {math.MaxUint32 * time.Second, 5 * time.Minute, true},
	} {
		inAccounting(t, func(h *harness, all *fakeSessions) {
			h.ask(accountingRequest(1, testSecret, false, start("1", attr(32, "nas"))...))
			began := time.Now().Add(-tt.age)
			request := accountingRequest(2, testSecret, false, attr(40, number(7)), attr(32, "nas"), attr(41, number(uint32(tt.delay/time.Second))))
			h.replies()
			h.ask(request)
			h.recorded(request)
			time.Sleep(time.Second) // until it is looked at
			if got := all.forgot[0](session.Session{Handle: all.told()[0].Handle, Since: began}); got != tt.want {
				t.Errorf("on %v late, and a session %v old: over is %v, want %v", tt.delay, tt.age, got, tt.want)
			}
		})
	}
}

// RFC 5997, section 3: the answer on this port is an Accounting-Response, and
// there is none while nothing can be recorded.
func TestRFC5997Accounting(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		request := statusRequest(1)
		h.ask(request)
		h.reply(request, 5)
		h.s.verifier.(*fakeEngine).ready = func(context.Context) error { return errors.New("sealed") }
		h.ask(statusRequest(2))
		h.silent(time.Second, dropNotReady)
		if len(all.told()) > 0 {
			t.Error("a session was told of")
		}
	})
}

// The client's own Acct-Interim-Interval is known from what it is told, once it reports
// in between at all: there are some that do not.
func TestInterimInterval(t *testing.T) {
	interval, err := ParseReply("Acct-Interim-Interval", "600")
	if err != nil {
		t.Fatal(err)
	}
	inAccounting(t, func(h *harness, all *fakeSessions) {
		h.ask(accountingRequest(1, testSecret, false, start("1")...))
		h.ask(accountingRequest(2, testSecret, false, start("1", attr(85, number(60)))...))
		h.ask(accountingRequest(3, testSecret, false, attr(40, number(3)), attr(44, "1")))
		if told := all.told(); told[0].Every != 0 || told[1].Every != time.Minute || told[2].Every != 10*time.Minute {
			t.Errorf("every %v, %v and %v", told[0].Every, told[1].Every, told[2].Every)
		}
	}, func(c *Client) { c.Reply = []Attribute{interval} })
}

func TestFramedAddress(t *testing.T) {
	for want, attribute := range map[string][]byte{
		"10.0.0.5":      attr(8, "\x0A\x00\x00\x05"),
		"2001:db8::1":   attr(168, "\x20\x01\x0D\xB8"+strings.Repeat("\x00", 11)+"\x01"),
		"2001:db8::/32": attr(97, "\x00\x20\x20\x01\x0D\xB8"),
		"":              attr(8, "\xFF\xFF\xFF\xFE"), // the NAS shall choose
	} {
		var p packet
		if why := p.parse(rawPacket(4, 1, strings.Repeat("\x00", 16), attribute)); why != dropNone {
			t.Fatal(why)
		}
		if got := p.framedAddress(); got != want {
			t.Errorf("%x: %q, want %q", attribute, got, want)
		}
	}
}

// A report is decoded without a panic, whatever is in it, and its handle can be
// taken apart again.
func FuzzReport(f *testing.F) {
	f.Add(bytes.Join(start("1", attr(4, "\x0A\x00\x00\x05"), attr(8, "\x0A\x00\x00\x05"), attr(97, "\x00\x40"), attr(25, "class"), attr(41, number(9))), nil))
	f.Add(bytes.Join([][]byte{attr(40, number(7)), attr(32, "nas"), attr(95, strings.Repeat("\x20", 16))}, nil))
	f.Fuzz(func(t *testing.T, attributes []byte) {
		if len(attributes) > maxPacket-headerLen {
			return
		}
		h := newHarness(t, testConfig(), &fakeEngine{}, nil)
		defer func() { _ = h.s.Close() }()
		all := &fakeSessions{}
		h.s.UseSessions(all)
		h.path.accounting = true
		raw := stamp(rawPacket(4, 1, strings.Repeat("\x00", 16), attributes), testSecret)
		h.s.handle(raw, &h.path, newLane(nil))
		_ = h.s.Close()
		for _, r := range all.told() {
			parsed, ok := parseHandle(r.Handle)
			if !ok || parsed.find(attrAcctSessionID) == nil || parsed.source != testSource.Addr() {
				t.Errorf("the handle %x cannot be taken apart", r.Handle)
			}
		}
		if n := h.s.Counters().Dropped["panic"]; n > 0 {
			t.Error("a panic")
		}
	})
}
