package core_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// twoNodes are two nodes over one store, and the text of an app password that may
// be in use once.
func twoNodes(t *testing.T) (a, b *fixture, text string) {
	a = newFixture(t, func(f *fixture) {
		p := f.policy.Profiles[core.DefaultProfile]
		p.Sessions = 1
		f.policy.Profiles["one"] = p
		f.opt.Node = "a"
	})
	a.addAlain()
	_, text = a.create("tv", "one")
	b = a.node("b")
	synctest.Wait()
	return a, b, text
}

// TestSessionsOfOtherNodes: a session is known, counts and is over at every node
// that shares the store, whichever of them hears of it.
func TestSessionsOfOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, text := twoNodes(t)
		token := a.signIn("vpn1", text)
		must(t, a.report(session.Starts, "1", token, session.Report{Device: "tv"}))
		synctest.Wait()
		b.wantSessions(1)
		wantReason(t, "in use elsewhere", b.try(text), core.ReasonTooManySessions)
		must(t, a.report(session.GoesOn, "1", token, session.Report{HasOctets: true, OctetsIn: 1 << 40}))
		time.Sleep(time.Minute) // of the bubble's clock: it is written
		synctest.Wait()
		if s := b.wantSessions(1)[0]; s.OctetsIn != 1<<40 {
			t.Errorf("there it is %+v", s)
		}
		b.reopen()
		synctest.Wait()
		must(t, a.report(session.Stopped, "1", token, session.Report{}))
		synctest.Wait()
		b.wantSessions(0)
		must(t, b.try(text))
		a.pass(time.Second)
		b.pass(time.Second)

		must(t, b.report(session.Starts, "2", b.signIn("vpn1", text), session.Report{}))
		synctest.Wait()
		must(t, a.report(session.Stopped, "2", nil, session.Report{})) // its client goes to the other one now
		synctest.Wait()
		b.wantSessions(0)
		a.pass(time.Second)
		b.pass(time.Second)
		must(t, b.report(session.Starts, "3", b.signIn("vpn1", text), session.Report{}))
		synctest.Wait()
		must(t, a.ForgetSessions(a.ctx, "vpn1", func(session.Session) bool { return true }))
		synctest.Wait()
		b.wantSessions(0)
		must(t, a.Close())
		must(t, b.Close())
	})
}

// TestSessionsOfANodeThatLeft: what another node hears of is not taken from the store
// here because nobody told of it, and one that comes back finds it there.
func TestSessionsOfANodeThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, text := twoNodes(t)
		must(t, a.report(session.Starts, "1", a.signIn("vpn1", text), session.Report{Every: time.Minute}))
		synctest.Wait()
		b.wantSessions(1)
		b.pass(time.Hour)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.wantSessions(0) // nothing was heard for too long
		a.wantSessions(1)
		a.reopen()
		a.wantSessions(1)
		b.pass(48 * time.Hour)
		b.reopen() // as that node never came back
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		must(t, a.Close())
		must(t, b.Close())
		for _, e := range a.store.all(t) {
			if e.Key[:4] == "sess" {
				t.Errorf("%s is left for ever", e.Key)
			}
		}
	})
}

// TestSessionsAfterAnOutage: what another node wrote while the store was away is
// known once it is back.
func TestSessionsAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, text := twoNodes(t)
		_, other := a.create("laptop", "")
		for n := range 3 {
			must(t, a.report(session.Starts, fmt.Sprint(n), a.signIn("vpn1", other), session.Report{}))
		}
		must(t, b.report(session.Starts, "of b", b.signIn("vpn1", other), session.Report{}))
		synctest.Wait()
		b.wantSessions(4)
		must(t, b.Close())
		cut := &deafStore{faultyStore: b.store, to: "session/"}
		b.opt.Store = cut
		b.open()
		synctest.Wait()
		cut.cut()
		b.store.fail(store.ErrUnavailable)
		must(t, a.report(session.Stopped, "1", nil, session.Report{}))
		must(t, a.report(session.Starts, "tv", a.signIn("vpn1", text), session.Report{}))
		time.Sleep(10 * time.Second)
		b.wantSessions(4)
		b.store.fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.wantSessions(4)
		wantReason(t, "in use elsewhere", b.try(text), core.ReasonTooManySessions)
		must(t, a.report(session.Stopped, "tv", nil, session.Report{}))
		synctest.Wait()
		b.wantSessions(3)
		must(t, a.Close())
		must(t, b.Close())
	})
}

// TestSessionOfWhatWasMadeElsewhere: the session of an app password that another
// node has made, and that is not known here yet, is not ended; of a deleted one it
// is.
func TestSessionOfWhatWasMadeElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(t, func(f *fixture) { f.opt.Store, f.opt.Node = slowStore{f.store}, "b" })
		_, first := b.addAlain()
		time.Sleep(10 * time.Second) // of the bubble's clock: all news have come
		must(t, b.try(first))
		x := &ender{}
		b.EndSessionsWith(x)
		a := b.node("a")
		made, text := a.create("elsewhere", "")
		must(t, b.report(session.Starts, "1", a.signIn("vpn1", text), session.Report{Device: "tv"}))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := x.were(); len(got) != 0 {
			t.Errorf("asked to end %q", got)
		}
		if s := b.wantSessions(1)[0]; s.AppPasswordName != "elsewhere" {
			t.Errorf("it is %+v", s)
		}
		_, err := a.Delete(a.ctx, alain, made.ID)
		must(t, err)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.wantSessions(0)
		must(t, a.Close())
		must(t, b.Close())
	})
}
