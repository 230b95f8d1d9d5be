package core_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// TestReasons produces every reason from outside, and fails for one that is
// not produced.
func TestReasons(t *testing.T) {
	profiles := func(f *fixture) {
		f.policy.Profiles["lounge"] = core.Profile{Letters: 20, Services: []string{"radius/lounge"}, Methods: []proof.Method{proof.MethodCleartext}}
		f.policy.Profiles["pinned"] = core.Profile{Letters: 28, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
		f.policy.Profiles["chap"] = core.Profile{Letters: 16, Services: []string{"radius/*"}, Methods: []proof.Method{proof.MethodCHAP}}
		f.policy.Profiles["once"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, Sessions: 1}
		f.policy.UnusedAfter = 30 * 24 * time.Hour
	}
	from := func(device, text string) core.Attempt {
		return core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: device}
	}
	cases := map[core.Reason]func(f *fixture, id, text string) error{
		"": func(f *fixture, _, text string) error { return f.try(text) },
		core.ReasonUnknownAccount: func(f *fixture, _, text string) error {
			a := from("", text)
			a.Account = "nobody@contoso.com"
			_, err := f.Verify(f.ctx, a)
			return err
		},
		core.ReasonAccountDisabled: func(f *fixture, _, text string) error {
			must(f.t, f.SetEnabled(f.ctx, alain, false))
			return f.try(text)
		},
		core.ReasonAppPasswordsDenied: func(f *fixture, _, text string) error {
			f.policy.DenyGroups = []string{"staff"}
			must(f.t, f.SetPolicy(f.policy))
			return f.try(text)
		},
		core.ReasonTwoStepOff: func(f *fixture, _, text string) error {
			must(f.t, f.TurnOffTwoStep(f.ctx, alain))
			return f.try(text)
		},
		core.ReasonMistyped: func(f *fixture, _, text string) error {
			return f.try(strings.Map(func(r rune) rune {
				if r == rune(text[0]) {
					return rune("ab"[b2i(text[0] == 'a')])
				}
				return r
			}, text[:1]) + text[1:])
		},
		core.ReasonWrong: func(f *fixture, _, _ string) error { return f.try(otherText(f.t)) },
		core.ReasonDeleted: func(f *fixture, id, text string) error {
			_, err := f.Delete(f.ctx, alain, id)
			must(f.t, err)
			return f.try(text)
		},
		core.ReasonExpired: func(f *fixture, _, _ string) error {
			_, text, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "guest", Expires: f.clock().Add(time.Hour)})
			must(f.t, err)
			f.pass(time.Hour)
			return f.try(text.Canonical())
		},
		core.ReasonUnusedExpired: func(f *fixture, _, text string) error {
			f.pass(30 * 24 * time.Hour)
			return f.try(text)
		},
		core.ReasonSuspended: func(f *fixture, id, text string) error {
			_, err := f.Suspend(f.ctx, alain, id)
			must(f.t, err)
			return f.try(text)
		},
		core.ReasonOutOfScope: func(f *fixture, _, _ string) error {
			_, text := f.create("console", "lounge")
			return f.try(text)
		},
		core.ReasonMethodNotEnabled: func(f *fixture, _, _ string) error {
			_, text := f.create("old switch", "chap")
			return f.try(text)
		},
		core.ReasonPinMismatch: func(f *fixture, _, _ string) error {
			_, text := f.create("pinned", "pinned")
			_, err := f.Verify(f.ctx, from("00:11:22:33:44:55", text))
			must(f.t, err)
			_, err = f.Verify(f.ctx, from("66:77:88:99:aa:bb", text))
			return err
		},
		core.ReasonMainPasswordRefused: func(f *fixture, _, _ string) error { return f.try(mainPassword) },
		core.ReasonMalformed:           func(f *fixture, _, _ string) error { return f.try("") },
		core.ReasonThrottled: func(f *fixture, _, _ string) (err error) {
			for range 40 {
				_, err = f.Verify(f.ctx, from("66:77:88:99:aa:bb", otherText(f.t)))
			}
			return err
		},
		core.ReasonUnavailable: func(f *fixture, _, text string) error {
			f.store.fail(store.ErrUnavailable)
			defer f.store.fail(nil)
			return f.try(text)
		},
		core.ReasonTooManySessions: func(f *fixture, _, _ string) error {
			_, text := f.create("once", "once")
			must(f.t, f.report(session.Starts, "1", f.signIn("vpn1", text), session.Report{}))
			return f.try(text)
		},
		core.ReasonTamper: func(f *fixture, _, text string) error {
			f.damage("account/" + alain)
			return f.try(text)
		},
		core.ReasonRefusedByHook: func(f *fixture, _, text string) error {
			must(f.t, f.Close())
			f.opt.Guard = guardFunc(func() (core.Admission, error) { return core.Admission{Text: "not now"}, nil })
			f.open()
			return f.try(text)
		},
	}
	for _, reason := range append(core.Reasons(), "") {
		t.Run(string(reason), func(t *testing.T) {
			produce, ok := cases[reason]
			if !ok {
				t.Fatalf("no way to produce the reason %q is known here", reason)
			}
			f := newFixture(t, profiles)
			first, text := f.addAlain("staff")
			wantReason(t, "the attempt", produce(f, first.ID, text), reason)
			if reason != "" && reason.Sentence() == "" {
				t.Error("the reason has no sentence")
			}
			attempts := f.recorded(core.EventAttempt)
			last := attempts[len(attempts)-1]
			if last.Reason != reason {
				t.Errorf("recorded with reason %q, want %q", last.Reason, reason)
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// damage flips one bit of the record at key.
func (f *fixture) damage(key string) {
	f.t.Helper()
	entry, err := f.store.Store.Get(f.ctx, key)
	must(f.t, err)
	entry.Value[len(entry.Value)/2] ^= 1
	_, err = f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: key, Value: entry.Value}})
	must(f.t, err)
	f.settle()
}

// settle lets changes that were made behind the engine's back arrive in it.
func (f *fixture) settle() {
	f.t.Helper()
	f.reopen()
}

func TestTamperIsRecorded(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	f.damage("account/" + alain)
	wantReason(t, "a damaged record", f.try(text), core.ReasonTamper)
	if len(f.recorded(core.EventTamper)) == 0 {
		t.Error("no tamper event was recorded")
	}
	_, err := f.List(f.ctx, alain)
	wantKind(t, "list", err, core.KindDamaged)
}

// TestS3RecordsOfOthers puts records where they do not belong.
func TestS3RecordsOfOthers(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	_, err := f.AddAccount(f.ctx, "mallory", nil, nil)
	must(t, err)
	entry, err := f.store.Get(f.ctx, "account/"+alain)
	must(t, err)
	_, err = f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "account/mallory", Value: entry.Value}})
	must(t, err)
	f.settle()
	_, err = f.Verify(f.ctx, core.Attempt{Account: "mallory", Proof: proof.Cleartext(text), Service: "radius/vpn1"})
	wantReason(t, "another's record", err, core.ReasonTamper)
	must(t, f.try(text))
}

