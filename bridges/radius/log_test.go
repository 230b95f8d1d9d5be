package radius

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
)

// R5: a stranger gets silence, one line in 10 s, and no memory of ours.
func TestR5UnknownClient(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		h.path.from = netip.MustParseAddrPort("203.0.113.1:1")
		for range 1000 {
			h.ask(papRequest(1, testName, testPassword))
		}
		h.silent(2*time.Second, dropUnknownClient)
		if n := strings.Count(h.log.String(), "no client"); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
		h.later(8 * time.Second)
		h.ask([]byte("not even a packet"))
		if n := strings.Count(h.log.String(), "no client"); n != 2 || !strings.Contains(h.log.String(), `"held_back":999`) {
			t.Errorf("%d lines, want 2: %s", n, h.log)
		}
		for n := range 100_000 { // forged sources
			h.path.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)}), 1)
			l := newLane(nil)
			h.s.handle(nil, &h.path, l)
		}
		if n := len(h.s.strangers.until); n > logSources {
			t.Errorf("%d sources are remembered, at most %d", n, logSources)
		}
		if n := strings.Count(h.log.String(), "no client"); n > 2+logSources {
			t.Errorf("%d lines of a flood", n)
		}
		if len(h.engine.attempts()) != 0 || len(h.s.table.Load().peers) != 1 {
			t.Error("strangers left something behind")
		}
		h.path.from = testSource // and hide nothing of what clients do
		h.ask(unsignedRequest(2, testName, testPassword))
		if !strings.Contains(h.log.String(), "Message-Authenticator on at the client") {
			t.Error("the line about a client is missing")
		}
	})
}

// Section 10: one line in 10 s for each source, whatever is wrong.
func TestOneLinePerSource(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		for range 100 {
			h.ask(unsignedRequest(1, testName, testPassword))
			h.ask(flipMA(papRequest(1, testName, testPassword)))
			h.ask([]byte("short"))
		}
		if n := strings.Count(h.log.String(), `"level":"WARN"`); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
	})
}

// R27: one JSON record an event, names escaped, secrets nowhere at any level.
func TestR27Log(t *testing.T) {
	hostile := "al\x1b[31main\n{\"level\":\"ERROR\"}\u202e\xff\x00" + strings.Repeat("x", 100)
	config := testConfig()
	config.Redact = func(name string) string {
		if name == testPassword {
			return "[app password]"
		}
		return name
	}
	inBubble(t, config, &fakeEngine{}, func(h *harness) {
		h.ask(papRequest(1, hostile, "wrong password"))
		h.ask(papRequest(2, testPassword, testPassword))
		h.ask(flipMA(papRequest(3, hostile, testPassword)))
		h.engine.verify = grantAll
		h.ask(papRequest(4, hostile, ""))
		h.later(2 * time.Second)
		text := h.log.String()
		for _, secret := range []string{testPassword, testSecret, "wrong password", "\x1b", "\u202e", "\xff", fmt.Sprintf("%x", testSecret)} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the log: %s", secret, text)
			}
		}
		if !strings.Contains(text, `"account":"[app password]"`) {
			t.Errorf("no redacted name: %s", text)
		}
		for line := range strings.Lines(text) {
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			if account, ok := record["account"].(string); ok && strings.ContainsAny(account, "\x00\n\x1b\u202e\ufffd") {
				t.Errorf("account %q is not escaped", account)
			}
		}
	})
}

// R27: without Redact no name is written at all.
func TestR27NoRedact(t *testing.T) {
	config := testConfig()
	config.Redact = nil
	inBubble(t, config, &fakeEngine{}, func(h *harness) {
		h.ask(papRequest(1, testName, testPassword))
		if strings.Contains(h.log.String(), "alain") || !strings.Contains(h.log.String(), "[hidden]") {
			t.Errorf("log: %s", h.log)
		}
	})
}

// The counters have every name they can have, from the start.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, testConfig(), &fakeEngine{}, nil)
		defer func() { _ = h.s.Close() }()
		h.ask(papRequest(1, testName, testPassword))
		h.ask(papRequest(2, testName, "wrong"))
		h.ask(statusRequest(3))
		h.later(2 * time.Second)
		got := h.s.Counters()
		for code, want := range map[string]uint64{"access-request": 2, "status-server": 1, "access-accept": 2, "access-reject": 1, "access-challenge": 0, "other": 0} {
			if n, ok := got.Packets[code]; !ok || n != want {
				t.Errorf("packets of %s: %d, want %d", code, n, want)
			}
		}
		if len(got.Packets) != len(PacketCodes()) || len(got.Dropped) != len(DropReasons()) {
			t.Errorf("%v, %v", got, DropReasons())
		}
		for _, why := range DropReasons() {
			if n, ok := got.Dropped[why]; !ok || why == "" || n != 0 {
				t.Errorf("dropped for %q: %d, %v", why, n, ok)
			}
		}
	})
}

