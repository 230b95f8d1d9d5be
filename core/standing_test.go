package core_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// Standing goes by the directory alone: no app password and no two-step
// verification is needed, and an inability is none of the account's.
func TestStanding(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	must(t, f.Standing(f.ctx, strings.ToUpper(alain)))
	wantKind(t, "who asked has left", f.Standing(ended(f), alain), core.KindUnavailable)
	for account, want := range map[string]core.Kind{"nobody": core.KindNotFound, "": core.KindInvalid, "\xff": core.KindInvalid} {
		if err := f.Standing(f.ctx, account); core.KindOf(err) != want {
			t.Errorf("%q: %v, want %v", account, err, want)
		}
	}
	must(t, f.SetEnabled(f.ctx, alain, false))
	if err := f.Standing(f.ctx, alain); core.KindOf(err) != core.KindDenied || core.ReasonOf(err) != core.ReasonAccountDisabled {
		t.Errorf("disabled: %v", err)
	}
	must(t, f.SetEnabled(f.ctx, alain, true))
	f.reopen() // so that it is not in the cache
	f.store.fail(fmt.Errorf("out of reach: %w", store.ErrUnavailable))
	defer f.store.fail(nil)
	if err := f.Standing(f.ctx, alain); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("a silent store: %v", err)
	}
}

// A refusal of a bridge stands in the history, whoever it is about, and what was
// presented is not looked at.
func TestRefuse(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for _, account := range []string{alain, "nobody", "\xff"} {
		a := core.Attempt{Account: account, Proof: proof.Cleartext(text), Service: "pam/sudo", Device: "tty1"}
		err := f.Refuse(f.ctx, a, core.ReasonOutOfScope)
		if core.KindOf(err) != core.KindDenied || core.ReasonOf(err) != core.ReasonOutOfScope {
			t.Errorf("%q: %v", account, err)
		}
	}
	all, err := f.Attempts(f.ctx, alain)
	must(t, err)
	if len(all) != 1 || all[0].Service != "pam/sudo" || all[0].Device != "tty1" || all[0].AppPassword.ID != "" {
		t.Errorf("%+v", all)
	}
	if s := all[0].Sentence(); !strings.Contains(s, "list it in [pam] services") {
		t.Errorf("%q", s)
	}
	with := core.AttemptEntry{Reason: core.ReasonOutOfScope, AppPassword: core.Ref{ID: "1"}}
	if with.Sentence() != core.ReasonOutOfScope.Sentence() || (core.AttemptEntry{}).Sentence() != "" {
		t.Errorf("%q and %q", with.Sentence(), core.AttemptEntry{}.Sentence())
	}
}
