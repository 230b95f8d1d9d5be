package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// TestKinds: every kind has a name of its own, the same for good.
func TestKinds(t *testing.T) {
	want := map[core.Kind]string{
		1: "internal", 2: "denied", 3: "invalid", 4: "not-found", 5: "conflict", 6: "limited", 7: "unavailable", 8: "damaged",
	}
	kinds := core.Kinds()
	if len(kinds) != len(want) {
		t.Errorf("%d kinds, want %d: write the new one's number down here", len(kinds), len(want))
	}
	for _, k := range kinds {
		if k.String() != want[k] {
			t.Errorf("kind %d is called %q, want %q", uint8(k), k, want[k])
		}
	}
	for _, k := range []core.Kind{core.Kind(len(want) + 1), 255} {
		if got := k.String(); got != fmt.Sprintf("kind(%d)", uint8(k)) {
			t.Errorf("the unknown kind %d is called %q", uint8(k), got)
		}
	}
}

// TestKindOf: the outermost Error decides, and the foreign is our fault.
func TestKindOf(t *testing.T) {
	for _, k := range core.Kinds() {
		err := fmt.Errorf("while testing: %w", &core.Error{Op: "test", Kind: k, Err: &core.Error{Kind: core.KindDenied}})
		if got := core.KindOf(err); got != k {
			t.Errorf("KindOf(%v) = %v, want %v", err, got, k)
		}
	}
	for name, tt := range map[string]struct {
		err  error
		want core.Kind
	}{
		"no error":            {nil, 0},
		"foreign":             {errors.New("disk on fire"), core.KindInternal},
		"of the store":        {store.ErrNotFound, core.KindInternal},
		"kind never set":      {&core.Error{Op: "test"}, core.KindInternal},
		"kind from elsewhere": {&core.Error{Op: "test", Kind: 200}, core.KindInternal},
		"caller left":         {fmt.Errorf("x: %w", context.Canceled), core.KindUnavailable},
		"too late":            {fmt.Errorf("x: %w", context.DeadlineExceeded), core.KindUnavailable},
	} {
		if got := core.KindOf(tt.err); got != tt.want {
			t.Errorf("%s: KindOf(%v) = %v, want %v", name, tt.err, got, tt.want)
		}
	}
}

