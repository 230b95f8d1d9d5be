package radius

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	oldSecret = "the secret of before, long enough"
	overlap   = time.Hour
)

// changingClient has a new secret, and the old one for an hour.
func changingClient() Client {
	c := testClient()
	c.Secrets, c.OldUntil = append(c.Secrets, []byte(oldSecret)), time.Now().Add(overlap)
	return c
}

// request makes a PAP request number n with secret, signed or not.
func requestWith(secret string, signed bool, n int, password string, more ...[]byte) []byte {
	a := testAuthenticator(n)
	attributes := append([][]byte{attr(1, testName), hidePassword(password, secret, a)}, more...)
	if !signed {
		return rawPacket(1, byte(n), a, attributes...)
	}
	return signRequest(rawPacket(1, byte(n), a, append(attributes, emptyMA)...), secret)
}

// answered wants one reply to request, signed with secret.
func (h *harness) answered(request []byte, secret string, code byte) {
	h.t.Helper()
	h.later(2 * time.Second) // a Reject is delayed
	all := h.replies()
	if len(all) != 1 {
		h.t.Fatalf("%d replies", len(all))
	}
	checkReply(h.t, all[0].reply, request, secret)
	if all[0].reply[0] != code {
		h.t.Errorf("code %d, want %d", all[0].reply[0], code)
	}
}

// R6: while a secret changes, each side of the change is answered in its own;
// afterwards the old one is a wrong one.
func TestR6SecretChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, testConfig(changingClient()), &fakeEngine{}, nil)
		defer func() { _ = h.s.Close() }()
		for n, secret := range []string{oldSecret, testSecret, oldSecret} {
			request := requestWith(secret, true, n, testPassword)
			h.ask(request)
			h.answered(request, secret, codeAccessAccept)
			request = requestWith(secret, true, 10+n, "wrong")
			h.ask(request)
			h.answered(request, secret, codeAccessReject)
		}
		got := h.s.OldSecrets()
		if len(got) != 1 || got[0].Client != "vpn1" || got[0].Packets != 4 || got[0].Source != testSource.Addr() || time.Since(got[0].Used) != 2*time.Second {
			t.Errorf("old secrets: %+v", got)
		}
		if n := strings.Count(h.log.String(), "request with the old shared secret"); n != 1 {
			t.Errorf("%d lines about the old secret in some seconds:\n%s", n, h.log.String())
		}
		h.later(overlap)
		h.ask(requestWith(oldSecret, true, 20, testPassword))
		h.silent(time.Minute, dropMessageAuthenticator)
		if got := h.s.OldSecrets(); len(got) != 0 {
			t.Errorf("after its end: %+v", got)
		}
		request := requestWith(testSecret, true, 21, testPassword)
		h.ask(request)
		h.answered(request, testSecret, codeAccessAccept)
	})
}

// R6 and RFC 2866: the same of accounting.
func TestR6SecretChangeInAccounting(t *testing.T) {
	inAccounting(t, func(h *harness, all *fakeSessions) {
		if err := h.s.Reload(testConfig(changingClient())); err != nil {
			t.Fatal(err)
		}
		for n, signed := range []bool{false, true} {
			request := accountingRequest(n, oldSecret, signed, start("1")...)
			h.ask(request)
			if sent := h.replies(); len(sent) != 1 || !responseRight(sent[0].reply, request, oldSecret) {
				t.Fatalf("signed %v: %d replies, or not in the secret of the request", signed, len(sent))
			}
		}
		mixed := stamp(accountingRequest(2, testSecret, true, start("1")...), oldSecret)
		h.ask(mixed)
		h.silent(time.Second, dropMessageAuthenticator)
		if got := h.s.OldSecrets(); len(got) != 1 || got[0].Packets != 2 {
			t.Errorf("old secrets: %+v", got)
		}
		request := accountingRequest(3, testSecret, true, start("1")...)
		h.ask(request)
		h.recorded(request)
		h.later(overlap)
		h.ask(accountingRequest(4, oldSecret, false, start("1")...))
		h.silent(time.Second, dropRequestAuthenticator)
		if n := len(all.told()); n != 3 {
			t.Errorf("told of %d reports, want 3", n)
		}
	})
}

// C2: an old secret that has ended does not come back with a clock that is set
// back, by a reload neither, unless it is given more time.
func TestC2OldSecretStaysOver(t *testing.T) {
	c := changingClient()
	before := newTable(testConfig(c), nil)
	live := func(table *table, now time.Time) int { return len(table.names["vpn1"].live(now)) }
	for _, step := range []struct {
		now  time.Time
		want int
	}{
		{c.OldUntil.Add(-time.Minute), 2}, {c.OldUntil.Add(-2 * time.Minute), 2}, {c.OldUntil, 1}, {c.OldUntil.Add(-time.Minute), 1},
	} {
		if got := live(before, step.now); got != step.want {
			t.Errorf("%v before its end: %d secrets, want %d", c.OldUntil.Sub(step.now), got, step.want)
		}
	}
	if got := live(newTable(testConfig(c), before), c.OldUntil.Add(-time.Minute)); got != 1 {
		t.Error("it came back with a reload")
	}
	c.OldUntil = c.OldUntil.Add(overlap)
	if got := live(newTable(testConfig(c), before), c.OldUntil.Add(-time.Minute)); got != 2 {
		t.Error("it cannot be given more time")
	}
	c.OldUntil = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := live(newTable(testConfig(c), before), time.Now()); got != 2 {
		t.Error("it cannot be given very much time")
	}
}

