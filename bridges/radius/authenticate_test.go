package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
)

// The RFC's own exchange: its password is decoded, and the check of Response
// Authenticators in these tests is the RFC's.
func TestRFC2865Section7_1(t *testing.T) {
	const secret = "xyzzy5461"
	request, accept := hexFile(t, "rfc2865-7.1-request.hex"), hexFile(t, "rfc2865-7.1-accept.hex")
	if !responseRight(accept, request, secret) {
		t.Fatal("the tests' own Response Authenticator is not the RFC's")
	}
	c := testClient()
	c.Secrets, c.AllowWeakSecret, c.RequireMessageAuthenticator = [][]byte{[]byte(secret)}, true, RequireNever
	inBubble(t, testConfig(c), &fakeEngine{verify: grantAll}, func(h *harness) {
		h.ask(request)
		replies := h.replies()
		if len(replies) != 1 {
			t.Fatalf("%d replies", len(replies))
		}
		checkReply(t, replies[0].reply, request, secret)
		got := h.engine.attempts()[0]
		if got.Account != "nemo" || got.text != "arctangent" || got.Service != "radius/vpn1" || got.Source != testSource.Addr() {
			t.Errorf("attempt %+v, password %q", got.Attempt, got.text)
		}
	})
}

func grantAll(_ context.Context, a core.Attempt) (core.Grant, error) {
	return core.Grant{Account: a.Account}, nil
}

// R1: what is taken without Message-Authenticator, by client.
func TestR1MessageAuthenticatorRequired(t *testing.T) {
	proxyState := attr(33, "state")
	for name, tt := range map[string]struct {
		change func(*Client)
		raw    []byte
		want   drop
	}{
		"default, unsigned":             {func(*Client) {}, unsignedRequest(1, testName, testPassword), dropNoMessageAuthenticator},
		"default, signed":               {func(*Client) {}, papRequest(1, testName, testPassword), dropNone},
		"default, signed, proxied":      {func(*Client) {}, papRequest(1, testName, testPassword, proxyState), dropNone},
		"never, unsigned":               {never, unsignedRequest(1, testName, testPassword), dropNone},
		"never, unsigned, proxied":      {never, unsignedRequest(1, testName, testPassword, proxyState), dropProxyState},
		"never, signed, proxied":        {never, papRequest(1, testName, testPassword, proxyState), dropNone},
		"never, signed wrong":           {never, flipMA(papRequest(1, testName, testPassword)), dropMessageAuthenticator},
		"never, Status-Server unsigned": {never, rawPacket(12, 1, testAuthenticator(1)), dropNoMessageAuthenticator},
		"never, EAP unsigned (R18)":     {never, rawPacket(1, 1, testAuthenticator(1), attr(1, "x"), attr(79, "\x02\x01\x00\x06\x01x")), dropNoMessageAuthenticator},
		"auto, unsigned":                {auto, unsignedRequest(1, testName, testPassword), dropNone},
		"auto, unsigned, proxied":       {auto, unsignedRequest(1, testName, testPassword, proxyState), dropProxyState},
		"limit off, unsigned, proxied": {func(c *Client) { never(c); c.AllowUnsignedProxyState = true },
			unsignedRequest(1, testName, testPassword, proxyState), dropNone},
		"unknown requirement is the strict one": {func(c *Client) { c.RequireMessageAuthenticator = RequireAlways }, unsignedRequest(1, testName, testPassword), dropNoMessageAuthenticator},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient()
			tt.change(&c)
			inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
				h.ask(tt.raw)
				if tt.want == dropNone {
					h.reply(tt.raw, codeAccessAccept)
					return
				}
				h.silent(2*time.Second, tt.want)
				if len(h.engine.attempts()) != 0 {
					t.Error("the engine was asked")
				}
			})
		})
	}
}

func never(c *Client) { c.RequireMessageAuthenticator = RequireNever }
func auto(c *Client)  { c.RequireMessageAuthenticator = RequireAuto }