// TestReasonTable: every reason has a kind and a sentence; one that nobody
// knows is our fault.
func TestReasonTable(t *testing.T) {
	want := map[core.Reason]core.Kind{
		"unknown-account": core.KindDenied, "account-disabled": core.KindDenied, "app-passwords-denied": core.KindDenied,
		"two-step-off": core.KindDenied, "mistyped": core.KindDenied, "wrong": core.KindDenied, "deleted": core.KindDenied,
		"expired": core.KindDenied, "unused-expired": core.KindDenied, "suspended": core.KindDenied, "out-of-scope": core.KindDenied,
		"method-not-enabled": core.KindDenied, "pin-mismatch": core.KindDenied, "main-password-refused": core.KindDenied,
		"malformed": core.KindInvalid, "throttled": core.KindLimited, "unavailable": core.KindUnavailable, "tamper": core.KindDamaged,
		"too-many-sessions": core.KindDenied, "refused-by-hook": core.KindDenied,
	}
	sentences := map[string]bool{}
	for _, r := range core.Reasons() {
		kind, ok := want[r]
		if !ok || r.Kind() != kind {
			t.Errorf("%q has kind %v, want %v (a row: %v)", r, r.Kind(), kind, ok)
		}
		s := r.Sentence()
		if len(s) < 20 || sentences[s] || strings.HasSuffix(s, ".") {
			t.Errorf("%q has the sentence %q", r, s)
		}
		sentences[s] = true
		delete(want, r)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	for m, want := range map[proof.Method]bool{proof.MethodCHAP: true, proof.MethodMSCHAPv2: true, proof.MethodCleartext: false} { // there hyphens count
		if s := (core.AttemptEntry{Reason: core.ReasonWrong, Method: m}).Sentence(); strings.Contains(s, "without hyphens") != want {
			t.Errorf("wrong by %s: %s", m, s)
		}
	}
	for _, r := range []core.Reason{"", "granted", "Wrong"} {
		if r.Kind() != core.KindInternal || r.Sentence() == "" {
			t.Errorf("the unknown reason %q has kind %v and sentence %q", r, r.Kind(), r.Sentence())
		}
	}
}

// TestReasonOf: an error without a reason says that there was no verdict.
func TestReasonOf(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want core.Reason
	}{
		"no error":       {nil, ""},
		"foreign":        {errors.New("disk on fire"), core.ReasonUnavailable},
		"without reason": {&core.Error{Op: "x", Kind: core.KindDenied}, core.ReasonUnavailable},
		"wrapped":        {fmt.Errorf("x: %w", &core.Error{Reason: core.ReasonDeleted}), core.ReasonDeleted},
	} {
		if got := core.ReasonOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestErrorText: an Error always says something.
func TestErrorText(t *testing.T) {
	cause := errors.New("cause")
	for want, e := range map[string]*core.Error{
		"op: cause":  {Op: "op", Kind: core.KindDenied, Reason: core.ReasonWrong, Err: cause},
		"cause":      {Kind: core.KindDenied, Err: cause},
		"op: wrong":  {Op: "op", Kind: core.KindDenied, Reason: core.ReasonWrong},
		"op: denied": {Op: "op", Kind: core.KindDenied},
	} {
		if e.Error() != want || e.Unwrap() != e.Err {
			t.Errorf("%#v says %q, want %q", e, e, want)
		}
	}
}

// TestEvents: every kind of event is listed once, and only attempts have results.
func TestEvents(t *testing.T) {
	kinds := core.EventKinds()
	if n := len(slices.Compact(slices.Sorted(slices.Values(kinds)))); n != len(kinds) {
		t.Errorf("%d kinds of which %d differ", len(kinds), n)
	}
	for _, k := range kinds {
		granted, refused := (&core.Event{Kind: k}).Result(), (&core.Event{Kind: k, Reason: core.ReasonWrong}).Result()
		if k == core.EventAttempt && (granted != "granted" || refused != "refused") || k != core.EventAttempt && granted+refused != "" {
			t.Errorf("%s: %q and %q", k, granted, refused)
		}
	}
}

// TestR24OneAnswer: what a device must not be able to tell apart has one kind,
// holds no session, and names no account.
func TestR24OneAnswer(t *testing.T) {
	w := newWorld(t)
	_, err := w.AddAccount(w.ctx, "without", nil, nil)
	must(t, err)
	_, err = w.AddAccount(w.ctx, "disabled", nil, nil)
	must(t, err)
	must(t, w.SetEnabled(w.ctx, "disabled", false))
	deleted, gone := w.create("gone", "")
	_, err = w.Delete(w.ctx, alain, deleted.ID)
	must(t, err)
	_, short, err := w.Create(w.ctx, alain, core.NewAppPassword{Name: "short", Expires: w.clock().Add(1e9)})
	must(t, err)
	w.pass(1e9)
	wrong := otherText(t)
	for name, a := range map[string]core.Attempt{
		"unknown":          {Account: "nobody", Proof: proof.Cleartext(wrong)},
		"no app passwords": {Account: "without", Proof: proof.Cleartext(wrong)},
		"disabled":         {Account: "disabled", Proof: proof.Cleartext(wrong)},
		"wrong":            {Account: alain, Proof: proof.Cleartext(wrong)},
		"mistyped":         {Account: alain, Proof: proof.Cleartext(wrong[:19] + "b")},
		"no app password":  {Account: alain, Proof: proof.Cleartext("hunter2")},
		"deleted":          {Account: alain, Proof: proof.Cleartext(gone)},
		"suspended":        {Account: alain, Proof: proof.Cleartext(w.texts["paused"])},
		"expired":          {Account: alain, Proof: proof.Cleartext(short.Canonical())},
		"pinned":           {Account: alain, Proof: proof.Cleartext(w.texts["pinned"]), Device: "another"},
		"CHAP":             {Account: alain, Proof: trial{text: "x"}},
		"CHAP, unknown":    {Account: "nobody", Proof: trial{text: "x"}},
		"MS-CHAP":          {Account: alain, Proof: proof.Unsupported("mschap")},
	} {
		a.Service = "radius/vpn1"
		g, err := w.Verify(w.ctx, a)
		wantKind(t, name, err, core.KindDenied)
		if g.Account != "" || g.Session != nil || g.Groups != nil || g.Profile != "" || g.AppPassword != (core.Ref{}) {
			t.Errorf("%s: a grant came with the error: %+v", name, g)
		}
		if strings.Contains(err.Error(), alain) || strings.Contains(err.Error(), "nobody") {
			t.Errorf("%s: the error names the account: %v", name, err)
		}
	}
}

// TestR24SilenceTellsNothing: who is silenced meets the same silence, or the
// same answer, whether an account exists or not.
func TestR24SilenceTellsNothing(t *testing.T) {
	for _, rule := range []core.MainPasswordRule{core.MainNever, core.MainWithoutTwoStep} {
		w := newWorld(t)
		policy := core.DefaultPolicy()
		policy.MainPassword = rule
		must(t, w.SetPolicy(policy))
		wrong := otherText(t)
		mistyped := wrong[:19] + "b"
		kinds := map[string]map[core.Kind][]string{}
		for range 100 {
			w.Verify(w.ctx, core.Attempt{Account: "x", Proof: proof.Cleartext(wrong), Service: "radius/vpn1", Device: "probe"})
		}
		for _, account := range []string{alain, "nobody"} {
			for name, typed := range map[string]string{"wrong": wrong, "mistyped": mistyped, "no app password": "hunter2"} {
				_, err := w.Verify(w.ctx, core.Attempt{Account: account, Proof: proof.Cleartext(typed), Service: "radius/vpn1", Device: "probe"})
				if kinds[name] == nil {
					kinds[name] = map[core.Kind][]string{}
				}
				kinds[name][core.KindOf(err)] = append(kinds[name][core.KindOf(err)], account)
			}
		}
		for name, by := range kinds {
			if len(by) != 1 {
				t.Errorf("%s: a %s text tells accounts apart: %v", rule, name, by)
			}
		}
	}
}

// TestR25ThrottleIsOfOneDevice: silence for one device is none for another, a
// right text is always answered, and the throttle ends.
func TestR25ThrottleIsOfOneDevice(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	try := func(device, text string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: device})
		return err
	}
	for range 30 {
		wantReason(t, "within the burst", try("a", otherText(t)), core.ReasonWrong)
	}
	wantReason(t, "beyond it", try("a", otherText(t)), core.ReasonThrottled)
	wantReason(t, "another device", try("b", otherText(t)), core.ReasonWrong)
	must(t, try("a", text))
	wantReason(t, "still", try("a", otherText(t)), core.ReasonThrottled)
	f.pass(1e9)
	wantReason(t, "a second later", try("a", otherText(t)), core.ReasonWrong)
}

