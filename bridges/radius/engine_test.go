package radius

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// Section 9: late, foreign, panicking and lying engines never accept.
func TestEngineFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		raw    []byte
		verify func(ctx context.Context, a core.Attempt) (core.Grant, error)
		want   drop
	}{
		"never returns until told": {papRequest(1, testName, testPassword), func(ctx context.Context, _ core.Attempt) (core.Grant, error) {
			<-ctx.Done()
			return core.Grant{}, ctx.Err()
		}, dropLate},
		"grants too late": {papRequest(1, testName, testPassword), func(context.Context, core.Attempt) (core.Grant, error) {
			time.Sleep(defaultAttemptTimeout)
			return core.Grant{}, nil
		}, dropLate},
		"foreign error": {papRequest(1, testName, testPassword), func(context.Context, core.Attempt) (core.Grant, error) {
			return core.Grant{}, errors.New("disk on fire")
		}, dropInternal},
		"panics": {papRequest(1, testName, testPassword), func(context.Context, core.Attempt) (core.Grant, error) {
			panic("secret text of a panic")
		}, dropPanic},
		"grants without a password": {papRequest(1, testName, ""), grantAll, dropInternal},
		"grants CHAP that nobody decoded": {signRequest(rawPacket(1, 1, testAuthenticator(1), emptyMA, attr(1, testName), attr(3, strings.Repeat("x", 17))), testSecret),
			grantAll, dropInternal},
		"session of 254 octets": {papRequest(1, testName, testPassword), func(context.Context, core.Attempt) (core.Grant, error) {
			return core.Grant{Session: make([]byte, 254)}, nil
		}, dropReplyTooLarge},
		"an attribute that is none": {papRequest(1, testName, testPassword), func(context.Context, core.Attempt) (core.Grant, error) {
			return core.Grant{Reply: []core.Reply{{Name: "Filter-Id", Value: "x"}, {Name: "Message-Authenticator", Value: "0x00"}}}, nil
		}, dropReplyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			engine := &fakeEngine{verify: tt.verify}
			inBubble(t, testConfig(), engine, func(h *harness) {
				h.ask(tt.raw)
				h.silent(10*time.Second, tt.want)
				if strings.Contains(h.log.String(), "secret text") {
					t.Error("the text of a panic is in the log")
				}
				engine.verify = nil
				request := papRequest(2, testName, testPassword)
				h.ask(request)
				h.reply(request, codeAccessAccept)
			})
		})
	}
}

// Section 10: a client whose attempts hang holds up no other, and of its own
// the oldest are given up.
func TestSlowEngineOfOneClient(t *testing.T) {
	other := testClient()
	other.Name, other.Prefixes = "wifi", prefixes("198.51.100.1/32")
	engine := &fakeEngine{}
	engine.verify = func(ctx context.Context, a core.Attempt) (core.Grant, error) {
		if a.Service == "radius/vpn1" {
			<-ctx.Done()
		}
		return core.Grant{}, ctx.Err()
	}
	inBubble(t, testConfig(testClient(), other), engine, func(h *harness) {
		const many = maxWorkers + queueLen + 100
		for n := range many {
			h.path.from = netipPort(n)
			h.ask(papRequest(n, testName, testPassword))
		}
		if got := h.s.counters.dropped[dropQueueFull].Load(); got != 100 {
			t.Errorf("%d given up, want 100", got)
		}
		h.path.from = netip.MustParseAddrPort("198.51.100.1:5000")
		request := papRequest(many, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
		h.silent(5*time.Second, dropLate)
		if n := len(engine.attempts()); n != maxWorkers+1 {
			t.Errorf("%d attempts; what waited over its time shall not be one", n)
		}
	})
}

// Section 10: a full queue gives up the oldest, and keeps the order of the rest.
func TestQueueDropsTheOldest(t *testing.T) {
	q := &queue{workers: maxWorkers}
	var all []*job
	for n := range queueLen + 44 {
		r := &job{}
		all = append(all, r)
		gone, start := q.put(r)
		if start || (n < queueLen) != (gone == nil) || gone != nil && gone != all[n-queueLen] {
			t.Fatalf("request %d: gone %p, start %v", n, gone, start)
		}
	}
	for n, want := range all[44:] {
		if got := q.get(); got != want {
			t.Fatalf("%d: out of order", n)
		}
	}
	if q.get() != nil || q.workers != maxWorkers-1 {
		t.Errorf("%d workers", q.workers)
	}
}

// R25: a silence that was decided lasts for its repeats, and is then forgotten.
func TestR25ThrottledRepeats(t *testing.T) {
	engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) {
		return core.Grant{}, denied(core.ReasonThrottled)
	}}
	inBubble(t, testConfig(), engine, func(h *harness) {
		request := papRequest(1, testName, "wrong")
		h.ask(request)
		h.later(29 * time.Second)
		h.ask(request)
		h.silent(2*time.Second, dropDuplicate)
		h.ask(papRequest(2, testName, "wrong"))
		if n, slots := len(engine.attempts()), len(h.s.table.Load().peers["vpn1"].history.slots); n != 2 || slots != 1 {
			t.Errorf("%d attempts, %d exchanges kept, want 2 and 1", n, slots)
		}
	})
}

// The clear text is wiped when the attempt is over.
func TestR13PasswordIsWiped(t *testing.T) {
	var text proof.Cleartext
	engine := &fakeEngine{verify: func(_ context.Context, a core.Attempt) (core.Grant, error) {
		text = a.Proof.(proof.Cleartext)
		if string(text) != testPassword {
			t.Errorf("password %q", []byte(text))
		}
		return core.Grant{}, nil
	}}
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, testConfig(), engine, nil)
		defer func() { _ = h.s.Close() }()
		h.ask(papRequest(1, testName, testPassword))
		for _, b := range text {
			if b != 0 {
				t.Fatalf("left behind: %q", []byte(text))
			}
		}
	})
}
