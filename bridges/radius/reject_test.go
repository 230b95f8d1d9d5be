package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

func TestAnswer(t *testing.T) {
	want := map[core.Kind]action{
		core.KindInternal: actionDrop, core.KindDenied: actionReject, core.KindInvalid: actionReject,
		core.KindNotFound: actionReject, core.KindConflict: actionDrop, core.KindLimited: actionHush,
		core.KindUnavailable: actionDrop, core.KindDamaged: actionReject,
	}
	for _, k := range core.Kinds() { // a new kind without a row fails here
		w, ok := want[k]
		if !ok {
			t.Errorf("kind %v: no row here; decide what the device shall see", k)
			continue
		}
		err := fmt.Errorf("while testing: %w", &core.Error{Op: "test", Kind: k})
		if got := answer(err); got != w {
			t.Errorf("answer(%v) = %v, want %v", k, got, w)
		}
	}
	for name, tt := range map[string]struct {
		err  error
		want action
	}{
		"no error":       {nil, actionAccept},
		"foreign error":  {errors.New("disk on fire"), actionDrop},
		"kind never set": {&core.Error{Op: "test"}, actionDrop},
		"caller left":    {context.Canceled, actionDrop},
	} {
		if got := answer(tt.err); got != tt.want {
			t.Errorf("%s: answer(%v) = %v, want %v", name, tt.err, got, tt.want)
		}
	}
}

// R24, R25, section 9: what goes out for every reason there is, and when.
func TestR24R25EveryReason(t *testing.T) {
	silent := map[core.Reason]drop{core.ReasonThrottled: dropThrottled, core.ReasonUnavailable: dropUnavailable}
	var first []byte
	for _, reason := range core.Reasons() {
		engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) { return core.Grant{}, denied(reason) }}
		inBubble(t, testConfig(), engine, func(h *harness) {
			request := papRequest(1, testName, "wrong")
			h.ask(request)
			if why, ok := silent[reason]; ok {
				h.silent(5*time.Second, why)
				return
			}
			h.silent(time.Second-time.Nanosecond, dropNone)
			h.later(time.Nanosecond)
			reply := h.reply(request, codeAccessReject)
			if first == nil {
				first = reply
			}
			if !bytes.Equal(reply, first) {
				t.Errorf("%s: the Reject is %x, another reason's %x", reason, reply, first)
			}
		})
	}
}

// R24: from the arrival, not from the verdict, and a jitter of the account.
func TestR24RejectTime(t *testing.T) {
	for name, tt := range map[string]struct {
		delay, work time.Duration
		jitter      uint64
		want        time.Duration
	}{
		"no jitter":            {0, 0, 0, time.Second},
		"most jitter":          {0, 0, uint64(time.Second / 4), 1250 * time.Millisecond},
		"jitter wraps":         {0, 0, uint64(time.Second/4) + 1, time.Second},
		"huge jitter":          {0, 0, 1<<64 - 1, time.Second + time.Duration((1<<64-1)%uint64(time.Second/4+1))},
		"slow engine":          {0, 900 * time.Millisecond, 0, time.Second},
		"engine slower still":  {0, 1500 * time.Millisecond, 0, 1500 * time.Millisecond},
		"delay by the config":  {3 * time.Second, 0, 0, 3 * time.Second},
		"its quarter as well":  {3 * time.Second, 0, uint64(3 * time.Second / 4), 3750 * time.Millisecond},
		"none to speak of":     {1, 0, 7, 0},
		"slow and with jitter": {0, 1100 * time.Millisecond, uint64(200 * time.Millisecond), 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.RejectDelay = tt.delay
			engine := &fakeEngine{jitter: func(account string) uint64 {
				if account != testName {
					t.Errorf("jitter of %q", account)
				}
				return tt.jitter
			}}
			engine.verify = func(context.Context, core.Attempt) (core.Grant, error) {
				time.Sleep(tt.work)
				return core.Grant{}, denied(core.ReasonWrong)
			}
			inBubble(t, config, engine, func(h *harness) {
				start := time.Now()
				h.ask(papRequest(1, testName, "wrong"))
				h.later(10 * time.Second)
				all := h.replies()
				if len(all) != 1 || all[0].at.Sub(start) != tt.want {
					t.Errorf("replies %v, want one after %v (at %v)", len(all), tt.want, all[0].at.Sub(start))
				}
			})
		})
	}
}

// R24: accepts are never delayed, also behind Rejects that wait.
func TestR24AcceptsAreNotDelayed(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		for n := range 100 {
			h.ask(papRequest(n, testName, "wrong"))
		}
		request := papRequest(200, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
	})
}

// R24: a full delay is silence, never an early Reject.
func TestR24DelayFull(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		start := time.Now()
		for n := range maxDelayedPerPeer + 50 {
			h.path.from = netipPort(n)
			h.ask(papRequest(n, testName, "wrong"))
		}
		h.silent(time.Second-time.Nanosecond, dropDelayFull)
		h.later(5 * time.Second)
		for _, one := range h.replies() {
			if one.at.Sub(start) < time.Second {
				t.Fatalf("a Reject after %v", one.at.Sub(start))
			}
		}
	})
}

