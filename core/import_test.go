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

// importedHash is of "Correct horse, 1".
const importedHash = "$argon2id$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$HzRL3ft+bZTuUtmCFNwPhfeI4gKpchDgosGkgrQl0qA"

func several(n int) []core.ImportAccount {
	all := make([]core.ImportAccount, n)
	for i := range all {
		all[i] = core.ImportAccount{Name: fmt.Sprintf("user%02d@contoso.com", i), Groups: []string{"staff"}, Enabled: i%2 == 0}
	}
	all[0].PasswordHash = importedHash
	return all
}

func TestImport(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.MainPassword, f.policy.RequireTwoStep = core.MainWithoutTwoStep, false })
	f.store.count()
	made, err := f.Import(f.ctx, several(core.MaxImport), false)
	if _, applied := f.store.count(); err != nil || made != core.MaxImport || applied != 1 {
		t.Fatalf("made %d in %d writes (%v)", made, applied, err)
	}
	if events := f.recorded(core.EventAccountAdded); len(events) != made || events[5].Account != "user05@contoso.com" {
		t.Errorf("recorded %+v", events)
	}
	a, err := f.Account(f.ctx, "user01@contoso.com")
	if err != nil || a.Enabled || !slices.Equal(a.Groups, []string{"staff"}) {
		t.Errorf("made %+v (%v)", a, err)
	}
	at := core.Attempt{Account: "user00@contoso.com", Proof: proof.Cleartext("Correct horse, 1"), Service: "radius/vpn1"}
	if _, err := f.Verify(f.ctx, at); err != nil {
		t.Errorf("the main password of a hash: %v", err)
	}
	for _, event := range f.recorded(core.EventAccountAdded) {
		if strings.Contains(fmt.Sprint(event), "argon2id") {
			t.Errorf("recorded %+v", event)
		}
	}
}

// An account that was asked for before it was there is there at once.
func TestImportAfterStranger(t *testing.T) {
	f := newFixture(t, nil)
	wantReason(t, "before", f.try(otherText(t)), core.ReasonUnknownAccount)
	_, err := f.Import(f.ctx, []core.ImportAccount{{Name: alain, Enabled: true}}, false)
	must(t, err)
	wantReason(t, "after", f.try(otherText(t)), core.ReasonWrong)
}

func TestCheckImport(t *testing.T) {
	f := newFixture(t, nil)
	there := core.ImportAccount{Name: alain, Groups: []string{"b", "a"}, Enabled: true, PasswordHash: importedHash}
	_, err := f.Import(f.ctx, []core.ImportAccount{there}, false)
	must(t, err)
	with := func(edit func(*core.ImportAccount)) core.ImportAccount {
		a := there
		edit(&a)
		return a
	}
	app := otherText(t)
	for what, tt := range map[string]struct {
		a      core.ImportAccount
		resume bool
		want   []string // words of each fault
	}{
		"another":                  {core.ImportAccount{Name: "Bea@Contoso.com", Enabled: true}, false, nil},
		"the same":                 {there, false, []string{"exists already"}},
		"the same again":           {there, true, nil},
		"in another spelling":      {with(func(a *core.ImportAccount) { a.Name = "Alain@CONTOSO.com" }), true, nil},
		"without a hash":           {with(func(a *core.ImportAccount) { a.PasswordHash = "" }), true, nil},
		"groups in order":          {with(func(a *core.ImportAccount) { a.Groups = []string{"a", "b", "b"} }), true, nil},
		"other groups":             {with(func(a *core.ImportAccount) { a.Groups = []string{"a"} }), true, []string{"with other groups"}},
		"disabled":                 {with(func(a *core.ImportAccount) { a.Enabled = false }), true, []string{"with its state enabled"}},
		"another hash":             {with(func(a *core.ImportAccount) { a.PasswordHash = strings.Replace(importedHash, "0qA", "0qQ", 1) }), true, []string{"another main password"}},
		"no name":                  {core.ImportAccount{}, false, []string{"the name is empty"}},
		"no possible name":         {core.ImportAccount{Name: "two words"}, false, []string{"not a possible account name"}},
		"a name of an octet":       {core.ImportAccount{Name: "\xff"}, false, []string{"not a possible account name"}},
		"a hash for a name":        {core.ImportAccount{Name: importedHash}, false, []string{"columns mixed up"}},
		"an app password":          {core.ImportAccount{Name: app}, false, []string{"shaped like an app password"}},
		"all at once":              {core.ImportAccount{Name: "two words", Groups: []string{"", strings.Repeat("x", 65)}, PasswordHash: "hunter2"}, false, []string{"not a possible", "group 1 is empty", "group 2 has 65 characters", "PHC string"}},
		"a hash that costs a host": {core.ImportAccount{Name: "x", PasswordHash: strings.Replace(importedHash, "m=256", "m=4294967295", 1)}, false, []string{"PHC string"}},
	} {
		c, err := f.CheckImport(f.ctx, tt.a, tt.resume)
		if err != nil || len(c.Faults) != len(tt.want) {
			t.Errorf("%s: %q, want %q (%v)", what, c.Faults, tt.want, err)
			continue
		}
		if c.Equal != (tt.resume && len(tt.want) == 0) {
			t.Errorf("%s: equal is %v", what, c.Equal)
		}
		for i, words := range tt.want {
			if !strings.Contains(c.Faults[i], words) {
				t.Errorf("%s: %q, want %q", what, c.Faults[i], words)
			}
			if strings.Contains(c.Faults[i], "hunter2") || strings.Contains(c.Faults[i], "HzRL") || strings.Contains(c.Faults[i], app) {
				t.Errorf("%s: a secret is repeated: %s", what, c.Faults[i])
			}
		}
	}
}

