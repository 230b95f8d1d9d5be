package core_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A guardFunc is a Guard that does not look.
type guardFunc func() (core.Admission, error)

func (g guardFunc) Check(context.Context, core.Attempt, core.Grant) (core.Admission, error) {
	return g()
}

func (guardFunc) Asks() bool { return true }

// A lookingGuard notes what it is asked.
type lookingGuard struct {
	answer core.Admission
	err    error
	idle   bool // there is nobody to ask
	asked  []core.Grant
	of     []core.Attempt
}

func (g *lookingGuard) Asks() bool { return !g.idle }

func (g *lookingGuard) Check(_ context.Context, a core.Attempt, grant core.Grant) (core.Admission, error) {
	g.asked, g.of = append(g.asked, grant), append(g.of, a)
	return g.answer, g.err
}

// TestGuardIsAskedOfGrantsAlone: whatever is refused anyway is refused for its
// own reason, and no Guard hears of it.
func TestGuardIsAskedOfGrantsAlone(t *testing.T) {
	g := &lookingGuard{answer: core.Admission{Allow: true, Reply: []core.Reply{{Name: "Filter-Id", Value: "x"}}}}
	f := newFixture(t, func(f *fixture) { f.opt.Guard = g })
	first, text := f.addAlain("staff")
	for what, typed := range map[string]string{"wrong": otherText(t), "the main password": mainPassword, "nothing": ""} {
		if f.try(typed) == nil {
			t.Errorf("%s is granted", what)
		}
	}
	_, err := f.Verify(f.ctx, core.Attempt{Account: "nobody", Proof: proof.Cleartext(text), Service: "radius/vpn1"})
	wantReason(t, "a stranger", err, core.ReasonUnknownAccount)
	if len(g.asked) != 0 {
		t.Fatalf("asked of %+v", g.asked)
	}
	grant, err := f.Verify(f.ctx, core.Attempt{Account: " " + strings.ToUpper(alain), Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: "tv"})
	if err == nil || len(g.asked) != 0 {
		t.Fatalf("a malformed name: %v, asked %d times", err, len(g.asked))
	}
	grant, err = f.Verify(f.ctx, core.Attempt{Account: strings.ToUpper(alain), Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: "tv"})
	must(t, err)
	if len(g.asked) != 1 || g.of[0].Device != "tv" || g.of[0].Service != "radius/vpn1" {
		t.Fatalf("asked of %+v", g.of)
	}
	if a := g.asked[0]; a.Account != alain || a.AppPassword.ID != first.ID || a.Profile != "default" || len(a.Groups) != 1 || a.Session != nil {
		t.Errorf("asked of %+v", a)
	}
	if len(grant.Reply) != 1 || grant.Reply[0] != (core.Reply{Name: "Filter-Id", Value: "x"}) || len(grant.Session) == 0 {
		t.Errorf("granted %+v", grant)
	}
}

// TestGuardTrouble: a Guard that does not decide is an inability, and one that
// decides nothing refuses.
func TestGuardTrouble(t *testing.T) {
	g := &lookingGuard{}
	f := newFixture(t, func(f *fixture) { f.opt.Guard = g })
	_, text := f.addAlain()
	for what, tt := range map[string]struct {
		answer core.Admission
		err    error
		want   core.Reason
	}{
		"no answer":          {core.Admission{}, errors.New("crashed"), core.ReasonUnavailable},
		"yes with an error":  {core.Admission{Allow: true}, errors.New("crashed"), core.ReasonUnavailable},
		"the zero answer":    {core.Admission{}, nil, core.ReasonRefusedByHook},
		"no with attributes": {core.Admission{Reply: []core.Reply{{Name: "a"}}}, nil, core.ReasonRefusedByHook},
		"context over":       {core.Admission{}, context.DeadlineExceeded, core.ReasonUnavailable},
	} {
		g.answer, g.err = tt.answer, tt.err
		grant, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1"})
		wantReason(t, what, err, tt.want)
		if len(grant.Reply) > 0 || grant.Account != "" {
			t.Errorf("%s: granted %+v", what, grant)
		}
	}
	g.answer, g.err = core.Admission{Text: strings.Repeat("ä", 1000)}, nil
	wantReason(t, "a long text", f.try(text), core.ReasonRefusedByHook)
	attempts := f.recorded(core.EventAttempt)
	if d := attempts[len(attempts)-1].Detail; len(d) > 256 || !strings.HasPrefix(d, "ää") || strings.ToValidUTF8(d, "?") != d {
		t.Errorf("recorded %q", d)
	}
}

