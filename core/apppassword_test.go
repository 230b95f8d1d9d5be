package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/proof"
)

// TestA2Names: 1 to 64 characters that can be printed, in NFC.
func TestA2Names(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	for typed, stored := range map[string]string{
		"x":                          "x",
		"Xbox in the den":            "Xbox in the den",
		"  Drucker, 2. Stock ":       "Drucker, 2. Stock",
		strings.Repeat("\u00e9", 64): strings.Repeat("\u00e9", 64),
		// 64 characters once they are composed
		strings.Repeat("a\u0301", 64): strings.Repeat("\u00e1", 64),
		"Te\u0301le\u0301":            "T\u00e9l\u00e9",
		"電視":                          "電視",
		"TV \U0001f4fa":               "TV \U0001f4fa",
		"שלום":                        "שלום",
	} {
		made, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: typed})
		if err != nil || made.Name != stored {
			t.Errorf("%q was stored as %q (%v), want %q", typed, made.Name, err, stored)
		}
	}
	for _, typed := range []string{
		"", " ", "\t\n", "\u2003", strings.Repeat("x", 65), strings.Repeat("\u00e9", 65), strings.Repeat("x", 1<<20),
		"a\x00b", "a\nb", "a\tb", "a\x7fb", "a\x1b[31mb", "a\u0085b", // controls
		"a\u202eb", "a\u2066b", "a\u200eb", "a\u061cb", // bidi
		"a\u200bb", "a\ufeffb", "a\u00adb", "a\u2028b", "a\u00a0b", "a\ue000b", "a\U000e0001b", "a\uffffb", // cannot be seen or printed
		"a\xffb", "\xc0\x80", "a\xed\xa0\x80b", // no UTF-8
		otherText(t), strings.ToUpper(otherText(t)), // a text in the wrong field
	} {
		_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: typed})
		wantKind(t, fmt.Sprintf("the name %.20q", typed), err, core.KindInvalid)
	}
}

// TestA2OneNameOnce: two of an account's app passwords never share a name, and
// it is found by what its owner types.
func TestA2OneNameOnce(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	first, _ := f.create("Caf\u00e9 TV", "")
	for _, same := range []string{"Caf\u00e9 TV", "caf\u00e9 tv", "CAF\u00c9 TV", "Cafe\u0301 TV", "  Caf\u00e9 TV  "} {
		_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: same})
		wantKind(t, "a second "+same, err, core.KindConflict)
		ref, err := f.Suspend(f.ctx, alain, same)
		if err != nil || ref != first.Ref {
			t.Errorf("suspending %q met %v (%v), want %v", same, ref, err, first.Ref)
		}
	}
	_, err := f.AddAccount(f.ctx, "bob", nil, nil)
	must(t, err)
	_, _, err = f.Create(f.ctx, alain, core.NewAppPassword{Name: "Cafe TV"})
	must(t, err)
	_, err = f.Delete(f.ctx, alain, "CAFE\u0301 TV")
	must(t, err)
	f.create("caf\u00e9 tv", "") // the name is free again
}

// TestA3Limit: the refusal names the three longest unused, oldest first.
func TestA3Limit(t *testing.T) {
	f := newFixture(t, nil)
	_, first := f.addAlain()
	var texts []string
	for i := range core.MaxLimit - 1 {
		f.pass(time.Minute)
		_, text := f.create(fmt.Sprintf("device %d", i), "")
		texts = append(texts, text)
	}
	// What was made first is used last, and "device 1" before it; "device 0"
	// and "device 2" never are.
	f.pass(time.Hour)
	must(t, f.try(texts[1]))
	f.pass(time.Hour)
	must(t, f.try(first))
	for _, state := range []string{"collected", "written", "read again"} {
		_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "one more"})
		wantKind(t, state, err, core.KindConflict)
		var limit *core.LimitError
		if !errors.As(err, &limit) {
			t.Fatalf("%s: %v holds no LimitError", state, err)
		}
		var names []string
		for _, p := range limit.Unused {
			names = append(names, p.Name)
		}
		if want := []string{"device 0", "device 2", "device 3"}; !slices.Equal(names, want) || limit.Limit != core.MaxLimit || limit.Account != alain {
			t.Errorf("%s: %+v, want %q of %d", state, limit, want, core.MaxLimit)
		}
		for _, p := range limit.Unused {
			if !strings.Contains(err.Error(), p.ID) || !strings.Contains(err.Error(), p.Name) {
				t.Errorf("%s: %q does not name %v", state, err, p.Ref)
			}
		}
		if state == "collected" {
			must(t, f.Flush(f.ctx))
		} else {
			f.reopen()
		}
	}
	_, err := f.Delete(f.ctx, alain, "device 0")
	must(t, err)
	f.create("one more", "")
}

