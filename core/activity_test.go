package core_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// TestA12LastUse: when, service, address, device, method and how often, from
// the moment of the sign-in on, and the same once it is written and read again.
func TestA12LastUse(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	if p := f.listed(first.ID); p.LastUse != nil || p.Uses != 0 {
		t.Errorf("before its first use: %+v", p)
	}
	var want core.Use
	for i := range 5 {
		f.pass(time.Minute)
		want = core.Use{
			Time: f.clock(), Service: fmt.Sprint("radius/vpn", i), Source: fmt.Sprint("192.0.2.", i+1),
			Device: fmt.Sprint("00:11:22:33:44:5", i), Method: proof.MethodCleartext,
		}
		_, err := f.Verify(f.ctx, core.Attempt{
			Account: alain, Proof: proof.Cleartext(text), Service: want.Service, Source: netip.MustParseAddr(want.Source), Device: want.Device,
		})
		must(t, err)
		wantReason(t, "a failure", f.try(otherText(t)), core.ReasonWrong)
		if i == 2 {
			must(t, f.Flush(f.ctx))
		}
	}
	for _, state := range []string{"collected", "written", "read again"} {
		p := f.listed(first.ID)
		if p.Uses != 5 || p.LastUse == nil || *p.LastUse != want {
			t.Errorf("%s: %d uses, the last %+v, want 5 and %+v", state, p.Uses, p.LastUse, want)
		}
		attempts, err := f.Attempts(f.ctx, alain)
		must(t, err)
		if len(attempts) != 10 || attempts[0].Reason != core.ReasonWrong || attempts[1].Service != want.Service ||
			attempts[1].AppPassword != first.Ref || attempts[9].Service != "radius/vpn0" {
			t.Errorf("%s: attempts %+v", state, attempts)
		}
		if state == "collected" {
			must(t, f.Flush(f.ctx))
		} else {
			f.reopen()
		}
	}
}

// TestA12NoWrite: a hundred sign-ins cost no write, and one Flush a few.
func TestA12NoWrite(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.try(text))
	must(t, f.Flush(f.ctx))
	f.store.count()
	for range 100 {
		must(t, f.try(text))
	}
	if _, applied := f.store.count(); applied != 0 {
		t.Errorf("sign-ins wrote %d times", applied)
	}
	must(t, f.Flush(f.ctx))
	if _, applied := f.store.count(); applied != 1 {
		t.Errorf("a batch took %d writes, want 1", applied)
	}
	must(t, f.Flush(f.ctx))
	if _, applied := f.store.count(); applied != 0 {
		t.Errorf("an empty batch took %d writes", applied)
	}
}

// TestA12Nodes: the uses on two nodes add up, also when both write at once.
func TestA12Nodes(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	g := f.another()
	var all sync.WaitGroup
	for _, node := range []*fixture{f, g} {
		all.Go(func() {
			for i := range 60 {
				if err := node.try(text); err != nil {
					t.Errorf("sign-in: %v", err)
				}
				if i%4 == 0 {
					node.Flush(f.ctx) // loses to the other node at times, and tries again
				}
			}
		})
	}
	all.Wait()
	must(t, f.Flush(f.ctx))
	must(t, g.Flush(f.ctx))
	for name, node := range map[string]*fixture{"one": f, "other": g} {
		if got := node.listed(first.ID).Uses; got != 120 {
			t.Errorf("the %s node counts %d uses, want 120", name, got)
		}
	}
}

// TestA12WhileWriting: List during a Flush counts nothing twice and misses
// nothing, and neither does a Flush among sign-ins.
func TestA12WhileWriting(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	const signIns = 400
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					must(t, f.Flush(f.ctx))
				}
			}
		})
	}
	var last uint64
	for i := range signIns {
		must(t, f.try(text))
		if got := f.listed(first.ID).Uses; got != uint64(i+1) {
			t.Fatalf("after %d sign-ins %d uses are listed (%d before)", i+1, got, last)
		}
	}
	close(done)
	all.Wait()
	f.reopen()
	if got := f.listed(first.ID).Uses; got != signIns {
		t.Errorf("%d uses after all, want %d", got, signIns)
	}
}

