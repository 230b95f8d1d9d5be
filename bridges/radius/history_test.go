package radius

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
)

// R7, RFC 5080, section 2.2.2: a repeat is never verified twice.
func TestR7RepeatInFlightAndAnswered(t *testing.T) {
	release := make(chan struct{})
	engine := &fakeEngine{}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		engine.verify = func(context.Context, core.Attempt) (core.Grant, error) {
			<-release
			return core.Grant{Session: []byte("one")}, nil
		}
		h := newHarness(t, testConfig(), engine, nil)
		defer func() { _ = h.s.Close() }()
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.ask(request)
		h.silent(0, dropDuplicate)
		close(release)
		synctest.Wait()
		first := h.reply(request, codeAccessAccept)
		for _, wait := range []time.Duration{0, 3 * time.Second, 6 * time.Second, 12 * time.Second, 8 * time.Second} { // hostapd's, to 29 s
			h.later(wait)
			h.ask(request)
			if !bytes.Equal(h.reply(request, codeAccessAccept), first) {
				t.Error("a repeat got other octets")
			}
		}
		if n := len(engine.attempts()); n != 1 {
			t.Errorf("verified %d times", n)
		}
	})
}

// R7: a Reject is repeated too, and while it waits for its time its repeats
// are dropped.
func TestR7RepeatOfReject(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		request := papRequest(1, testName, "wrong")
		h.ask(request)
		h.ask(request)
		h.silent(900*time.Millisecond, dropDuplicate)
		h.later(100 * time.Millisecond)
		first := h.reply(request, codeAccessReject)
		h.ask(request)
		if !bytes.Equal(h.reply(request, codeAccessReject), first) {
			t.Error("the repeat got other octets")
		}
		if n := len(h.engine.attempts()); n != 1 {
			t.Errorf("verified %d times", n)
		}
	})
}

// R7: the key is address, port, identifier and socket, and the authenticator.
func TestR7EveryPartOfTheKey(t *testing.T) {
	c := testClient()
	c.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	c.AllowReplayedAuthenticator = true // or R8 would answer instead
	a := testAuthenticator(1)
	same := func(id byte) []byte {
		return signRequest(rawPacket(1, id, a, emptyMA, attr(1, testName), hidePassword(testPassword, testSecret, a)), testSecret)
	}
	for name, change := range map[string]func(h *harness) []byte{
		"address":       func(h *harness) []byte { h.path.from = netip.MustParseAddrPort("192.0.2.11:5000"); return same(1) },
		"port":          func(h *harness) []byte { h.path.from = netip.MustParseAddrPort("192.0.2.10:5001"); return same(1) },
		"socket":        func(h *harness) []byte { h.sock.id = 1; return same(1) },
		"identifier":    func(*harness) []byte { return same(2) },
		"authenticator": func(*harness) []byte { r := papRequest(257, testName, testPassword); return r },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
				h.ask(same(1))
				h.reply(same(1), codeAccessAccept)
				other := change(h)
				h.ask(other)
				h.reply(other, codeAccessAccept)
				if n := len(h.engine.attempts()); n != 2 {
					t.Errorf("verified %d times, want 2", n)
				}
			})
		})
	}
}

// R7: a new authenticator ends what had the identifier before it, also in
// flight: nobody waits for that answer.
func TestR7NewAuthenticatorPurges(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		first, second := papRequest(1, testName, "wrong"), papRequest(257, testName, testPassword)
		h.ask(first)
		h.ask(second)
		h.reply(second, codeAccessAccept)
		h.silent(2*time.Second, dropSuperseded)
		h.ask(first) // the old one does not come back, nor does it purge
		h.silent(2*time.Second, dropReplay)
		h.ask(second)
		h.reply(second, codeAccessAccept)
	})
}

// R7: what is not genuine changes nothing.
func TestR7BadMessageAuthenticatorChangesNothing(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		first := h.reply(request, codeAccessAccept)
		h.ask(flipMA(papRequest(257, testName, testPassword)))
		h.silent(0, dropMessageAuthenticator)
		h.ask(flipMA(papRequest(1, testName, testPassword)))
		h.silent(0, dropMessageAuthenticator)
		h.ask(request)
		if !bytes.Equal(h.reply(request, codeAccessAccept), first) {
			t.Error("the repeat got other octets")
		}
	})
}

