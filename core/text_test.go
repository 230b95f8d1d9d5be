package core_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// VerifyText says what Verify says wherever it says anything, and else leaves
// no trace.
func TestVerifyText(t *testing.T) {
	const day = 24 * time.Hour
	type scene struct {
		f          *fixture
		id, text   string // of an app password that is right
		service    string
		device     string
		typed, who string // what is presented instead
	}
	for name, tt := range map[string]struct {
		change func(s *scene)
		putOff bool
	}{
		"right":     {change: func(*scene) {}},
		"a device":  {change: func(s *scene) { s.device = "02:00:5e:10:00:01" }},
		"shouted":   {change: func(s *scene) { s.typed = strings.ToUpper(s.text); s.who = strings.ToUpper(alain) }},
		"grouped":   {change: func(s *scene) { s.typed = s.text[:4] + "-" + s.text[4:] }},
		"wrong":     {change: func(s *scene) { s.typed = otherText(s.f.t) }},
		"mistyped":  {change: func(s *scene) { s.typed = s.text[1:] + "b" }},
		"scope":     {change: func(s *scene) { _, s.typed = s.f.create("console", "lounge") }},
		"method":    {change: func(s *scene) { _, s.typed = s.f.create("chap", "chap") }},
		"suspended": {change: func(s *scene) { _, err := s.f.Suspend(s.f.ctx, alain, s.id); must(s.f.t, err) }},
		"deleted":   {change: func(s *scene) { _, err := s.f.Delete(s.f.ctx, alain, s.id); must(s.f.t, err) }},
		"disabled":  {change: func(s *scene) { must(s.f.t, s.f.SetEnabled(s.f.ctx, alain, false)) }},
		"two-step":  {change: func(s *scene) { must(s.f.t, s.f.TurnOffTwoStep(s.f.ctx, alain)) }},

		"unknown":          {func(s *scene) { s.who = "nobody@contoso.com" }, true},
		"no ASCII":         {func(s *scene) { s.who = "älain@contoso.com" }, true},
		"empty name":       {func(s *scene) { s.who = " " }, true},
		"no app password":  {func(s *scene) { s.typed = "something else" }, true},
		"first use, a pin": {func(s *scene) { _, s.typed = s.f.create("tv", "pinned"); s.device = "tv" }, true},
		"pinned to none":   {func(s *scene) { _, s.typed = s.f.create("tv", "pinned") }, false},
		"long unused":      {func(s *scene) { s.f.pass(31 * day) }, true},
		"main password": {func(s *scene) {
			s.f.policy.MainPassword = core.MainWithoutTwoStep
			must(s.f.t, s.f.SetPolicy(s.f.policy))
			must(s.f.t, s.f.TurnOffTwoStep(s.f.ctx, alain))
			s.typed = "clever main password"
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) {
				f.policy.Profiles["lounge"] = core.Profile{Letters: 20, Services: []string{"radius/lounge"}, Methods: []proof.Method{proof.MethodCleartext}}
				f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCHAP}}
				f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
				f.policy.UnusedAfter = 30 * day
			})
			made, text := f.addAlain()
			s := &scene{f: f, id: made.ID, text: text, service: "radius/vpn1", who: alain}
			tt.change(s)
			if s.typed == "" {
				s.typed = s.text
			}
			a := core.Attempt{Service: s.service, Device: s.device}
			try := func() (core.Grant, bool, error) {
				g := core.Grant{Session: make([]byte, 5, 200), Profile: "left over"}
				decided, err := f.VerifyText(&a, []byte(s.who), []byte(s.typed), &g)
				return g, decided, err
			}
			before := len(f.recorded(core.EventAttempt))
			if _, decided, _ := try(); decided {
				t.Error("decided without the account at hand")
			}
			if n := len(f.recorded(core.EventAttempt)); n != before {
				t.Errorf("%d attempts recorded of none", n-before)
			}
			var got core.Grant
			var decided bool
			var gotErr error
			for range 100 {
				_ = f.try(otherText(t)) // now it is at hand, unless news of it are still on their way
				before = len(f.recorded(core.EventAttempt))
				if got, decided, gotErr = try(); decided != tt.putOff {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if decided == tt.putOff {
				t.Fatalf("decided: %v", decided)
			}
			if n := len(f.recorded(core.EventAttempt)) - before; (n == 1) != decided {
				t.Errorf("%d attempts recorded", n)
			}
			if !decided {
				return
			}
			if a.Account != alain {
				t.Errorf("the account is called %q", a.Account)
			}
			a.Account, a.Proof = s.who, proof.Cleartext(s.typed)
			want, wantErr := f.Verify(f.ctx, a)
			if core.ReasonOf(gotErr) != core.ReasonOf(wantErr) || core.KindOf(gotErr) != core.KindOf(wantErr) {
				t.Errorf("%v, want %v", gotErr, wantErr)
			}
			if gotErr == nil && len(got.Session) != len(want.Session) {
				t.Errorf("a session of %d octets, want %d", len(got.Session), len(want.Session))
			}
			if gotErr == nil {
				got.Session, want.Session = nil, nil
				if !reflect.DeepEqual(got, want) {
					t.Errorf("granted %+v, want %+v", got, want)
				}
			}
			events := f.recorded(core.EventAttempt)
			one, other := events[len(events)-2], events[len(events)-1]
			one.Time, other.Time = time.Time{}, time.Time{}
			if !reflect.DeepEqual(one, other) {
				t.Errorf("recorded %+v, want %+v", one, other)
			}
		})
	}
}

// So many failures of a service are answered as the policy says, and a right app
// password always works.
func TestFailuresPerSecond(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.FailuresPerSecond = map[string]int{"radius/vpn1": 3} })
	_, text := f.addAlain()
	wrong := otherText(t)
	for i := range 5 {
		want := core.ReasonWrong
		if i >= 3 {
			want = core.ReasonThrottled
		}
		wantReason(t, fmt.Sprint("failure ", i), f.try(wrong), want)
	}
	must(t, f.try(text))
	f.policy.FailuresPerSecond = map[string]int{"radius/vpn1": 0}
	wantKind(t, "no failures at all", f.SetPolicy(f.policy), core.KindInvalid)
}
