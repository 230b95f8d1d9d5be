package radius

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// parts divides octets into attributes of at most 255 and at least 20.
func parts(octets int) (all []int) {
	for ; octets > 275; octets -= 255 {
		all = append(all, 255)
	}
	if octets > 255 {
		all, octets = append(all, octets-20), 20
	}
	return append(all, octets)
}

// replyOctets are reply attributes of one name, of so many octets together.
func replyOctets(t testing.TB, name string, octets int) (all []Attribute) {
	t.Helper()
	for _, n := range parts(octets) {
		head := 2
		if name == "Cisco-AVPair" {
			head = 8
		}
		a, err := ParseReply(name, strings.Repeat("x", n-head))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// proxyStates are attributes of so many octets together, each another one.
func proxyStates(octets int) (all [][]byte) {
	if octets == 0 {
		return nil
	}
	for i, n := range parts(octets) {
		all = append(all, attr(33, strings.Repeat(string(rune('a'+i%26)), n-2)))
	}
	return all
}

// asking grants what the bridge can answer, with the largest session there is, and
// counts what it granted.
func asking(granted *int, own ...core.Reply) *fakeEngine {
	all := trialEngine(testPassword)
	decide := all.verify
	all.verify = func(ctx context.Context, a core.Attempt) (core.Grant, error) {
		g := core.Grant{Account: a.Account, Groups: []string{"staff"}, Profile: "vpn", AppPassword: core.Ref{ID: "0123"}, Reply: own}
		if text, ok := a.Proof.(proof.Cleartext); ok && string(text) != testPassword {
			return core.Grant{}, denied(core.ReasonWrong)
		} else if !ok {
			if _, err := decide(ctx, a); err != nil {
				return core.Grant{}, err
			}
		}
		if err := a.Answerer.Answerable(&g); err != nil {
			return core.Grant{}, &core.Error{Op: "verify", Kind: core.KindUnavailable, Reason: core.ReasonUnavailable, Err: err}
		}
		*granted++
		g.Session = bytes.Repeat([]byte{0xA5}, maxValue)
		return g, nil
	}
	return all
}

// What is granted can be sent, to the last octet, and what can not is no grant:
// whoever brings the attributes, and with whatever of the request goes back.
func TestGrantedIsWhatFits(t *testing.T) {
	for name, tt := range map[string]struct {
		proxied int
		request func(n int, more ...[]byte) []byte
		own     int // octets that the server puts in for the method
	}{
		"PAP":          {0, func(n int, more ...[]byte) []byte { return papRequest(n, testName, testPassword, more...) }, 0},
		"PAP, proxied": {2500, func(n int, more ...[]byte) []byte { return papRequest(n, testName, testPassword, more...) }, 0},
		"MS-CHAPv2": {0, func(n int, more ...[]byte) []byte {
			return mschap2Request(t, n, testName, testName, testPassword, more...)
		}, 51 + 12 + 12 + 42 + 42},
		"MS-CHAPv2, proxied": {1000, func(n int, more ...[]byte) []byte {
			return mschap2Request(t, n, testName, testName, testPassword, more...)
		}, 51 + 12 + 12 + 42 + 42},
	} {
		t.Run(name, func(t *testing.T) {
			full := 4096 - 20 - 18 - 255 - tt.proxied - tt.own
			for i, octets := range []int{full - 1, full, full + 1, full + 300, full - 1, full, full + 1, full + 300} {
				// A later one replaces those before: what comes of it is what counts.
				c := everyMethod()
				c.Reply = replyOctets(t, "Reply-Message", 20)
				config := testConfig(c)
				config.Replies.Profiles = map[string][]Attribute{"vpn": replyOctets(t, "Reply-Message", 400)}
				rest, own := octets-400, []core.Reply(nil)
				if i >= 4 {
					rest, own = octets-5, []core.Reply{{Name: "Reply-Message", Value: "own"}}
				}
				config.Replies.Groups = map[string][]Attribute{"staff": replyOctets(t, "Cisco-AVPair", rest)}
				granted := 0
				inBubble(t, config, asking(&granted, own...), func(h *harness) {
					request := tt.request(1, proxyStates(tt.proxied)...)
					h.ask(request)
					if octets > full {
						h.silent(time.Minute, dropReplyTooLarge)
						if granted != 0 || !strings.Contains(h.log.String(), fmt.Sprintf("have %d octets of reply attributes, and here is room for %d", octets, full)) {
							t.Errorf("%d octets: %d granted; log %s", octets, granted, h.log.String())
						}
						return
					}
					reply := h.reply(request, codeAccessAccept)
					if granted != 1 || len(reply) != 4096-(full-octets) {
						t.Errorf("%d octets: %d granted, a reply of %d", octets, granted, len(reply))
					}
					var back []string
					for _, a := range attributesOf(reply) {
						if a[0] == 33 {
							back = append(back, a)
						}
					}
					if !slices.Equal(back, texts(proxyStates(tt.proxied))) {
						t.Error("the Proxy-States are not what they were, in their order")
					}
				})
			}
		})
	}
}

// What does not fit is recorded as that, and leaves no trace of a sign-in: no use
// and no pin. Decided in the reader, by the workers, and by each method.
func TestRecordedAsSent(t *testing.T) {
	e := newRealEngine(t, 1, func(p *core.Policy) {
		p.Profiles["vpn"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: proof.Methods()}
		p.Profiles["console"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: proof.Methods(), PinDevice: true}
	})
	for _, profile := range []string{"vpn", "console"} {
		e.texts = append(e.texts, e.create(t, e.names[0], profile))
	}
	settle(t, e)
	was, err := e.List(t.Context(), e.names[0])
	if err != nil {
		t.Fatal(err)
	}
	c := everyMethod()
	c.Reply = replyOctets(t, "Reply-Message", 3000)
	var log syncBuffer
	s, err := newServer(testConfig(c), e, nil, slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sock, l := &fakeSocket{}, newLane(nil)
	at := &path{sock: sock, from: testSource}
	states := proxyStates(1000)
	station := attr(31, "02-00-5E-10-00-01")
	for n, raw := range [][]byte{
		papRequest(0, e.names[0], e.texts[0], states...),
		papRequest(1, e.names[0], e.texts[1], states...),
		papRequest(2, e.names[0], e.texts[2], append(states, station)...),
		mschap2Request(t, 3, e.names[0], e.names[0], e.texts[2], append(states, station)...),
	} {
		s.handle(raw, at, l)
		s.running.Wait()
		all, err := e.Attempts(t.Context(), e.names[0])
		if err != nil {
			t.Fatal(err)
		}
		if all[0].Reason != core.ReasonUnavailable || len(sock.sent) != 0 {
			t.Errorf("request %d: recorded as %q, and %d replies", n, all[0].Reason, len(sock.sent))
		}
	}
	if n := s.Counters().Dropped[dropReplyTooLarge.String()]; n != 4 {
		t.Errorf("%d counted as too large", n)
	}
	now, err := e.List(t.Context(), e.names[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range now {
		if now[i].Uses != was[i].Uses || now[i].Pin != was[i].Pin {
			t.Errorf("before %+v, and now %+v", was[i], now[i])
		}
	}
	s.handle(mschap2Request(t, 4, e.names[0], e.names[0], e.texts[2], station), at, l) // what fits is a sign-in
	s.running.Wait()
	if all, err := e.Attempts(t.Context(), e.names[0]); err != nil || all[0].Reason != "" || len(sock.sent) != 1 || sock.sent[0].reply[0] != codeAccessAccept {
		t.Errorf("%+v, %v, %d replies", all[0], err, len(sock.sent))
	}
}