// TestA12LostAnswer: a batch that was written although the store said
// otherwise is not counted a second time; one that was not is kept.
func TestA12LostAnswer(t *testing.T) {
	for name, fail := range map[string]func(s *faultyStore, err error){"written": (*faultyStore).lose, "not written": (*faultyStore).refuse} {
		f := newFixture(t, nil)
		first, text := f.addAlain()
		must(t, f.try(text))
		must(t, f.Flush(f.ctx))
		for range 3 {
			must(t, f.try(text))
		}
		fail(f.store, store.ErrUnavailable)
		if err := f.Flush(f.ctx); name == "not written" {
			wantKind(t, name, err, core.KindUnavailable)
		}
		must(t, f.try(text))
		fail(f.store, nil)
		f.reopen()
		if got := f.listed(first.ID).Uses; got != 5 {
			t.Errorf("%s: %d uses, want 5", name, got)
		}
		if attempts, err := f.Attempts(f.ctx, alain); err != nil || len(attempts) != 5 {
			t.Errorf("%s: %d attempts (%v), want 5", name, len(attempts), err)
		}
	}
}

// TestFlushAndLimit: writing last uses and refusing at the limit, which asks
// for them, do not wait for each other for ever.
func TestFlushAndLimit(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.Limit = 1 })
	_, text := f.addAlain()
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			f.pass(25 * time.Hour) // so that each Flush writes the account's record, too
			if err := f.try(text); err != nil {
				t.Errorf("sign-in: %v", err)
			}
			var all sync.WaitGroup
			all.Go(func() { f.Flush(f.ctx) })
			all.Go(func() {
				_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "one more"})
				if !errors.As(err, new(*core.LimitError)) {
					t.Errorf("at the limit: %v", err)
				}
			})
			all.Wait()
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("Flush and Create wait for each other")
	}
}

// TestHistoryFromBefore: what happened at an account before it had a record is
// not lost when it gets one.
func TestHistoryFromBefore(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.AddAccount(f.ctx, alain, nil, []byte(mainPassword))
	must(t, err)
	wantReason(t, "too early", f.try(mainPassword), core.ReasonMainPasswordRefused)
	must(t, f.Flush(f.ctx))
	c := f.turnOn()
	for i := range 3 {
		must(t, f.try(c.FirstText.Canonical()))
		must(t, f.Flush(f.ctx))
		attempts, err := f.Attempts(f.ctx, alain)
		must(t, err)
		if len(attempts) != i+2 || attempts[i+1].Reason != core.ReasonMainPasswordRefused {
			t.Errorf("after %d sign-ins the history is %+v", i+1, attempts)
		}
	}
}

// TestHistoryIsBounded: the latest 32 attempts are kept.
func TestHistoryIsBounded(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for i := range 100 {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: fmt.Sprint("pam/", i)})
		must(t, err)
		if i%40 == 0 {
			must(t, f.Flush(f.ctx))
		}
	}
	for range 2 {
		attempts, err := f.Attempts(f.ctx, alain)
		must(t, err)
		if len(attempts) != 32 || attempts[0].Service != "pam/99" || attempts[31].Service != "pam/68" {
			t.Errorf("%d attempts, the first %+v", len(attempts), attempts[0])
		}
		f.reopen()
	}
}

// TestRecorderFails: an attempt that cannot be recorded is not granted, and is
// no use.
func TestRecorderFails(t *testing.T) {
	fail := errors.New("disk full")
	f := newFixture(t, nil)
	first, text := f.addAlain()
	must(t, f.Close())
	recorder := failing{err: &fail}
	f.opt.Recorder = recorder
	f.open()
	wantReason(t, "not recorded", f.try(text), core.ReasonUnavailable)
	fail = nil
	if got := f.listed(first.ID).Uses; got != 0 {
		t.Errorf("%d uses, want none", got)
	}
	must(t, f.try(text))
}

type failing struct{ err *error }

func (r failing) Record(core.Event) error { return *r.err }
