package core_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

// TestDeleteAndAddAgain: who has the name next gets nothing of who had it.
func TestDeleteAndAddAgain(t *testing.T) {
	f, uri, c := enrolled(t, nil)
	text := c.FirstText.Canonical()
	must(t, f.try(text))
	must(t, f.Flush(f.ctx))
	must(t, f.try(text))
	must(t, f.DeleteAccount(f.ctx, alain))
	wantReason(t, "deleted", f.try(text), core.ReasonUnknownAccount)
	wantKind(t, "deleting it again", f.DeleteAccount(f.ctx, alain), core.KindNotFound)
	must(t, f.Flush(f.ctx))

	a, err := f.AddAccount(f.ctx, alain, nil, []byte("another's main password"))
	if err != nil || a.TwoStep || a.AppPasswords != 0 || a.Recovery != 0 {
		t.Fatalf("added %+v (%v)", a, err)
	}
	for _, state := range []string{"new", "reopened", "with two-step verification"} {
		wantReason(t, state, f.try(text), core.ReasonWrong)
		list, err := f.List(f.ctx, alain)
		if err != nil || len(list) != b2i(state == "with two-step verification") {
			t.Errorf("%s: listed %+v (%v)", state, list, err)
		}
		for _, code := range []string{codeOf(t, uri, f.clock()), c.Recovery[0]} {
			if f.CheckCode(f.ctx, alain, code) == nil {
				t.Errorf("%s: the code %s of the one before works", state, code)
			}
		}
		attempts, err := f.Attempts(f.ctx, alain)
		must(t, err)
		for _, at := range attempts {
			if at.Reason == "" || at.AppPassword.ID != "" {
				t.Errorf("%s: the history has %+v of the one before", state, at)
			}
		}
		if state == "new" {
			f.reopen()
		} else if state == "reopened" {
			f.turnOn()
		}
	}
	_, err = f.AddAccount(f.ctx, strings.ToUpper(alain), nil, nil)
	wantKind(t, "adding it twice", err, core.KindConflict)
}

// TestDeleteDuringFlush: what is being written while the account is deleted
// does not come after.
func TestDeleteDuringFlush(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.try(text))
	var deletion sync.WaitGroup
	begun := make(chan struct{})
	f.store.intercept(func(b store.Batch) {
		if b[0].Key != "activity/"+alain || b[0].Action != store.Put {
			return
		}
		f.store.intercept(nil)
		deletion.Go(func() {
			close(begun)
			if err := f.DeleteAccount(f.ctx, alain); err != nil {
				t.Errorf("deleting: %v", err)
			}
		})
		<-begun
	})
	must(t, f.Flush(f.ctx))
	deletion.Wait()
	must(t, f.Flush(f.ctx))
	for _, e := range f.store.all(t) {
		if e.Key == "activity/"+alain {
			t.Error("the history of a deleted account is in the store")
		}
	}
}

// TestReplacedInTheDirectory: the same name with another ID is somebody else.
func TestReplacedInTheDirectory(t *testing.T) {
	m := &mirror{}
	f := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	m.set(directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On})
	made, text := f.create("laptop", "")
	must(t, f.try(text))
	must(t, f.Flush(f.ctx))
	f.reopen()

	m.set(directory.Account{ID: "2", Name: alain, Enabled: true, TwoStep: directory.On})
	wantReason(t, "the one before", f.try(text), core.ReasonWrong)
	if list, err := f.List(f.ctx, alain); err != nil || len(list) != 0 {
		t.Errorf("listed %+v (%v) of the one before", list, err)
	}
	if attempts, err := f.Attempts(f.ctx, alain); err != nil || len(attempts) != 0 {
		t.Errorf("attempts %+v (%v) of the one before", attempts, err)
	}
	_, err := f.Resume(f.ctx, alain, made.ID)
	wantKind(t, "resuming the one before's", err, core.KindNotFound)
	_, second := f.create("laptop", "")
	must(t, f.try(second))
	wantReason(t, "the one before, later", f.try(text), core.ReasonWrong)
	must(t, f.Flush(f.ctx))
	attempts, err := f.Attempts(f.ctx, alain)
	must(t, err)
	for _, a := range attempts {
		if a.AppPassword == made.Ref {
			t.Errorf("the history has %+v of the one before", a)
		}
	}

	// Back under the old ID: a record that was claimed is gone for good.
	m.set(directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On})
	f.pass(time.Minute)
	wantReason(t, "the first owner again", f.try(text), core.ReasonWrong)
	wantReason(t, "the second owner's", f.try(second), core.ReasonWrong)
}

// TestDeleteAccountHalfway: a deletion that broke off can be repeated, and
// nothing works in between.
func TestDeleteAccountHalfway(t *testing.T) {
	for at := range 3 {
		f := newFixture(t, nil)
		_, text := f.addAlain()
		must(t, f.try(text))
		must(t, f.Flush(f.ctx))
		n := 0
		f.store.intercept(func(store.Batch) {
			if n == at {
				f.store.fail(store.ErrUnavailable)
			}
			n++
		})
		err := f.DeleteAccount(f.ctx, alain)
		f.store.intercept(nil)
		f.store.fail(nil)
		if n > at+1 {
			t.Fatalf("%d writes, want a stop after %d", n, at+1)
		}
		if err == nil && at < 2 {
			t.Fatalf("a deletion that broke off after %d writes was acknowledged", at+1)
		}
		if f.try(text) == nil {
			t.Errorf("after %d writes its app password works", at+1)
		}
		if at < 2 {
			must(t, f.DeleteAccount(f.ctx, alain))
		}
		for _, e := range f.store.all(t) {
			if e.Key == "activity/"+alain || e.Key == "local/"+alain {
				t.Errorf("after %d writes and once more: %s is left", at+1, e.Key)
			}
		}
	}
}

// TestAccounts lists what there is.
func TestAccounts(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain("staff")
	_, err := f.AddAccount(f.ctx, "Bob", nil, nil)
	must(t, err)
	all, err := f.Accounts(f.ctx, "", 10)
	must(t, err)
	if len(all) != 2 || all[0].Name != alain || !all[0].TwoStep || all[0].AppPasswords != 1 || all[1].Name != "bob" || all[1].TwoStep {
		t.Errorf("listed %+v", all)
	}
	if rest, err := f.Accounts(f.ctx, alain, 10); err != nil || len(rest) != 1 {
		t.Errorf("after the first: %+v (%v)", rest, err)
	}
	must(t, f.Exists(f.ctx, "ALAIN@contoso.com"))
	wantKind(t, "nobody", f.Exists(f.ctx, "nobody"), core.KindNotFound)
	_, err = f.AddAccount(f.ctx, otherText(t), nil, nil)
	wantKind(t, "a text as a name", err, core.KindInvalid)

	g := newFixture(t, func(f *fixture) { f.opt.Directory = &mirror{} })
	_, err = g.AddAccount(g.ctx, "bob", nil, nil)
	wantKind(t, "a directory that is kept elsewhere", err, core.KindInvalid)
	_, err = g.Accounts(g.ctx, "", 10)
	wantKind(t, "a directory that lists nothing", err, core.KindInvalid)
}