func TestVerifyTakesWhatPeopleType(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for _, typed := range []string{text, strings.ToUpper(text), text[:4] + " " + text[4:], text[:4] + "\u2013" + text[4:10] + "-" + text[10:]} {
		must(t, f.try(typed))
	}
	for _, name := range []string{"Alain@Contoso.com", "ALAIN@CONTOSO.COM", "ａlain@contoso.com"} {
		g, err := f.Verify(f.ctx, core.Attempt{Account: name, Proof: proof.Cleartext(text), Service: "pam/sshd"})
		must(t, err)
		if g.Account != alain {
			t.Errorf("%q was granted as %q, want %q", name, g.Account, alain)
		}
	}
}

// TestNoWriteAndOneRead holds the engine to what a sign-in costs.
func TestNoWriteAndOneRead(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	f.reopen()
	must(t, f.try(text))
	f.store.count()
	for range 10 {
		must(t, f.try(text))
		wantReason(t, "a wrong text", f.try(otherText(t)), core.ReasonWrong)
	}
	if gets, applied := f.store.count(); len(gets) != 0 || applied != 0 {
		t.Errorf("cached: read %q and wrote %d times, want neither", gets, applied)
	}
	for i := range 39 {
		f.create(fmt.Sprintf("device %d", i), "")
	}
	f.reopen()
	f.store.count()
	must(t, f.try(text))
	gets, applied := f.store.count()
	accounts := slices.DeleteFunc(gets, func(k string) bool { return !strings.HasPrefix(k, "account/") })
	if len(accounts) != 1 || applied != 0 {
		t.Errorf("cold with 40: read %q and wrote %d times, want one account record and no write", gets, applied)
	}
}