func netipPort(n int) netip.AddrPort {
	return netip.AddrPortFrom(testSource.Addr(), uint16(1024+n/256))
}

// R22: at most 200 failures a second for a client, repeats included, with a delay
// and without.
func TestR22FailuresPerSecond(t *testing.T) {
	atOnce := testConfig()
	atOnce.RejectDelay = 1
	for name, config := range map[string]Config{"delayed": testConfig(), "at once": atOnce} {
		t.Run(name, func(t *testing.T) { inBubble(t, config, &fakeEngine{}, failuresPerSecondHold) })
	}
}

func failuresPerSecondHold(h *harness) {
	start := time.Now()
	for n := range 2000 { // 500 a second for 4 s
		h.path.from = netipPort(n)
		h.ask(papRequest(n, testName, "wrong"))
		h.later(2 * time.Millisecond)
	}
	h.later(5 * time.Second)
	all := h.replies()
	for i := range all {
		if i >= failuresPerSecond && all[i].at.Sub(all[i-failuresPerSecond].at) < time.Second {
			h.t.Fatalf("201 Rejects within %v", all[i].at.Sub(all[i-failuresPerSecond].at))
		}
	}
	if n := len(all); n < 800 {
		h.t.Errorf("%d Rejects in %v, want about 200 a second", n, time.Since(start))
	}
	if h.s.counters.dropped[dropFailureRate].Load() == 0 {
		h.t.Error("nothing counted")
	}
	again := papRequest(2000, testName, "wrong")
	h.ask(again)
	h.later(3 * time.Second)
	h.reply(again, codeAccessReject)
	for range 1000 {
		h.ask(again)
	}
	if n := len(h.replies()); n != failuresPerSecond {
		h.t.Errorf("%d Rejects at once for repeats, want %d", n, failuresPerSecond)
	}
}

// R25: whoever guesses locks nobody out.
func TestR25RightPasswordAfterFailures(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		for n := range 1000 {
			h.path.from = netipPort(n)
			h.ask(papRequest(n, testName, "wrong"))
		}
		h.later(5 * time.Second)
		h.replies()
		request := papRequest(1000, testName, testPassword)
		h.ask(request)
		h.reply(request, codeAccessAccept)
	})
}

// R22: no Reject or Status reply is larger than its request.
func TestR22NoAmplification(t *testing.T) {
	c := testClient()
	never(&c)
	for name, tt := range map[string]struct {
		raw    []byte
		silent bool
	}{
		"header alone":                 {rawPacket(1, 1, testAuthenticator(1)), true},
		"empty name, empty password":   {rawPacket(1, 1, testAuthenticator(1), attr(1, ""), attr(2, "")), true},
		"37 octets":                    {rawPacket(1, 1, testAuthenticator(1), attr(1, strings.Repeat("x", 15))), true},
		"38 octets":                    {rawPacket(1, 1, testAuthenticator(1), attr(1, strings.Repeat("x", 16))), false},
		"signed header alone":          {signRequest(rawPacket(1, 1, testAuthenticator(1), emptyMA), testSecret), false},
		"smallest Status-Server":       {statusRequest(1), false},
		"signed, empty password, name": {papRequest(1, "", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, testConfig(c), &fakeEngine{}, func(h *harness) {
				h.ask(tt.raw)
				h.later(2 * time.Second)
				all := h.replies()
				if tt.silent != (len(all) == 0) {
					t.Fatalf("%d replies", len(all))
				}
				for _, one := range all {
					checkReply(t, one.reply, tt.raw, testSecret)
					if len(one.reply) > len(tt.raw) {
						t.Errorf("%d octets for %d", len(one.reply), len(tt.raw))
					}
				}
			})
		})
	}
}

// R23, RFC 5997: ten a second, and silent while attempts cannot be decided.
func TestR23StatusServer(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		for n := range 30 {
			h.ask(statusRequest(n))
		}
		if n := len(h.replies()); n != statusPerSecond {
			t.Errorf("%d answers at once, want %d", n, statusPerSecond)
		}
		if h.s.counters.dropped[dropStatusRate].Load() != 20 {
			t.Errorf("dropped %v", h.s.Counters().Dropped)
		}
		h.later(time.Second)
		h.engine.ready = func(context.Context) error { return denied(core.ReasonUnavailable) }
		h.ask(statusRequest(31))
		h.silent(time.Second, dropNotReady)
		h.engine.ready = func(ctx context.Context) error { <-ctx.Done(); return nil }
		h.ask(statusRequest(32))
		h.silent(10*time.Second, dropNotReady)
		h.engine.ready = nil
		h.ask(flipMA(statusRequest(33)))
		h.silent(time.Second, dropMessageAuthenticator)
		request := statusRequest(34)
		h.ask(request)
		if got := attributesOf(h.reply(request, codeAccessAccept)); len(got) != 1 {
			t.Errorf("attributes %q", got)
		}
		if len(h.engine.attempts()) != 0 {
			t.Error("a Status-Server became an attempt")
		}
	})
}