// One account that cannot be made leaves the others of its batch unmade.
func TestImportAllOrNone(t *testing.T) {
	f := newFixture(t, nil)
	all := several(4)
	_, err := f.Import(f.ctx, all[2:3], false)
	must(t, err)
	_, err = f.Import(f.ctx, all, false)
	wantKind(t, "one exists", err, core.KindConflict)
	bad := slices.Clone(all[:2])
	bad[1].Groups = []string{""}
	_, err = f.Import(f.ctx, bad, false)
	wantKind(t, "one is invalid", err, core.KindInvalid)
	f.store.intercept(func(store.Batch) { // another node is faster
		f.store.intercept(nil)
		_, err := f.AddAccount(f.ctx, all[0].Name, nil, nil)
		must(t, err)
	})
	_, err = f.Import(f.ctx, all[:2], false)
	wantKind(t, "one is made meanwhile", err, core.KindConflict)
	for _, name := range []string{all[1].Name, all[3].Name} {
		wantKind(t, name, f.Exists(f.ctx, name), core.KindNotFound)
	}
}

// A store that fails halfway leaves whole batches; the same again goes on.
func TestImportGoesOn(t *testing.T) {
	f := newFixture(t, nil)
	all := several(10)
	_, err := f.Import(f.ctx, all[:5], true)
	must(t, err)
	f.store.refuse(store.ErrUnavailable)
	_, err = f.Import(f.ctx, all[5:], true)
	wantKind(t, "the store fails", err, core.KindUnavailable)
	f.store.refuse(nil)
	_, err = f.Import(ended(f), all[5:], true)
	wantKind(t, "the caller left", err, core.KindUnavailable)
	for _, want := range []int{5, 0} {
		if made, err := f.Import(f.ctx, all, true); err != nil || made != want {
			t.Errorf("again: made %d, want %d (%v)", made, want, err)
		}
	}
	if events := f.recorded(core.EventAccountAdded); len(events) != 10 {
		t.Errorf("%d accounts are recorded", len(events))
	}
}

// A write whose answer was lost is recorded all the same.
func TestImportAnswerLost(t *testing.T) {
	f := newFixture(t, nil)
	f.store.lose(store.ErrUnavailable)
	made, err := f.Import(f.ctx, several(3), false)
	if err != nil || made != 3 || len(f.recorded(core.EventAccountAdded)) != 3 {
		t.Errorf("made %d, recorded %d (%v)", made, len(f.recorded(core.EventAccountAdded)), err)
	}
}

// notReady is a Recorder that cannot keep events at the moment.
type notReady struct{ *fixture }

func (notReady) Ready() error { return errors.New("the disk is full") }

func TestImportNeedsRecorderAndImporter(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.opt.Recorder = notReady{f} })
	_, err := f.Import(f.ctx, several(1), false)
	wantKind(t, "the audit is full", err, core.KindUnavailable)
	g := newFixture(t, func(f *fixture) { f.opt.Directory = &mirror{} })
	_, err = g.Import(g.ctx, several(1), false)
	wantKind(t, "no importer", err, core.KindInvalid)
	_, err = g.CheckImport(g.ctx, several(1)[0], false)
	wantKind(t, "no importer", err, core.KindInvalid)
	_, err = g.Export(g.ctx, "", 1, false)
	wantKind(t, "no importer", err, core.KindInvalid)
}

// What is exported with its hashes is equal when it was imported elsewhere.
func TestExport(t *testing.T) {
	f, g := newFixture(t, nil), newFixture(t, nil)
	_, err := f.Import(f.ctx, several(7), false)
	must(t, err)
	var all []core.ImportAccount
	for after := ""; ; after = all[len(all)-1].Name {
		page, err := f.Export(f.ctx, after, 3, true)
		must(t, err)
		all = append(all, page...)
		if len(page) < 3 {
			break
		}
	}
	if len(all) != 7 || all[0].PasswordHash != importedHash {
		t.Fatalf("exported %+v", all)
	}
	_, err = g.Import(g.ctx, all, false)
	must(t, err)
	again, err := g.Export(g.ctx, "", 100, true)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
		t.Errorf("exported again %+v (%v)", again, err)
	}
	bare, err := f.Export(f.ctx, "", 100, false)
	if err != nil || strings.Contains(fmt.Sprint(bare), "argon2id") {
		t.Errorf("without hashes: %+v (%v)", bare, err)
	}
	if n := len(f.recorded(core.EventExported)); n != 1 {
		t.Errorf("%d events of hashes that were exported, want 1", n)
	}
	f.store.fail(context.DeadlineExceeded)
	_, err = f.Export(f.ctx, "", 100, false)
	wantKind(t, "the store fails", err, core.KindUnavailable)
}

// BenchmarkImport is one account, of 100,000 and more.
func BenchmarkImport(b *testing.B) {
	f := newFixture(b, nil)
	f.Engine.Close()
	f.opt.Recorder = nil
	f.open()
	batch := several(core.MaxImport)
	n := 0
	for b.Loop() {
		for i := range batch {
			batch[i].Name = fmt.Sprintf("user%09d@contoso.com", n)
			n++
		}
		if _, err := f.Import(f.ctx, batch, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "accounts/s")
}