// TestA3UsedOnesStandLast: when all were used, the last use decides.
func TestA3UsedOnesStandLast(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.Limit = 4 })
	texts := map[string]string{}
	_, texts["a"] = f.addAlain()
	for _, name := range []string{"b", "c", "d"} {
		_, texts[name] = f.create(name, "")
	}
	for _, name := range []string{"c", "a", "d", "b"} {
		f.pass(time.Second)
		must(t, f.try(texts[name]))
	}
	_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "e"})
	var limit *core.LimitError
	if !errors.As(err, &limit) || len(limit.Unused) != 3 {
		t.Fatalf("%v is no LimitError with three", err)
	}
	for i, want := range []string{"c", core.FirstName, "d"} {
		if limit.Unused[i].Name != want {
			t.Errorf("place %d is %q, want %q", i, limit.Unused[i].Name, want)
		}
	}
}

// TestA3Race: 100 parallel creations at 39 make exactly one, on one node or two.
func TestA3Race(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	for i := range core.MaxLimit - 2 {
		f.create(fmt.Sprintf("device %d", i), "")
	}
	nodes := []*fixture{f, f.another()}
	var made atomic.Int64
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, text, err := nodes[i%2].Create(f.ctx, alain, core.NewAppPassword{Name: fmt.Sprintf("race %d", i)})
			switch {
			case err == nil:
				made.Add(1)
				if err := f.try(text.Canonical()); err != nil {
					t.Errorf("the one that was made: %v", err)
				}
			case !errors.As(err, new(*core.LimitError)):
				t.Errorf("creation %d: %v, want a LimitError", i, err)
			}
		})
	}
	all.Wait()
	list, err := f.List(f.ctx, alain)
	must(t, err)
	if made.Load() != 1 || len(list) != core.MaxLimit {
		t.Errorf("%d were made and %d listed, want 1 and %d", made.Load(), len(list), core.MaxLimit)
	}
}

// TestA4NeedsTwoStep: without it creation is refused, and says why.
func TestA4NeedsTwoStep(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	create := func() error {
		_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "laptop"})
		return err
	}
	err = create()
	wantKind(t, "off", err, core.KindDenied)
	if err == nil || !strings.Contains(err.Error(), "two-step verification is off") {
		t.Errorf("%v does not say that two-step verification is off", err)
	}
	_, err = f.Enroll(f.ctx, alain)
	must(t, err)
	wantKind(t, "begun only", create(), core.KindDenied)
	f.policy.RequireTwoStep = false
	must(t, f.SetPolicy(f.policy))
	must(t, create())
}