// A request without Message-Authenticator does not say its secret. Its password
// does, where only one of the two makes text of it; anything else is the new one's.
func TestR6SecretChangeUnsigned(t *testing.T) {
	for name, tt := range map[string]struct {
		request []byte
		secret  string // that signs the reply
		code    byte
		text    string // that the engine is asked about
	}{
		"old":              {requestWith(oldSecret, false, 1, testPassword), oldSecret, codeAccessAccept, testPassword},
		"new":              {requestWith(testSecret, false, 1, testPassword), testSecret, codeAccessAccept, testPassword},
		"old, wrong":       {requestWith(oldSecret, false, 1, "something else"), oldSecret, codeAccessReject, "something else"},
		"old, not ASCII":   {requestWith(oldSecret, false, 1, "Grüße aus der Küche"), oldSecret, codeAccessReject, "Grüße aus der Küche"},
		"new, not text":    {requestWith(testSecret, false, 1, "\xff\xfe\x01"), testSecret, codeAccessReject, "\xff\xfe\x01"},
		"new, NUL inside":  {requestWith(testSecret, false, 1, "a\x00b"), testSecret, codeAccessReject, ""},
		"a third":          {requestWith("nobody has this secret, not at all", false, 1, testPassword), testSecret, codeAccessReject, "?"},
		"CHAP: the new":    {rawPacket(1, 1, testAuthenticator(1), attr(1, testName), attr(3, strings.Repeat("x", 17))), testSecret, codeAccessReject, ""},
		"nothing: the new": {rawPacket(1, 1, testAuthenticator(1), attr(1, testName)), testSecret, codeAccessReject, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := changingClient()
				c.RequireMessageAuthenticator = RequireNever
				h := newHarness(t, testConfig(c), &fakeEngine{}, nil)
				defer func() { _ = h.s.Close() }()
				h.ask(tt.request)
				h.answered(tt.request, tt.secret, tt.code)
				if got := h.engine.attempts(); len(got) != 1 || tt.text != "?" && got[0].text != tt.text {
					t.Errorf("asked %+v, want one about %q", got, tt.text)
				}
				third := name == "a third" || name == "new, not text" || name == "new, NUL inside"
				if told := strings.Contains(h.log.String(), "is no text"); told != third {
					t.Errorf("the log says that the secret differs: %v\n%s", told, h.log.String())
				}
				used := uint64(0)
				if tt.secret == oldSecret {
					used = 1
				}
				if got := h.s.OldSecrets(); len(got) != 1 || got[0].Packets != used {
					t.Errorf("old secrets: %+v, want %d packets", got, used)
				}
				h.later(overlap)
				request := requestWith(oldSecret, false, 2, testPassword)
				h.ask(request)
				h.answered(request, testSecret, codeAccessReject) // read with the new one
			})
		})
	}
}

// What is known of an old secret outlives a reload, and ends with the change.
func TestR6SecretChangeAndReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testClient()
		c.Secrets = [][]byte{[]byte(oldSecret)}
		h := newHarness(t, testConfig(c), &fakeEngine{}, nil)
		defer func() { _ = h.s.Close() }()
		reload := func(c Client) {
			t.Helper()
			if err := h.s.Reload(testConfig(c)); err != nil {
				t.Fatal(err)
			}
		}
		ask := func(n int) {
			t.Helper()
			request := requestWith(oldSecret, true, n, testPassword)
			h.ask(request)
			h.answered(request, oldSecret, codeAccessAccept)
		}
		packets := func(want uint64) {
			t.Helper()
			if got := h.s.OldSecrets(); len(got) != 1 || got[0].Packets != want {
				t.Errorf("%+v, want %d packets", got, want)
			}
		}
		ask(1)
		reload(changingClient())
		packets(0) // the one before was no old secret then
		ask(2)
		packets(1)
		c = changingClient()
		c.Prefixes = append(c.Prefixes, netip.MustParsePrefix("2001:db8::/64"))
		reload(c)
		packets(1)
		reload(testClient())
		if got := h.s.OldSecrets(); len(got) != 0 {
			t.Errorf("after the change: %+v", got)
		}
		h.ask(requestWith(oldSecret, true, 3, testPassword))
		h.silent(time.Minute, dropMessageAuthenticator)
	})
}