func flipMA(raw []byte) []byte {
	for at := 20; ; at += int(raw[at+1]) {
		if raw[at] == 80 {
			raw[at+2] ^= 1
			return raw
		}
	}
}

// R1: to its client a server that drops looks dead, so the log names the
// client and both ways out.
func TestR1LogNamesTheWaysOut(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		h.ask(unsignedRequest(1, testName, testPassword))
		for _, want := range []string{`"client":"vpn1"`, "at the client", "require_message_authenticator to false"} {
			if !strings.Contains(h.log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, h.log)
			}
		}
	})
}

// R1, "auto": off until the first valid one, then on for good.
func TestR1Auto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient()
		auto(&c)
		memory := &fakeMemory{seen: map[string]bool{}}
		h := newHarness(t, testConfig(c), &fakeEngine{}, memory)
		defer func() { _ = h.s.Close() }()

		h.ask(flipMA(papRequest(1, testName, testPassword)))
		h.silent(0, dropMessageAuthenticator)
		// What must have one anyway says nothing of what need not.
		h.ask(statusRequest(200))
		h.ask(signRequest(rawPacket(1, 201, testAuthenticator(201), emptyMA, attr(1, testName), attr(79, "\x02\x01\x00\x06\x01x")), testSecret))
		h.later(rejectTime)
		if n := len(h.replies()); n != 2 {
			t.Fatalf("%d replies", n)
		}
		unsigned := unsignedRequest(2, testName, testPassword)
		h.ask(unsigned)
		h.reply(unsigned, codeAccessAccept)
		if memory.seen["vpn1"] {
			t.Fatal("remembered without a valid Message-Authenticator of its own accord")
		}
		signed := papRequest(3, testName, testPassword)
		h.ask(signed)
		h.reply(signed, codeAccessAccept)
		h.ask(unsignedRequest(4, testName, testPassword))
		h.silent(2*time.Second, dropNoMessageAuthenticator)
		if !memory.seen["vpn1"] {
			t.Fatal("not remembered")
		}
		if err := h.s.Reload(testConfig(c)); err != nil {
			t.Fatal(err)
		}
		h.ask(unsignedRequest(5, testName, testPassword))
		h.silent(2*time.Second, dropNone)

		next := newHarness(t, testConfig(c), &fakeEngine{}, memory) // the next life
		defer func() { _ = next.s.Close() }()
		next.ask(unsignedRequest(6, testName, testPassword))
		next.silent(2*time.Second, dropNoMessageAuthenticator)
	})
}

// R1, "auto": a memory that fails makes nothing weaker.
func TestR1AutoMemoryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient()
		auto(&c)
		memory := &fakeMemory{seen: map[string]bool{}, err: errors.New("disk on fire")}
		h := newHarness(t, testConfig(c), &fakeEngine{}, memory)
		defer func() { _ = h.s.Close() }()
		h.ask(unsignedRequest(1, testName, testPassword))
		h.silent(2*time.Second, dropNoMessageAuthenticator)
		signed := papRequest(2, testName, testPassword)
		h.ask(signed)
		h.reply(signed, codeAccessAccept)
		if !strings.Contains(h.log.String(), "could not be kept") {
			t.Errorf("the log does not say that it was not kept: %s", h.log)
		}
		h.ask(unsignedRequest(3, testName, testPassword))
		h.silent(2*time.Second, dropNone)
	})
}

