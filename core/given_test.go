package core_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
)

// A valued is a proof whose method cannot be called of a nil pointer.
type valued struct{ proof.CHAP }

func (valued) Method() proof.Method { return proof.MethodCHAP }

// TestNilProof: a pointer that is nil is no proof, whatever interface it is in, and
// a mistake that is told as that.
func TestNilProof(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCHAP}}
	})
	f.addAlain()
	f.create("switch", "chap")
	for _, account := range []string{alain, "nobody", "\xff"} {
		for _, p := range []proof.Proof{(*proof.CHAP)(nil), (*proof.MSCHAPv2)(nil), (*valued)(nil), (*proof.Cleartext)(nil), (*foreign)(nil), nil} {
			a := core.Attempt{Account: account, Proof: p, Service: "radius/vpn1"}
			what := fmt.Sprintf("%T at %q", p, account)
			_, err := f.Verify(f.ctx, a)
			wantReason(t, what, err, core.ReasonMalformed)
			if p != nil && !strings.Contains(err.Error(), "the proof is a nil pointer") {
				t.Errorf("%s: %v", what, err)
			}
			wantReason(t, "refused, "+what, f.Refuse(f.ctx, a, core.ReasonOutOfScope), core.ReasonOutOfScope)
		}
	}
}

// TestNothingGiven: what is required and missing is told as that, and neither a
// grant nor recorded as one.
func TestNothingGiven(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.try(text))
	_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text)})
	wantReason(t, "at no service", err, core.ReasonMalformed)
	if !strings.Contains(err.Error(), "names no service") {
		t.Errorf("at no service: %v", err)
	}
	granted := func() (n int) {
		for _, ev := range f.recorded(core.EventAttempt) {
			n += b2i(ev.Reason == "")
		}
		return n
	}
	before := granted()
	if decided, err := f.VerifyText(&core.Attempt{}, []byte(alain), []byte(text), &core.Grant{}); decided || err != nil {
		t.Errorf("a text at no service: %v, %v", decided, err)
	}
	for what, err := range map[string]error{
		"no attempt": second(f.VerifyText(nil, []byte(alain), []byte(text), &core.Grant{})),
		"no grant":   second(f.VerifyText(&core.Attempt{Service: "radius/vpn1"}, []byte(alain), []byte(text), nil)),
	} {
		wantReason(t, what, err, core.ReasonMalformed)
	}
	wantReason(t, "refused for no reason", f.Refuse(f.ctx, core.Attempt{Account: alain, Service: "pam/sshd"}, ""), core.ReasonUnavailable)
	if granted() != before {
		t.Errorf("recorded %+v", f.recorded(core.EventAttempt))
	}
	wantKind(t, "which sessions", f.ForgetSessions(f.ctx, "vpn1", nil), core.KindInvalid)
	token := f.signIn("vpn1", text)
	wantKind(t, "no session", f.report(session.Starts, "", token, session.Report{}), core.KindInvalid)
	wantKind(t, "no event", f.report(0, "1", token, session.Report{}), core.KindInvalid)
	wantKind(t, "no known event", f.report(session.Stopped+1, "1", token, session.Report{}), core.KindInvalid)
	f.wantSessions(0)
	for name, edit := range map[string]func(*core.Options){
		"store":     func(o *core.Options) { o.Store = (*faultyStore)(nil) },
		"directory": func(o *core.Options) { o.Directory = (*mirror)(nil) },
		"recorder":  func(o *core.Options) { o.Recorder = (*fixture)(nil) },
		"guard":     func(o *core.Options) { o.Guard = (*lookingGuard)(nil) },
	} {
		opt := f.opt
		edit(&opt)
		_, err := core.Open(f.ctx, opt)
		wantKind(t, name, err, core.KindInvalid)
		if err != nil && !strings.Contains(err.Error(), "is a nil pointer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSessionWithoutATime: a report that does not say when it was so, or says it
// of the time to come, is of now.
func TestSessionWithoutATime(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for id, at := range map[string]time.Time{"1": {}, "2": f.clock().Add(time.Hour)} {
		must(t, f.ReportSession(f.ctx, session.Report{Event: session.Starts, Client: "vpn1", ID: id, Tokens: [][]byte{f.signIn("vpn1", text)}, At: at, For: -time.Hour}))
	}
	for _, s := range f.wantSessions(2) {
		if !s.Since.Equal(f.clock()) {
			t.Errorf("since %v, and it is %v", s.Since, f.clock())
		}
	}
}

// A leavingGuard lets the caller leave while it is asked.
type leavingGuard struct{ leave context.CancelFunc }

func (*leavingGuard) Asks() bool { return true }

func (g *leavingGuard) Check(context.Context, core.Attempt, core.Grant) (core.Admission, error) {
	g.leave()
	return core.Admission{Allow: true}, nil
}

// TestEndedContext: who has left is granted nothing, also of what is at hand, and
// nothing of it is recorded as a grant. A wrong text is no "no" either.
func TestEndedContext(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
	})
	f.addAlain()
	_, text := f.create("tv", "pinned")
	_, plain := f.create("laptop", "")
	try := func(ctx context.Context, text string) error {
		_, err := f.Verify(ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: "tv"})
		return err
	}
	must(t, try(f.ctx, text))
	_, err := f.Repin(f.ctx, alain, "tv")
	must(t, err)
	wantReason(t, "wrong", try(f.ctx, otherText(t)), core.ReasonWrong) // which reads the record again
	f.store.count()
	wantReason(t, "right", try(ended(f), text), core.ReasonUnavailable)
	wantReason(t, "wrong", try(ended(f), otherText(t)), core.ReasonUnavailable)
	if gets, applied := f.store.count(); len(gets)+applied > 0 {
		t.Errorf("read %q and wrote %d times for nobody", gets, applied)
	}
	must(t, f.Close())
	g := &leavingGuard{}
	f.opt.Guard = g
	f.open()
	for what, text := range map[string]string{"to be pinned": text, "another": plain} {
		var ctx context.Context
		ctx, g.leave = context.WithCancel(f.ctx)
		wantReason(t, "left meanwhile, "+what, try(ctx, text), core.ReasonUnavailable)
	}
	all, err := f.List(f.ctx, alain)
	must(t, err)
	if all[1].Pin != "" {
		t.Errorf("pinned to %q", all[1].Pin)
	}
	last := f.recorded(core.EventAttempt)
	if r := last[len(last)-1].Reason; r != core.ReasonUnavailable {
		t.Errorf("recorded as %q", r)
	}
}

// TestPinnedTooLate: where the pin of a first device is written so slowly that nobody
// waits for the answer any more, that is what is recorded, and no use; the device is
// let in once it asks again.
func TestPinnedTooLate(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
	})
	f.addAlain()
	_, text := f.create("tv", "pinned")
	try := func(ctx context.Context) error {
		_, err := f.Verify(ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: "tv"})
		return err
	}
	ctx, leave := context.WithCancel(f.ctx)
	f.store.follow(leave)
	wantReason(t, "written too late", try(ctx), core.ReasonUnavailable)
	f.store.follow(nil)
	events := f.recorded(core.EventAttempt)
	if last := events[len(events)-1]; last.Reason != core.ReasonUnavailable || last.Detail != "right, but not decided in time for its device" {
		t.Errorf("recorded as %+v", last)
	}
	all, err := f.List(f.ctx, alain)
	must(t, err)
	if all[1].Pin != "tv" || all[1].Uses != 0 {
		t.Errorf("it is %+v", all[1])
	}
	must(t, try(f.ctx))
}
