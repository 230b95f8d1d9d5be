package core_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
)

// Rule A6 with a directory that keeps two-step verification itself: what the
// policy wants deleted is, once the directory says so or is asked again.
func TestA6DirectoryTurnsTwoStepOff(t *testing.T) {
	on := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
	off := on
	off.TwoStep = directory.Off
	for name, tt := range map[string]struct {
		watched bool
		policy  func(p *core.Policy)
		before  directory.Account // when the app password is made
		then    []directory.Account
		want    core.Reason // of an attempt once it is on again
	}{
		"watched":          {true, func(p *core.Policy) { p.OnTwoStepOff = core.Delete }, on, []directory.Account{off}, core.ReasonDeleted},
		"asked":            {false, func(p *core.Policy) { p.OnTwoStepOff = core.Delete }, on, []directory.Account{off}, core.ReasonDeleted},
		"suspended":        {true, func(p *core.Policy) {}, on, []directory.Account{off}, ""},
		"asked, suspended": {false, func(p *core.Policy) {}, on, []directory.Account{off}, ""},
		"still on":         {true, func(p *core.Policy) { p.OnTwoStepOff = core.Delete }, on, []directory.Account{on}, ""},
		"was not on":       {false, func(p *core.Policy) { p.OnTwoStepOff, p.RequireTwoStep = core.Delete, false }, off, []directory.Account{off}, ""},
		"on and off":       {true, func(p *core.Policy) { p.OnTwoStepOff, p.RequireTwoStep = core.Delete, false }, on, []directory.Account{off, on, off}, core.ReasonDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &watchedMirror{mirror: &mirror{}, says: make(chan directory.Change)}
				m.set(tt.before)
				f := newFixture(t, func(f *fixture) {
					tt.policy(&f.policy)
					f.opt.Directory = m.mirror
					if tt.watched {
						f.opt.Directory = m
					}
				})
				_, text := f.create("laptop", "")
				f.create("tablet", "")
				must(t, f.try(text))
				for _, a := range append(tt.then, on) {
					m.set(a)
					if tt.watched {
						m.says <- directory.Change{Name: alain}
					} else {
						f.pass(time.Minute)
						_ = f.try(text)
					}
					synctest.Wait()
				}
				deleted := 0
				if tt.want != "" {
					deleted = 2
				}
				if got := f.recorded(core.EventDeleted); len(got) != deleted || deleted > 0 && got[0].Actor != "directory" {
					t.Errorf("events %+v, want %d", got, deleted)
				}
				wantReason(t, "on again", f.try(text), tt.want)
			})
		})
	}
}

// While the deletion cannot be written the app password does not work, and it
// is tried again.
func TestA6DeletedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mirror{}
		account := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
		m.set(account)
		f := newFixture(t, func(f *fixture) { f.policy.OnTwoStepOff, f.opt.Directory = core.Delete, m })
		_, text := f.create("laptop", "")
		account.TwoStep = directory.Off
		m.set(account)
		f.pass(time.Minute)
		wantReason(t, "at once", f.try(text), core.ReasonTwoStepOff)
		m.fail(directory.ErrUnavailable) // before it is asked once more
		synctest.Wait()
		m.fail(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		wantReason(t, "afterwards", f.try(text), core.ReasonDeleted)
	})
}