// R4: where it stands does not matter; how many, how long and what does.
func TestR4MessageAuthenticator(t *testing.T) {
	a := testAuthenticator(1)
	name, password := attr(1, testName), hidePassword(testPassword, testSecret, a)
	sign := func(attributes ...[]byte) []byte {
		return signRequest(rawPacket(1, 1, a, attributes...), testSecret)
	}
	for title, tt := range map[string]struct {
		raw []byte
		ok  bool
	}{
		"first":            {sign(emptyMA, name, password), true},
		"in the middle":    {sign(name, emptyMA, password), true},
		"last":             {sign(name, password, emptyMA), true},
		"two":              {sign(emptyMA, name, password, emptyMA), false},
		"two, second good": {sign(name, password, attr(80, "xxxxxxxxxxxxxxxx"), emptyMA), false},
		"17 octets":        {rawPacket(1, 1, a, name, password, attr(80, "xxxxxxxxxxxxxxx")), false},
		"19 octets":        {rawPacket(1, 1, a, name, password, attr(80, "xxxxxxxxxxxxxxxxx")), false},
		"empty":            {rawPacket(1, 1, a, name, password, attr(80, "")), false},
		"wrong":            {flipMA(sign(emptyMA, name, password)), false},
		"other secret":     {signRequest(sign(emptyMA, name, password), testSecret+"."), false},
		"zeros":            {rawPacket(1, 1, a, emptyMA, name, password), false},
	} {
		for _, change := range []func(*Client){func(*Client) {}, never, auto} {
			t.Run(title, func(t *testing.T) {
				c := testClient()
				change(&c)
				inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
					h.ask(tt.raw)
					if tt.ok {
						h.reply(tt.raw, codeAccessAccept)
						return
					}
					h.silent(2*time.Second, dropMessageAuthenticator)
				})
			})
		}
	}
}

// R2, R3: every reply is signed, and has of its request only Proxy-State.
func TestR2R3Replies(t *testing.T) {
	class, err := ParseReply("Class", "staff")
	if err != nil {
		t.Fatal(err)
	}
	c := testClient()
	never(&c)
	c.AllowUnsignedProxyState, c.Reply = true, []Attribute{class}
	states := [][]byte{attr(33, "one"), attr(80, ""), attr(33, "two"), attr(33, "")}
	states = slices.Delete(states, 1, 2)
	for name, tt := range map[string]struct {
		raw  []byte
		code byte
		want []string
	}{
		"accept, signed":   {papRequest(1, testName, testPassword, states...), codeAccessAccept, []string{"\x19\x09session", "!\x05one", "!\x05two", "!\x02", "\x19\x07staff"}},
		"accept, unsigned": {unsignedRequest(1, testName, testPassword, states...), codeAccessAccept, []string{"\x19\x09session", "!\x05one", "!\x05two", "!\x02", "\x19\x07staff"}},
		"reject, signed":   {papRequest(1, testName, "wrong", states...), codeAccessReject, []string{"!\x05one", "!\x05two", "!\x02"}},
		"reject, unsigned": {unsignedRequest(1, testName, "wrong", states...), codeAccessReject, []string{"!\x05one", "!\x05two", "!\x02"}},
		"reject, no method": {rawPacket(1, 1, testAuthenticator(1), attr(1, testName), attr(31, "somewhere")),
			codeAccessReject, nil},
		"State without EAP":      {papRequest(1, testName, testPassword, attr(24, "their state")), codeAccessAccept, []string{"\x19\x09session", "\x19\x07staff"}},
		"reject, as many as fit": {papRequest(1, testName, "wrong", proxyStates(3900)...), codeAccessReject, texts(proxyStates(3900))},
		"status":                 {signRequest(rawPacket(12, 1, testAuthenticator(1), emptyMA, states[0], attr(1, testName)), testSecret), codeAccessAccept, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
				h.ask(tt.raw)
				h.later(1 * time.Second)
				reply := h.reply(tt.raw, tt.code)
				if got := attributesOf(reply)[1:]; !slices.Equal(got, tt.want) {
					t.Errorf("attributes %q, want %q", got, tt.want)
				}
				if tt.raw[0] == codeStatusServer {
					return
				}
				h.ask(tt.raw)
				if again := h.reply(tt.raw, tt.code); !bytes.Equal(again, reply) {
					t.Error("the repeat got other octets")
				}
			})
		})
	}
}

func texts(all [][]byte) (out []string) {
	for _, one := range all {
		out = append(out, string(one))
	}
	return out
}

