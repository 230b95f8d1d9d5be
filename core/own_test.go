package core_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
)

// An owner makes an app password with his main password and a fresh security
// code, and with nothing else; an app password is none of the two.
func TestCreateOwn(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, []byte(mainPassword))
	must(t, err)
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	n := core.NewAppPassword{Name: "Xbox"}
	create := func(main, code string) error {
		_, text, err := f.CreateOwn(f.ctx, alain, []byte(main), code, n)
		if err != nil && strings.Trim(text.Canonical(), "\x00") != "" {
			t.Error("a text is left of what was refused")
		}
		return err
	}
	if err := create(mainPassword, codeOf(t, uri, f.clock())); core.KindOf(err) != core.KindConflict || !strings.Contains(err.Error(), "is off") {
		t.Errorf("without two-step verification: %v", err)
	}
	c, err := f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	app := c.FirstText.Canonical()
	fresh := func() string {
		f.pass(30 * time.Second)
		return codeOf(t, uri, f.clock())
	}
	var said string
	for what, try := range map[string][2]string{
		"a wrong main password":         {"wrong horse", fresh()},
		"an app password":               {app, fresh()},
		"an app password, with hyphens": {app[:4] + "-" + app[4:], fresh()},
		"no main password":              {"", fresh()},
		"a wrong code":                  {mainPassword, "000000"},
		"no code":                       {mainPassword, ""},
		"an app password for a code":    {mainPassword, app},
	} {
		err := create(try[0], try[1])
		if core.KindOf(err) != core.KindDenied {
			t.Errorf("%s: %v", what, err)
		}
		if said == "" {
			said = err.Error()
		}
		if err.Error() != said {
			t.Errorf("%s is told apart: %q and %q", what, err, said)
		}
	}
	if list, err := f.List(f.ctx, alain); err != nil || len(list) != 1 {
		t.Errorf("%d app passwords, %v", len(list), err)
	}
	attempts, err := f.Attempts(f.ctx, alain)
	must(t, err)
	if len(attempts) != 4 || attempts[0].Service != "self/create" || attempts[0].Reason != core.ReasonWrong {
		t.Errorf("recorded: %+v", attempts)
	}
	code := fresh()
	must(t, create(mainPassword, code))
	n.Name = "another"
	if err := create(mainPassword, code); core.KindOf(err) != core.KindDenied {
		t.Errorf("the same code again: %v", err)
	}
	must(t, create(mainPassword, c.Recovery[0]))

	for range 12 {
		err = create("wrong horse", fresh())
	}
	if core.KindOf(err) != core.KindDenied { // 30 s pass between these
		t.Errorf("now and then: %v", err)
	}
	for range 12 {
		err = create("wrong horse", "000000")
	}
	if core.KindOf(err) != core.KindLimited {
		t.Errorf("too many main passwords: %v", err)
	}
	limited := err.Error()
	f.pass(time.Hour)
	for range 8 {
		err = create(mainPassword, "000000")
	}
	if core.KindOf(err) != core.KindLimited || err.Error() != limited {
		t.Errorf("too many codes: %v", err)
	}
	f.pass(time.Hour)
	must(t, f.SetEnabled(f.ctx, alain, false))
	if err := create(mainPassword, fresh()); core.KindOf(err) != core.KindDenied {
		t.Errorf("disabled: %v", err)
	}
	_, _, err = f.CreateOwn(f.ctx, "nobody", []byte(mainPassword), "000000", n)
	if core.KindOf(err) != core.KindNotFound {
		t.Errorf("nobody: %v", err)
	}
}

// A gullible directory takes every main password.
type gullible struct{ *local.Directory }

func (gullible) VerifyPassword(context.Context, string, []byte) error { return nil }

// A directory that takes an app password for a main one, as a PAM stack that asks
// Keywicket would, is not asked about one.
func TestCreateOwnAppPassword(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.opt.Directory = gullible{f.opt.Directory.(*local.Directory)} })
	_, app := f.addAlain()
	uri, err := f.Enroll(f.ctx, alain)
	must(t, err)
	c, err := f.Confirm(f.ctx, alain, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	for _, main := range []string{app, strings.ToUpper(app), app[:4] + " " + app[4:]} {
		_, _, err := f.CreateOwn(f.ctx, alain, []byte(main), c.Recovery[0], core.NewAppPassword{Name: "x"})
		if core.KindOf(err) != core.KindDenied {
			t.Errorf("%q for the main password: %v", main, err)
		}
	}
	_, _, err = f.CreateOwn(f.ctx, alain, []byte("anything"), c.Recovery[0], core.NewAppPassword{Name: "x"})
	must(t, err)
}
