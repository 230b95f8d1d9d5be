package core_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// An app password has attributes of its own: checked when it is made, kept when
// it is rotated and over a restart, and in every grant.
func TestReply(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	const name = "alain@contoso.com"
	policy := core.DefaultPolicy()
	vlan := []core.Reply{{Name: "Tunnel-Private-Group-Id", Value: "42"}, {Name: "Class", Value: "tv"}}
	create := func(all []core.Reply) error {
		_, _, err := f.Create(t.Context(), name, core.NewAppPassword{Name: "TV", Reply: all})
		return err
	}
	if err := create(vlan); core.KindOf(err) != core.KindInvalid {
		t.Errorf("where no attributes are known: %v", err)
	}
	policy.CheckReply = func(r core.Reply) error {
		if r.Name == "Unknown" {
			return errors.New("is no known attribute")
		}
		return nil
	}
	must(t, f.SetPolicy(policy))
	for name, all := range map[string][]core.Reply{
		"unknown": {{Name: "Unknown", Value: "1"}}, "too many": slices.Repeat(vlan, 5), "too long": {{Name: "Class", Value: strings.Repeat("x", 1024)}},
	} {
		if err := create(all); core.KindOf(err) != core.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	made, text, err := f.Create(t.Context(), name, core.NewAppPassword{Name: "TV", Reply: vlan})
	must(t, err)
	if !slices.Equal(made.Reply, vlan) {
		t.Errorf("made with %v", made.Reply)
	}
	granted := func(text string) {
		t.Helper()
		g, err := f.Verify(t.Context(), core.Attempt{Account: name, Proof: proof.Cleartext(text), Service: "radius/vpn1"})
		if err != nil || !slices.Equal(g.Reply, vlan) {
			t.Errorf("granted %v, %v", g.Reply, err)
		}
	}
	granted(text.Canonical())
	_, newer, err := f.Rotate(t.Context(), name, "TV", time.Hour)
	must(t, err)
	granted(newer.Canonical())
	granted(text.Canonical())
	f.reopen()
	granted(newer.Canonical())
	all, err := f.List(t.Context(), alain)
	must(t, err)
	for _, p := range all {
		if want := p.Name == "TV"; slices.Equal(p.Reply, vlan) != want {
			t.Errorf("%s: %v", p.Name, p.Reply)
		}
	}
}

// An answerer is a bridge that says what it can answer.
type answerer func(*core.Grant) error

func (a answerer) Answerable(g *core.Grant) error { return a(g) }

// What the bridge could not answer is no grant, and leaves no trace of one: no
// use, no pin, no line that says granted.
func TestAnswerable(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.CheckReply = func(core.Reply) error { return nil }
		f.policy.Profiles["console"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
	})
	f.addAlain()
	f.turnOn()
	_, own, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "TV", Profile: "console", Reply: []core.Reply{{Name: "Acme-VLAN", Value: "7"}}})
	must(t, err)
	_, plain, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "plain"})
	must(t, err)
	gone := errors.New("no such attribute")
	attempt := func(text string, answerer answerer) core.Attempt {
		return core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: "00-11", Answerer: answerer}
	}
	no := func(g *core.Grant) error {
		if g.AppPassword.Name != "TV" || len(g.Reply) != 1 {
			t.Errorf("asked about %+v", g)
		}
		return gone
	}
	for range 2 { // the second is decided from the cache
		_, err = f.Verify(f.ctx, attempt(own.Canonical(), no))
		if core.KindOf(err) != core.KindUnavailable || core.ReasonOf(err) != core.ReasonUnavailable || !errors.Is(err, gone) {
			t.Errorf("what cannot be answered: %v", err)
		}
	}
	_, loose, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "loose", Reply: []core.Reply{{Name: "Acme-VLAN", Value: "7"}}})
	must(t, err)
	a := attempt("", answerer(func(*core.Grant) error { return gone }))
	for decided := false; !decided; { // until the store's watch has told of the change
		if decided, err = f.VerifyText(&a, []byte(alain), []byte(loose.Canonical()), &core.Grant{}); decided && !errors.Is(err, gone) {
			t.Errorf("in a hurry: %v", err)
		}
		_, err = f.Verify(f.ctx, attempt(loose.Canonical(), func(*core.Grant) error { return nil }))
		must(t, err)
	}
	// It may be the account's groups that do not fit: so it is asked about all.
	_, err = f.Verify(f.ctx, attempt(plain.Canonical(), func(g *core.Grant) error {
		if g.Account != alain || len(g.Reply) != 0 || len(g.Session) != 0 {
			t.Errorf("asked about %+v", g)
		}
		return gone
	}))
	if !errors.Is(err, gone) {
		t.Errorf("what cannot be answered, of one without attributes: %v", err)
	}
	if last := f.events[len(f.events)-1]; last.Reason != core.ReasonUnavailable || last.Detail != gone.Error() {
		t.Errorf("the audit has %+v", last)
	}
	all, err := f.List(f.ctx, alain)
	must(t, err)
	for _, p := range all {
		if p.Name == "TV" && (p.Uses != 0 || p.Pin != "") {
			t.Errorf("it was used: %+v", p)
		}
	}
	_, err = f.Verify(f.ctx, attempt(own.Canonical(), func(*core.Grant) error { return nil }))
	must(t, err)
}

// Whoever makes an app password for himself gives it no attributes.
func TestOwnersChooseNoReply(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.CheckReply = func(core.Reply) error { return nil } })
	_, err := f.AddAccount(f.ctx, alain, nil, []byte(mainPassword))
	must(t, err)
	f.turnOn()
	n := core.NewAppPassword{Name: "TV", Reply: []core.Reply{{Name: "Class", Value: "admins"}}}
	_, _, err = f.CreateOwn(f.ctx, alain, []byte(mainPassword), "000000", n)
	if core.KindOf(err) != core.KindDenied || !strings.Contains(err.Error(), "the administrator's to give") {
		t.Errorf("%v", err)
	}
}