// R6: the longest prefix, and IPv4-mapped addresses as IPv4.
func TestR6WhichClient(t *testing.T) {
	client := func(name string, prefixes ...string) Client {
		c := Client{Name: name, Secrets: [][]byte{[]byte(testSecret)}, AllowAny: true}
		for _, p := range prefixes {
			c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(p))
		}
		return c
	}
	config := testConfig(client("any", "0.0.0.0/0"), client("net", "192.0.2.0/24", "2001:db8::/32"), client("host", "192.0.2.10/32", "2001:db8::10/128"),
		client("mapped", "::ffff:198.51.100.0/120"))
	table := newTable(config, nil)
	for source, want := range map[string]string{
		"192.0.2.10": "host", "192.0.2.11": "net", "203.0.113.1": "any", "::ffff:192.0.2.10": "host", "198.51.100.7": "mapped",
		"2001:db8::10": "host", "2001:db8::11": "net", "2001:db8::10%eth0": "host", "2001:db9::1": "",
	} {
		from := path{from: netip.AddrPortFrom(netip.MustParseAddr(source), 1)}
		got := ""
		if c := table.client(from.source()); c != nil {
			got = c.Name
		}
		if at := config.ClientAt(from.from.Addr()); got != want || at != want {
			t.Errorf("%s belongs to %q, and is told to belong to %q, want %q", source, got, at, want)
		}
		if plain := from.source(); plain.Zone() != "" || plain.Is4In6() {
			t.Errorf("%s is said to be %v", source, plain)
		}
	}
}

// R12: what is not genuine costs no memory and reaches nobody.
func TestR12NoAllocationBeforeAuthenticity(t *testing.T) {
	h := newHarness(t, testConfig(), &fakeEngine{}, nil)
	defer func() { _ = h.s.Close() }()
	stranger := path{sock: h.sock, from: netip.MustParseAddrPort("203.0.113.1:1")}
	for name, tt := range map[string]struct {
		raw []byte
		at  *path
	}{
		"stranger":   {papRequest(1, testName, testPassword), &stranger},
		"short":      {make([]byte, 19), &h.path},
		"attributes": {rawPacket(1, 1, testAuthenticator(1), []byte{1, 0}), &h.path},
		"code":       {rawPacket(4, 1, testAuthenticator(1)), &h.path},
		"unsigned":   {unsignedRequest(1, testName, testPassword), &h.path},
		"wrong":      {flipMA(papRequest(1, testName, testPassword)), &h.path},
	} {
		l := newLane(nil)
		if n := testing.AllocsPerRun(100, func() { h.s.handle(tt.raw, tt.at, l) }); n != 0 && !underRace {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if len(h.engine.attempts()) != 0 {
		t.Error("the engine was asked")
	}
}

// R12: a packet that is signed wrongly costs little more than the look at its
// signature: the shortest of many rounds of both, so that it does not matter how
// fast or busy the machine is.
func TestR12Cost(t *testing.T) {
	if underRace {
		t.Skip("it says nothing here")
	}
	h := newHarness(t, testConfig(), &fakeEngine{}, nil)
	defer func() { _ = h.s.Close() }()
	raw := flipMA(papRequest(1, testName, testPassword))
	l := newLane(nil)
	packet := shortest(func() { h.s.handle(raw, &h.path, l) })
	signature := shortest(func() {
		sum := hmac.New(md5.New, []byte(testSecret))
		sum.Write(raw)
		sum.Sum(nil)
	})
	t.Logf("a packet %v, a signature %v", packet, signature)
	if packet > signature*3/2 {
		t.Errorf("a packet costs %v, a signature %v", packet, signature)
	}
}

// shortest returns how long f takes when nothing else is done.
func shortest(f func()) time.Duration {
	const each = 200
	least := time.Hour
	for range 300 {
		begun := time.Now()
		for range each {
			f()
		}
		least = min(least, time.Since(begun)/each)
	}
	return least
}