// TestGuardBeforePin: a device that a Guard refused is not the first one.
func TestGuardBeforePin(t *testing.T) {
	g := &lookingGuard{}
	f := newFixture(t, func(f *fixture) {
		console := f.policy.Profiles[core.DefaultProfile]
		console.PinDevice = true
		f.policy.Profiles["console"] = console
		f.opt.Guard = g
	})
	f.addAlain()
	_, text := f.create("console", "console")
	try := func(device string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: device})
		return err
	}
	wantReason(t, "refused", try("one"), core.ReasonRefusedByHook)
	g.answer.Allow = true
	must(t, try("two"))
	wantReason(t, "not the first", try("one"), core.ReasonPinMismatch)
	if asked := len(g.asked); asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestGuardIsNotPassedBy: the quick way to a grant leaves the Guard out only
// while there is nobody to ask.
func TestGuardIsNotPassedBy(t *testing.T) {
	g := &lookingGuard{}
	f := newFixture(t, func(f *fixture) { f.opt.Guard = g })
	_, text := f.addAlain()
	a := core.Attempt{Service: "radius/vpn1"}
	var grant core.Grant
	atHand := func(typed string) (decided bool, err error) {
		for range 500 { // news of what was written empty the cache once more
			wantReason(t, "refused", f.try(text), core.ReasonRefusedByHook) // and cached
			if decided, err = f.VerifyText(&a, []byte(alain), []byte(typed), &grant); decided {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return decided, err
	}
	if decided, err := atHand(otherText(t)); !decided || core.ReasonOf(err) != core.ReasonWrong {
		t.Errorf("a wrong text: %v, %v", decided, err)
	}
	if decided, err := f.VerifyText(&a, []byte(alain), []byte(text), &grant); decided || err != nil {
		t.Fatalf("decided without the Guard: %v", err)
	}
	g.idle = true
	for range 500 {
		decided, err := f.VerifyText(&a, []byte(alain), []byte(text), &grant)
		if err != nil {
			t.Fatalf("with nobody to ask: %v", err)
		}
		if decided {
			return
		}
		must(t, f.try(text))
		time.Sleep(time.Millisecond)
	}
	t.Error("with nobody to ask it is not decided")
}

// TestA8DeletedWhileAGuardIsAsked: what is taken away while a Guard takes its time
// works no more, and what stays as it is does.
func TestA8DeletedWhileAGuardIsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(f *fixture, id string) error
		want      core.Reason
	}{
		"nothing": {func(*fixture, string) error { return nil }, ""},
		"another": {func(f *fixture, _ string) error { f.create("another", ""); return nil }, ""},
		"delete":  {func(f *fixture, id string) error { return second(f.Delete(f.ctx, alain, id)) }, core.ReasonDeleted},
		"suspend": {func(f *fixture, id string) error { return second(f.Suspend(f.ctx, alain, id)) }, core.ReasonSuspended},
		"rotate":  {func(f *fixture, id string) error { _, _, err := f.Rotate(f.ctx, alain, id, 0); return err }, core.ReasonDeleted},
		"overlap": {func(f *fixture, id string) error { _, _, err := f.Rotate(f.ctx, alain, id, time.Hour); return err }, ""},
		"disable": {func(f *fixture, _ string) error { return f.SetEnabled(f.ctx, alain, false) }, core.ReasonAccountDisabled},
		"remove":  {func(f *fixture, _ string) error { return f.DeleteAccount(f.ctx, alain) }, core.ReasonUnknownAccount},
	} {
		for method, presents := range map[proof.Method]func(text string) proof.Proof{
			proof.MethodCleartext: func(text string) proof.Proof { return proof.Cleartext(text) },
			proof.MethodCHAP:      func(text string) proof.Proof { return responseOf(proof.MethodCHAP, text) },
		} {
			f := newFixture(t, func(f *fixture) {
				f.policy.Profiles["any"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext, proof.MethodCHAP}}
			})
			f.addAlain()
			p, text := f.create("tv", "any")
			must(t, f.Close())
			asked := 0
			f.opt.Guard = guardFunc(func() (core.Admission, error) {
				asked++
				must(t, tt.meanwhile(f, p.ID))
				return core.Admission{Allow: true, Reply: []core.Reply{{Name: "Filter-Id", Value: "x"}}}, nil
			})
			f.open()
			g, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: presents(text), Service: "radius/vpn1"})
			what := name + " with " + string(method)
			wantReason(t, what, err, tt.want)
			if err == nil && (g.AppPassword != p.Ref || len(g.Reply) != 1) || asked != 1 {
				t.Errorf("%s: granted %+v, asked %d times", what, g, asked)
			}
			if last := f.recorded(core.EventAttempt); last[len(last)-1].AppPassword != p.Ref {
				t.Errorf("%s: recorded as of %+v", what, last[len(last)-1].AppPassword)
			}
		}
	}
}
