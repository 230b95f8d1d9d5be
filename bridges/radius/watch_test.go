package radius

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// saw returns the next packet that w sees.
func (h *harness) saw(w *Watch) Sighting {
	h.t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	told, err := w.Next(ctx)
	if err != nil {
		h.t.Fatalf("nothing was seen: %v", err)
	}
	return told
}

func (h *harness) watch(f Filter) *Watch {
	h.t.Helper()
	w, err := h.s.Watch(f)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// Each packet is shown once, with what was decided and why.
func TestWatch(t *testing.T) {
	grant := func(context.Context, core.Attempt) (core.Grant, error) {
		return core.Grant{AppPassword: core.Ref{ID: "0123", Name: "Laptop"}, Session: []byte("\x01\xffsealed")}, nil
	}
	refuse := func(reason core.Reason) func(context.Context, core.Attempt) (core.Grant, error) {
		return func(context.Context, core.Attempt) (core.Grant, error) { return core.Grant{}, denied(reason) }
	}
	other := "a secret that is another one"
	pap := attr(2, strings.Repeat("p", 16))
	for name, tt := range map[string]struct {
		change func(*Client)
		raw    []byte
		verify func(context.Context, core.Attempt) (core.Grant, error)
		result string
		why    string
	}{
		"granted":       {nil, papRequest(1, testName, testPassword), grant, "Access-Accept", `granted with the app password "Laptop" (0123)`},
		"main password": {nil, papRequest(1, testName, testPassword), grantAll, "Access-Accept", "granted with the main password"},
		"wrong":         {nil, papRequest(1, testName, "wrong"), nil, "Access-Reject", "wrong: the password belongs to no app password"},
		"out of scope":  {nil, papRequest(1, testName, "wrong"), refuse(core.ReasonOutOfScope), "Access-Reject", "out-of-scope: the app password is right, but"},
		"which device":  {nil, papRequest(1, testName, "wrong"), refuse(core.ReasonPinMismatch), "Access-Reject", "pin-mismatch: the app password is right, but belongs to one device, and the sign-in does not say"},
		"other device":  {nil, papRequest(1, testName, "wrong", attr(31, "0:1")), refuse(core.ReasonPinMismatch), "Access-Reject", "pin-mismatch: the app password is right, but pinned to another device"},
		"throttled":     {nil, papRequest(1, testName, "wrong"), refuse(core.ReasonThrottled), "silence", "throttled: too many failures"},
		"unavailable":   {nil, papRequest(1, testName, "wrong"), refuse(core.ReasonUnavailable), "silence", "unavailable: the attempt could not be decided"},
		"our fault": {nil, papRequest(1, testName, "wrong"), func(context.Context, core.Attempt) (core.Grant, error) {
			return core.Grant{}, errors.New("disk on fire")
		}, "silence", "the log says more"},
		"status":       {nil, statusRequest(1), nil, "Access-Accept", "attempts can be decided"},
		"other secret": {nil, signRequest(rawPacket(1, 1, testAuthenticator(1), emptyMA, attr(1, testName), pap), other), nil, "silence", "vpn1's packets fail their Message-Authenticator: the shared secret differs"},
		"unsigned":     {nil, unsignedRequest(1, testName, testPassword), nil, "silence", "vpn1's packets carry no Message-Authenticator, and it must: turn Message-Authenticator on at the device (best), or, if it cannot send one, set require_message_authenticator to false or \"auto\" in [radius.client.vpn1]"},
		"unsigned, other": {never, rawPacket(1, 1, testAuthenticator(1), attr(1, testName), hidePassword(testPassword, other, testAuthenticator(1))), nil,
			"Access-Reject", "most likely the shared secret of vpn1 differs"},
		"unsigned proxy":     {never, unsignedRequest(1, testName, testPassword, attr(33, "p")), nil, "silence", "CVE-2024-3596"},
		"accounting":         {nil, rawPacket(13, 1, testAuthenticator(1)), nil, "silence", "it is nothing that belongs on this port"},
		"short":              {nil, []byte{1, 2}, nil, "silence", "no well-formed RADIUS packet (bad-length)"},
		"bomb":               {nil, rawPacket(1, 1, testAuthenticator(1), []byte{1, 0}), nil, "silence", "no well-formed RADIUS packet (bad-attributes)"},
		"no password":        {nil, signed(attr(1, testName)), nil, "Access-Reject", "there is no password in it"},
		"two passwords":      {nil, papRequest(1, testName, testPassword, attr(3, strings.Repeat("c", 17))), nil, "Access-Reject", "more than one password in it: User-Password, CHAP-Password"},
		"no name":            {nil, signed(pap), nil, "Access-Reject", "it has 0 User-Names"},
		"empty name":         {nil, signed(attr(1, ""), pap), nil, "Access-Reject", "its User-Name is empty"},
		"Call-Check":         {nil, papRequest(1, testName, testPassword, attr(6, "\x00\x00\x00\x0a")), nil, "Access-Reject", "Service-Type asks for a service without"},
		"odd password":       {nil, signed(attr(1, testName), attr(2, "12345")), nil, "Access-Reject", "its User-Password is empty, or does not have the form"},
		"EAP, no account":    {nil, signed(attr(1, testName), attr(79, "\x02\x01\x00\x05\x01")), refuse(core.ReasonUnknownAccount), "Access-Reject", "and the realm rule of the bridge; EAP is not taken yet"},
		"typed with hyphens": {func(c *Client) { c.Methods = proof.Methods() }, signed(attr(1, testName), attr(3, strings.Repeat("c", 17))), nil, "Access-Reject", "wrong: the password belongs to no app password of this account that has this method; type the lower-case letters alone, without hyphens"},
		"EAP":                {nil, signed(attr(1, testName), attr(79, "\x02\x01\x00\x05\x01")), refuse(core.ReasonMethodNotEnabled), "Access-Reject", "EAP is not taken yet"},
		"MS-CHAPv1":          {nil, signed(attr(1, testName), vsa(311, 1, strings.Repeat("x", 50)), vsa(311, 11, "12345678")), refuse(core.ReasonMethodNotEnabled), "Access-Reject", "MS-CHAPv1 is never taken"},
		"CHAP":               {nil, signed(attr(1, testName), attr(3, strings.Repeat("c", 17))), refuse(core.ReasonMethodNotEnabled), "Access-Reject", `add "chap" to methods`},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient()
			if tt.change != nil {
				tt.change(&c)
			}
			inBubble(t, testConfig(c), &fakeEngine{verify: tt.verify}, func(h *harness) {
				w := h.watch(Filter{})
				defer w.Close()
				h.ask(tt.raw)
				got := h.saw(w)
				if got.Result != tt.result || !strings.Contains(got.Why, tt.why) || got.Client != "vpn1" || got.Source != testSource || got.Missed != 0 {
					t.Errorf("%+v\nwant %s and %q", got, tt.result, tt.why)
				}
				if (got.Wait > 0) != (tt.result == "Access-Reject") {
					t.Errorf("%s after %v", got.Result, got.Wait)
				}
				if len(w.queue) != 0 {
					t.Errorf("seen twice: %+v", h.saw(w))
				}
				switch got.Result { // what is told is what goes out
				case "silence":
					h.silent(time.Minute, dropNone)
				default:
					h.later(2 * time.Second)
					if all := h.replies(); len(all) != 1 || codeText(all[0].reply[0]) != got.Result {
						t.Errorf("told %s, and sent %d replies", got.Result, len(all))
					}
				}
			})
		})
	}
}