// TestA10MainPassword walks the rule of the main password.
func TestA10MainPassword(t *testing.T) {
	for _, tt := range []struct {
		rule    core.MainPasswordRule
		twoStep bool
		want    core.Reason
	}{
		{core.MainNever, true, core.ReasonMainPasswordRefused},
		{core.MainNever, false, core.ReasonMainPasswordRefused},
		{core.MainWithoutTwoStep, true, core.ReasonMainPasswordRefused},
		{core.MainWithoutTwoStep, false, ""},
	} {
		f := newFixture(t, func(f *fixture) { f.policy.MainPassword = tt.rule })
		f.addAlain()
		if !tt.twoStep {
			must(t, f.TurnOffTwoStep(f.ctx, alain))
		}
		wantReason(t, string(tt.rule), f.try(mainPassword), tt.want)
		wantReason(t, string(tt.rule)+", another", f.try(mainPassword+"!"), core.ReasonWrong)
		must(t, f.SetEnabled(f.ctx, alain, false))
		wantReason(t, string(tt.rule)+", disabled", f.try(mainPassword), core.ReasonAccountDisabled)
	}
}

// TestMainPasswordIsThrottled: guesses at a main password end, an app password
// of the same account goes on.
func TestMainPasswordIsThrottled(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.MainPassword = core.MainWithoutTwoStep; f.policy.RequireTwoStep = false })
	_, text := f.addAlain()
	must(t, f.TurnOffTwoStep(f.ctx, alain))
	var err error
	for range 20 {
		err = f.try("a wrong guess")
	}
	wantReason(t, "the last guess", err, core.ReasonThrottled)
	wantReason(t, "the right main password, while throttled", f.try(mainPassword), core.ReasonThrottled)
	must(t, f.try(text))
	f.pass(time.Minute)
	must(t, f.try(mainPassword))
}

// TestR25NoLockOut: a right app password works however many wrong ones came.
func TestR25NoLockOut(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	wrong := otherText(t)
	for range 20_000 {
		if f.try(wrong) == nil {
			t.Fatal("a wrong app password was granted")
		}
	}
	must(t, f.try(text))
	_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn2", Source: netip.MustParseAddr("192.0.2.2")})
	must(t, err)
}

// TestProofs: everything that is no known proof is refused.
func TestProofs(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	for name, tt := range map[string]struct {
		proof proof.Proof
		want  core.Reason
	}{
		"nil":                 {nil, core.ReasonMalformed},
		"empty":               {proof.Cleartext{}, core.ReasonMalformed},
		"unsupported":         {proof.Unsupported(proof.MethodCHAP), core.ReasonMethodNotEnabled},
		"foreign":             {foreign{}, core.ReasonMalformed},
		"trial, always right": {trial{right: true}, core.ReasonMethodNotEnabled},
	} {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: tt.proof, Service: "radius/vpn1"})
		wantReason(t, name, err, tt.want)
	}
	for _, name := range []string{"", "\x00", "a b", strings.Repeat("x", 5000), "\xff\xfe"} {
		_, err := f.Verify(f.ctx, core.Attempt{Account: name, Proof: proof.Cleartext("x"), Service: "radius/vpn1"})
		wantReason(t, "the name "+name, err, core.ReasonMalformed)
	}
}