// A promptEngine decides every clear text at once: it grants testPassword to one
// account alone.
type promptEngine struct {
	*fakeEngine
	typed []string
}

const grantedName = "granted@contoso.com"

func (*promptEngine) Expect([][]byte) {}

func (e *promptEngine) VerifyText(a *core.Attempt, name, typed []byte, g *core.Grant) (bool, error) {
	if a.Account = string(name); a.Account == grantedName && string(typed) == testPassword {
		*g = core.Grant{Account: a.Account}
		return true, nil
	}
	e.typed = append(e.typed, string(typed))
	return true, denied(core.ReasonWrong)
}

// FuzzRequest sends anything at all, signed or not, between two good requests, to
// an engine that grants nothing else: these two get an Access-Accept, and nothing
// but them, every reply is signed, and a password is read as it was sent.
func FuzzRequest(f *testing.F) {
	f.Add(papRequest(1, testName, "wrong"), true)
	f.Add(unsignedRequest(2, testName, "wrong", attr(33, "state")), false)
	f.Add(rawPacket(1, 3, testAuthenticator(3), emptyMA, attr(1, "x"), attr(79, "\x02\x01\x00\x06\x01x")), true)
	f.Add(rawPacket(1, 4, testAuthenticator(4), emptyMA, attr(1, "x"), attr(3, "12345678901234567"), vsa(311, 25, strings.Repeat("x", 50))), true)
	f.Add(rawPacket(12, 5, testAuthenticator(5), emptyMA), true)
	f.Add(rawPacket(1, 6, testAuthenticator(6), emptyMA, attr(1, "\xff"), attr(31, "\xff\x00"), attr(6, "\x00\x00\x00\x11")), true)
	f.Add(hexFile(f, "rfc2865-7.1-request.hex"), false)
	f.Add(papRequest(7, testName, strings.Repeat("a long password ", 8)), false)
	f.Fuzz(func(t *testing.T, raw []byte, sign bool) {
		engine := &promptEngine{fakeEngine: &fakeEngine{}}
		engine.verify = func(_ context.Context, a core.Attempt) (core.Grant, error) {
			if len(a.Device) > maxDevice || len(a.Account) > maxValue {
				t.Errorf("attempt %+v", a)
			}
			return core.Grant{}, denied(core.ReasonWrong)
		}
		c := testClient()
		never(&c)
		config := testConfig(c)
		config.RejectDelay = 1
		s, err := newServer(config, engine, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		sock := &fakeSocket{}
		at := path{sock: sock, from: testSource}
		l := newLane(nil)
		var p packet
		if sign && p.parse(raw) == dropNone && p.signatures == 1 && raw[p.signature+1] == 18 {
			raw = signRequest(p.raw, testSecret)
		}
		id := byte(0)
		if len(raw) > 1 {
			id = raw[1]
		}
		requests := map[byte][]byte{id: raw}
		for _, good := range []byte{id + 1, id + 2} {
			requests[good] = papRequest(50*256+int(good), grantedName, testPassword)
		}
		for _, request := range [][]byte{requests[id+1], raw, requests[id+2]} {
			s.open(request, &at, l)
		}
		s.admitAll(l)
		s.running.Wait()
		for _, typed := range engine.typed {
			if p.parse(raw) != dropNone {
				t.Fatalf("%q was read of %x", typed, raw)
			}
			hidden, _ := p.hiddenPassword()
			text := make([]byte, len(hidden))
			s.table.Load().names[c.Name].keys[0].reveal(text, hidden, p.authenticator())
			if !strings.HasPrefix(string(text), typed) || strings.Trim(string(text[len(typed):]), "\x00") != "" {
				t.Fatalf("%q was read of %x", typed, text)
			}
		}
		due, _ := s.delays.take(time.Now().Add(time.Hour))
		for d := due; d != nil; d = d.next {
			s.sendDelayed(d)
		}
		accepted := 0
		for _, one := range sock.sent {
			request := requests[one.reply[1]]
			checkReply(t, one.reply, request, testSecret)
			switch {
			case one.reply[0] != codeAccessAccept || request[0] == codeStatusServer:
			case one.reply[1] == id:
				t.Fatalf("Access-Accept for %x", raw)
			default:
				accepted++
			}
			if len(one.reply) > len(request) {
				t.Errorf("%d octets for %d", len(one.reply), len(request))
			}
		}
		if accepted != 2 {
			t.Errorf("%d good requests were accepted, of 2", accepted)
		}
		if s.counters.dropped[dropPanic].Load() != 0 {
			t.Fatal("a panic was caught")
		}
	})
}