// signed is a signed Access-Request of attributes.
func signed(attributes ...[]byte) []byte {
	return signRequest(rawPacket(1, 1, testAuthenticator(1), append(attributes, emptyMA)...), testSecret)
}

// Strangers are told from clients; repeats from what is new.
func TestWatchStrangersAndRepeats(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		w := h.watch(Filter{})
		defer w.Close()
		request := papRequest(1, testName, testPassword)
		h.ask(request)
		first := h.saw(w)
		h.ask(request)
		if again := h.saw(w); again.Result != first.Result || !strings.Contains(again.Why, "the same answer") {
			t.Errorf("a repeat: %+v", again)
		}
		h.path.from = testSourceOf("192.0.2.7")
		h.ask(request)
		if got := h.saw(w); got.Client != "" || got.Result != "silence" || !strings.HasPrefix(got.Why, "192.0.2.7 is not a client") {
			t.Errorf("a stranger: %+v", got)
		}
	})
}

// R27: no secret and nothing that helps to find one is shown.
func TestR27WatchShowsNoSecret(t *testing.T) {
	inBubble(t, Config{
		Listen: []string{"127.0.0.1:0"}, Clients: []Client{testClient()}, Redact: core.Shown,
	}, &fakeEngine{}, func(h *harness) {
		w := h.watch(Filter{})
		defer w.Close()
		const planted = "planted"
		request := papRequest(1, testPassword, testPassword, attr(3, planted), attr(60, planted), attr(24, planted), attr(33, planted), attr(25, "\x00"+planted), attr(79, planted),
			attr(69, "\x01\x80\x01"+planted), attr(250, planted), vsa(311, 1, planted), vsa(311, 11, planted), vsa(311, 25, planted), vsa(9, 1, "ipsec:ike-password="+planted),
			vsa(9, 1, "shell:roles=admin"), vsa(99999, 1, planted), vsaOf(9, []byte{1, 40, 'p'}), attr(31, testPassword), attr(11, "\x1b[31mred"), attr(25, "staff"))
		h.ask(request)
		got := h.saw(w)
		text := fmt.Sprintf("%+v", got)
		for _, secret := range []string{planted, fmt.Sprintf("%x", planted), testPassword, "\x1b"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is shown: %s", secret, text)
			}
		}
		for _, want := range []string{"[User-Password (32 octets)]", `[User-Name "[app password]"]`, `[Calling-Station-Id "[app password]"]`, "[CHAP-Password (7 octets)]", "[State (7 octets)]",
			"[Class (8 octets)]", `[Filter-Id "\x1b[31mred"]`, `[Cisco-AVPair "shell:roles=admin"]`, "[Cisco-AVPair (26 octets)]", "[Attribute 250 (7 octets)]", "[Attribute 1 of vendor 99999 (7 octets)]",
			"[MS-CHAP2-Response (7 octets)]", "[Message-Authenticator (16 octets)]", "[Tunnel-Password (10 octets)]", `[Class "staff"]`} {
			if !strings.Contains(text, want) {
				t.Errorf("want %s in %s", want, text)
			}
		}
	})
}