type foreign struct{}

func (foreign) Method() proof.Method { return proof.MethodCleartext }

// A trial is a response to a challenge that counts its tries and knows the
// text that it wants.
type trial struct {
	right bool
	text  string
	tries *int
}

func (trial) Method() proof.Method { return proof.MethodCHAP }

func (p trial) Try(material []byte) bool {
	if p.tries != nil {
		*p.tries++
	}
	return p.right || (p.text != "" && p.text == string(material))
}

// TestTrials: a response is tried against what fits, always MaxLimit times.
func TestTrials(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"radius/vpn*"}, Methods: []proof.Method{proof.MethodCHAP}}
	})
	_, cleartext := f.addAlain()
	_, text := f.create("switch", "chap")
	for name, tt := range map[string]struct {
		text, account, service string
		want                   core.Reason
	}{
		"right":            {text, alain, "radius/vpn1", ""},
		"wrong":            {otherText(t), alain, "radius/vpn1", core.ReasonWrong},
		"of another kind":  {cleartext, alain, "radius/vpn1", core.ReasonWrong},
		"another service":  {text, alain, "radius/lounge", core.ReasonMethodNotEnabled},
		"unknown account":  {text, "nobody", "radius/vpn1", core.ReasonUnknownAccount},
		"dummy as a right": {"", alain, "radius/vpn1", core.ReasonWrong},
	} {
		tries := 0
		_, err := f.Verify(f.ctx, core.Attempt{Account: tt.account, Proof: trial{text: tt.text, tries: &tries}, Service: tt.service})
		wantReason(t, name, err, tt.want)
		if tries != core.MaxLimit {
			t.Errorf("%s: %d tries, want %d", name, tries, core.MaxLimit)
		}
	}
}

// TestDirectoryAnswers: an answer holds for MaxAge, serves for Stale while the
// directory is away, and then attempts are undecided.
func TestDirectoryAnswers(t *testing.T) {
	m := &mirror{}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	account := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
	m.set(account)
	made, text := f.create("laptop", "")
	f.reopen()
	must(t, f.try(text))

	account.Enabled = false
	m.set(account)
	must(t, f.try(text)) // known for less than a minute
	f.pass(time.Minute)
	wantReason(t, "disabled", f.try(text), core.ReasonAccountDisabled)
	account.Enabled = true
	m.set(account)
	f.pass(time.Minute)
	must(t, f.try(text))

	m.fail(directory.ErrUnavailable)
	f.pass(14 * time.Minute)
	must(t, f.try(text))
	_, err := f.Suspend(f.ctx, alain, made.ID)
	wantKind(t, "suspend while the directory is away", err, core.KindUnavailable)
	f.pass(time.Minute)
	wantReason(t, "after 15 minutes", f.try(text), core.ReasonUnavailable)

	m.fail(nil)
	m.set(directory.Account{ID: "1", Name: "mallory", Enabled: true, TwoStep: directory.On})
	wantReason(t, "gone", f.try(text), core.ReasonUnknownAccount)
	m.set(directory.Account{ID: "2", Name: alain, Enabled: true, TwoStep: directory.On})
	wantReason(t, "somebody else of that name", f.try(text), core.ReasonWrong)
	account.TwoStep = directory.Off
	m.set(account)
	f.pass(time.Minute)
	wantReason(t, "two-step off there", f.try(text), core.ReasonTwoStepOff)
}

// TestDirectoryThatLies: an answer for another account is none.
func TestDirectoryThatLies(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.opt.Directory = &liar{} })
	wantReason(t, "another's answer", f.try(otherText(t)), core.ReasonUnavailable)
}

type liar struct{ mirror }

func (*liar) Lookup(context.Context, string) (directory.Account, error) {
	return directory.Account{ID: "1", Name: "root", Enabled: true, TwoStep: directory.On}, nil
}