// R8: an authenticator that comes again outside of the cache is a recording.
func TestR8Replay(t *testing.T) {
	for _, wait := range []time.Duration{31 * time.Second, 4*time.Minute + 59*time.Second} {
		inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
			request := papRequest(1, testName, testPassword)
			h.ask(request)
			h.reply(request, codeAccessAccept)
			h.later(wait)
			h.ask(request)
			h.silent(2*time.Second, dropReplay)
			if !strings.Contains(h.log.String(), "Request Authenticator") {
				t.Error("no alert")
			}
		})
	}
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) { // from elsewhere, at once
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		h.path.from = netip.MustParseAddrPort("192.0.2.10:6000")
		h.ask(request)
		h.silent(2*time.Second, dropReplay)
	})
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) { // over after 5 minutes
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		h.later(replayKept)
		h.ask(request)
		h.reply(request, codeAccessAccept)
	})
}

// R8: the switch for devices that make bad random numbers.
func TestR8Switch(t *testing.T) {
	c := testClient()
	c.AllowReplayedAuthenticator = true
	inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		h.later(31 * time.Second)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		if n := len(h.engine.attempts()); n != 2 {
			t.Errorf("verified %d times, want 2", n)
		}
	})
}

// R7, section 9: what could not be decided is tried anew when it comes again.
func TestR7UndecidedIsNotRemembered(t *testing.T) {
	engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) {
		return core.Grant{}, denied(core.ReasonUnavailable)
	}}
	inBubble(t, testConfig(), engine, func(h *harness) {
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		h.silent(5*time.Second, dropUnavailable)
		engine.verify = nil
		h.ask(request)
		h.reply(request, codeAccessAccept)
	})
}

// R7: the cache is bounded, by octets too, and each client has its own part.
func TestR7Bounds(t *testing.T) {
	h := newHistory()
	h.share(1000)
	now := time.Now()
	var firstSlot slot
	last := authenticator{}
	for n := range 100_000 {
		s := slot{port: uint16(n >> 8), id: byte(n)}
		if n == 0 {
			firstSlot = s
		}
		last = authenticator([]byte(testAuthenticator(n)))
		verdict, e, _ := h.take(s, last, false, now, nil)
		if verdict != verdictNew {
			t.Fatalf("request %d: verdict %d", n, verdict)
		}
		h.answer(e, make([]byte, 1000), now)
		if h.size > h.maxSize+1000 || h.replays.size() > h.replays.limit || len(h.spare) > maxSpare {
			t.Fatalf("after %d: %d octets of %d, room for %d authenticators of %d, %d spare", n, h.size, h.maxSize, h.replays.size(), h.replays.limit, len(h.spare))
		}
	}
	if h.slots[firstSlot] != nil {
		t.Error("the oldest is still there")
	}
	later := now.Add(replayKept)
	h.take(slot{id: 1}, authenticator{}, true, later, nil)
	if len(h.slots) != 1 || h.size != historyCost || h.replays.seen(h.replays.mark(last), later) || h.oldest != nil || h.newest != nil {
		t.Errorf("after all is over: %d exchanges, %d octets", len(h.slots), h.size)
	}
}

// R7: with everything in flight there is no room, and none is made.
func TestR7FullOfRequestsInFlight(t *testing.T) {
	h := newHistory()
	h.share(1 << 20)
	now := time.Now()
	for n := range h.maxSize / historyCost {
		if verdict, _, _ := h.take(slot{id: byte(n), sock: uint16(n)}, authenticator([]byte(testAuthenticator(n))), false, now, nil); verdict != verdictNew {
			t.Fatalf("request %d: verdict %d", n, verdict)
		}
	}
	if verdict, _, _ := h.take(slot{sock: 65535}, authenticator{1}, false, now, nil); verdict != verdictFull {
		t.Errorf("verdict %d, want full", verdict)
	}
}

// R7: what was taken back is not answered, and is not taken back again.
func TestR7TakenBack(t *testing.T) {
	h := newHistory()
	h.share(1)
	now := time.Now()
	_, e, _ := h.take(slot{}, authenticator{1}, false, now, nil)
	h.forget(e)
	h.forget(e)
	if h.answer(e, []byte{codeAccessAccept}, now) || len(h.slots) != 0 || h.size != 0 {
		t.Errorf("answered; %d exchanges, %d octets", len(h.slots), h.size)
	}
}