// TestA7Disallowed: for all, for a group or for a profile: creating is refused,
// what exists stops, the option is not offered, and all of it comes back.
func TestA7Disallowed(t *testing.T) {
	console := core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}}
	denied := console
	denied.Deny = true
	for name, tt := range map[string]struct {
		deny    func(p *core.Policy)
		offered bool
		byOther core.Reason // what the account's other app password meets
	}{
		"all":           {func(p *core.Policy) { p.Deny = true }, false, core.ReasonAppPasswordsDenied},
		"group":         {func(p *core.Policy) { p.DenyGroups = []string{"guests", "staff"} }, false, core.ReasonAppPasswordsDenied},
		"another group": {func(p *core.Policy) { p.DenyGroups = []string{"guests"} }, true, ""},
		"profile": {func(p *core.Policy) {
			p.Profiles = map[string]core.Profile{core.DefaultProfile: p.Profiles[core.DefaultProfile], "console": denied}
		}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) { f.policy.Profiles["console"] = console })
			_, other := f.addAlain("staff")
			made, text := f.create("Xbox", "console")
			must(t, f.try(text))

			policy := f.policy
			tt.deny(&policy)
			must(t, f.SetPolicy(policy))
			want, kind, status := core.ReasonAppPasswordsDenied, core.KindDenied, core.StatusDenied
			if name == "another group" {
				want, kind, status = "", 0, core.StatusActive
			}
			wantReason(t, "the app password", f.try(text), want)
			wantReason(t, "the other", f.try(other), tt.byOther)
			_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "PlayStation", Profile: "console"})
			wantKind(t, "creation", err, kind)
			_, _, err = f.Rotate(f.ctx, alain, made.ID, 0)
			wantKind(t, "rotation", err, kind)
			a, err := f.Account(f.ctx, alain)
			must(t, err)
			if a.Allowed != tt.offered {
				t.Errorf("app passwords are offered: %v, want %v", a.Allowed, tt.offered)
			}
			list, err := f.List(f.ctx, alain)
			must(t, err)
			if got := list[1].Status; got != status {
				t.Errorf("status %q, want %q", got, status)
			}

			must(t, f.SetPolicy(core.DefaultPolicy()))
			must(t, f.try(other))
		})
	}
}

// TestA7NoFirst: turning two-step verification on works where app passwords
// are disallowed, and then gives none.
func TestA7NoFirst(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.DenyGroups = []string{"guests"} })
	_, err := f.AddAccount(f.ctx, alain, []string{"guests"}, nil)
	must(t, err)
	if c := f.turnOn(); c.First != nil || c.FirstText.Letters() != 0 || len(c.Recovery) == 0 {
		t.Errorf("got %+v and %d recovery codes, want no app password", c.First, len(c.Recovery))
	}
	if a, err := f.Account(f.ctx, alain); err != nil || !a.TwoStep || a.AppPasswords != 0 {
		t.Errorf("the account is %+v (%v), want two-step verification and no app password", a, err)
	}
}

// TestCreateRefuses: what is asked for in vain, and that nothing is left of it.
func TestCreateRefuses(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	_, err := f.AddAccount(f.ctx, "bob", nil, nil)
	must(t, err)
	must(t, f.SetEnabled(f.ctx, "bob", false))
	before := f.store.all(t)
	for name, tt := range map[string]struct {
		account string
		n       core.NewAppPassword
		want    core.Kind
	}{
		"no such account": {"nobody", core.NewAppPassword{Name: "x"}, core.KindNotFound},
		"no account name": {"", core.NewAppPassword{Name: "x"}, core.KindInvalid},
		"disabled":        {"bob", core.NewAppPassword{Name: "x"}, core.KindDenied},
		"no such profile": {alain, core.NewAppPassword{Name: "x", Profile: "vpn"}, core.KindInvalid},
		"in the past":     {alain, core.NewAppPassword{Name: "x", Expires: f.clock()}, core.KindInvalid},
	} {
		made, text, err := f.Create(f.ctx, tt.account, tt.n)
		wantKind(t, name, err, tt.want)
		if made.ID != "" || text.Letters() != 0 {
			t.Errorf("%s: an app password came with the error", name)
		}
	}
	if after := f.store.all(t); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("a refused creation changed the store")
	}
}

// TestNotFoundOnlyIfSure: a directory that cannot tell makes no account vanish.
func TestNotFoundOnlyIfSure(t *testing.T) {
	m := &mirror{}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	for _, err := range []error{directory.ErrUnavailable, errors.New("disk on fire")} {
		m.fail(err)
		_, got := f.List(f.ctx, alain)
		wantKind(t, err.Error(), got, core.KindUnavailable)
		wantReason(t, err.Error(), f.try(otherText(t)), core.ReasonUnavailable)
	}
}

// Where the limit was lowered, the refusal says how many are too many.
func TestA3LimitLowered(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain() // with one
	for _, name := range []string{"a", "b", "c"} {
		f.create(name, "")
	}
	policy := core.DefaultPolicy()
	policy.Limit = 2
	must(t, f.SetPolicy(policy))
	_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "d"})
	if want := "has 4 app passwords, and the limit is 2; delete 3 first"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