// Filters; who looks on is bounded; who is slow misses and is told how many.
func TestWatchBounds(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		all := []*Watch{h.watch(Filter{Client: "vpn2"}), h.watch(Filter{User: "BEATE@contoso.com"}), h.watch(Filter{Client: "vpn1", User: testName})}
		for len(all) < maxWatches {
			all = append(all, h.watch(Filter{}))
		}
		if _, err := h.s.Watch(Filter{}); err == nil {
			t.Error("any number can look on")
		}
		const more = 44
		for n := range watchQueue + more {
			h.ask(papRequest(n, testName, testPassword))
		}
		h.ask([]byte("no packet at all"))
		for i, want := range []int{0, 0, watchQueue} {
			if got := len(all[i].queue); got != want {
				t.Errorf("watch %d has seen %d, want %d", i, got, want)
			}
		}
		if got := h.saw(all[2]); got.Missed != more {
			t.Errorf("%d were missed, want %d", got.Missed, more)
		}
		if got := h.saw(all[3]); got.Missed != more+1 {
			t.Errorf("%d were missed, want %d", got.Missed, more+1)
		}
		if got := h.saw(all[2]); got.Missed != 0 {
			t.Errorf("%d were missed once more", got.Missed)
		}
		for _, w := range all {
			w.Close()
			w.Close()
		}
		if h.s.watched() {
			t.Error("somebody looks on after all have gone")
		}
		_ = h.s.Close()
		if _, err := h.watch(Filter{}).Next(context.Background()); err == nil {
			t.Error("a server that was closed is looked at")
		}
	})
}

// What nobody looks at costs no allocation; so that this holds beside the other
// tests of that, here the hooks alone.
func TestWatchCostsNothing(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		raw, c := papRequest(1, testName, testPassword), h.s.table.Load().names["vpn1"]
		r := &request{facts: facts{table: h.s.table.Load(), client: c}}
		if n := testing.AllocsPerRun(100, func() {
			h.s.see(r.table, c, &h.path, raw, outcome{drop: dropCode})
			h.s.seeRequest(r, outcome{drop: dropCode})
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
