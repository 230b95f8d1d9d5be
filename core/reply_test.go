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