// TestW12Scope: an app password opens what its profile says and nothing else,
// and a profile that was narrowed narrows what exists.
func TestW12Scope(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["vpn"] = core.Profile{Letters: 28, Services: []string{"radius/vpn*", "pam/ssh"}, Methods: []proof.Method{proof.MethodCleartext}}
	})
	f.addAlain()
	_, text := f.create("laptop", "vpn")
	try := func(service string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: service})
		return err
	}
	for service, want := range map[string]core.Reason{
		"radius/vpn": "", "radius/vpn1": "", "pam/ssh": "", "pam/sshd": core.ReasonOutOfScope, "pam/sudo": core.ReasonOutOfScope,
		"radius/lounge": core.ReasonOutOfScope, "web": core.ReasonOutOfScope, "control": core.ReasonOutOfScope, "": core.ReasonMalformed,
		"RADIUS/VPN1": core.ReasonOutOfScope, "radius/xvpn1": core.ReasonOutOfScope, "xradius/vpn1": core.ReasonOutOfScope,
	} {
		wantReason(t, "at "+service, try(service), want)
	}
	narrow := f.policy
	narrow.Profiles = map[string]core.Profile{core.DefaultProfile: core.DefaultPolicy().Profiles[core.DefaultProfile]}
	narrow.Profiles["vpn"] = core.Profile{Letters: 28, Services: []string{"*/vpn2", "web"}, Methods: []proof.Method{proof.MethodCleartext}}
	must(t, f.SetPolicy(narrow))
	wantReason(t, "narrowed", try("radius/vpn1"), core.ReasonOutOfScope)
	must(t, try("radius/vpn2"))
	wantReason(t, "widened", try("web"), core.ReasonOutOfScope)
	delete(narrow.Profiles, "vpn")
	must(t, f.SetPolicy(narrow))
	must(t, try("radius/vpn1")) // a profile that is gone leaves what it gave
	wantReason(t, "a profile that is gone", try("web"), core.ReasonOutOfScope)
}
