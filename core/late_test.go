package core_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// TestLateStore: a store that comes later is used from then on, and until then
// nobody is let in or turned away.
func TestLateStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		_, text := f.addAlain()
		must(t, f.Close())
		f.store.fail(store.ErrUnavailable)
		if _, err := core.Open(f.ctx, f.opt); core.KindOf(err) != core.KindUnavailable {
			t.Fatalf("open without LateStore: %v", err)
		}
		f.opt.LateStore = true
		f.open()
		wantReason(t, "away", f.try(text), core.ReasonUnavailable)
		wantKind(t, "Ready", f.Ready(f.ctx), core.KindUnavailable)
		f.store.fail(nil)
		time.Sleep(5 * time.Second) // of the bubble's clock
		synctest.Wait()
		must(t, f.try(text))
	})
}

// TestLateStoreSessions: a device that was switched off while the store was away is
// not told that its sessions are over, so that it says so again when they are known;
// nor is a client whose report says by the id alone which session it is of.
func TestLateStoreSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		_, text := f.addAlain()
		must(t, f.report(session.Starts, "1", f.signIn("vpn1", text), session.Report{}))
		must(t, f.report(session.Starts, "2", f.signIn("vpn1", text), session.Report{}))
		must(t, f.Close())
		f.store.fail(store.ErrUnavailable)
		f.opt.LateStore = true
		f.open()
		all := func(session.Session) bool { return true }
		wantKind(t, "away", f.ForgetSessions(f.ctx, "vpn1", all), core.KindUnavailable)
		wantKind(t, "away", f.report(session.Stopped, "2", nil, session.Report{}), core.KindUnavailable)
		f.store.fail(nil)
		time.Sleep(5 * time.Second) // of the bubble's clock
		synctest.Wait()
		f.wantSessions(2)
		must(t, f.report(session.Stopped, "2", nil, session.Report{}))
		f.wantSessions(1)
		must(t, f.ForgetSessions(f.ctx, "vpn1", all))
		f.wantSessions(0)
	})
}

// TestLateStoreIsAnothers: a store of another keyring that comes later is not
// used, and nothing is written to it.
func TestLateStoreIsAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		_, text := f.addAlain()
		must(t, f.Close())
		before := f.store.all(t)
		f.store.fail(store.ErrUnavailable)
		keys, err := keyring.New(time.Now())
		must(t, err)
		f.opt.Keyring, f.opt.LateStore = keys, true
		f.open()
		f.store.fail(nil)
		time.Sleep(5 * time.Second) // of the bubble's clock
		synctest.Wait()
		wantReason(t, "another's", f.try(text), core.ReasonUnavailable)
		must(t, f.Close())
		if now := f.store.all(t); len(now) != len(before) {
			t.Errorf("%d records became %d", len(before), len(now))
		}
	})
}
