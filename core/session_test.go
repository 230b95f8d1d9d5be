package core_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
)

// signIn returns the token of a sign-in at client.
func (f *fixture) signIn(client, text string) []byte {
	f.t.Helper()
	g, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/" + client, Client: client})
	must(f.t, err)
	return g.Session
}

// report tells of session id at vpn1, as of now where r does not say when.
func (f *fixture) report(event session.Event, id string, token []byte, r session.Report) error {
	r.Event, r.ID, r.Client = event, id, cmp.Or(r.Client, "vpn1")
	if token != nil {
		r.Tokens = [][]byte{[]byte("the administrator's own"), token}
	}
	if r.At.IsZero() {
		r.At = f.clock()
	}
	return f.ReportSession(f.ctx, r)
}

// refOf returns whose s is.
func refOf(s session.Session) core.Ref {
	return core.Ref{ID: s.AppPassword, Name: s.AppPasswordName}
}

// sessions returns the sessions of alain.
func (f *fixture) sessions() []session.Session {
	f.t.Helper()
	all, err := f.Sessions(alain)
	must(f.t, err)
	return all
}

func (f *fixture) wantSessions(n int) []session.Session {
	f.t.Helper()
	all := f.sessions()
	if len(all) != n {
		f.t.Fatalf("%d sessions, want %d: %+v", len(all), n, all)
	}
	return all
}

// TestSessionIsKnown: what was reported is listed with the app password whose
// grant came back, and until it is over.
func TestSessionIsKnown(t *testing.T) {
	f := newFixture(t, nil)
	p, text := f.addAlain()
	token := f.signIn("vpn1", text)
	if len(token) > 253 {
		t.Fatalf("a token of %d octets fits in no Class", len(token))
	}
	must(t, f.report(session.Starts, "1", token, session.Report{Device: "xbox", Handle: []byte("h")}))
	f.pass(10 * time.Minute)
	must(t, f.report(session.GoesOn, "1", token, session.Report{Address: "10.0.0.5", Handle: []byte("h2"), HasOctets: true, OctetsIn: 1 << 40, OctetsOut: 7}))
	s := f.wantSessions(1)[0]
	if s.Account != alain || refOf(s) != p.Ref || s.Client != "vpn1" || s.Device != "xbox" || s.Address != "10.0.0.5" ||
		!s.Since.Equal(f.clock().Add(-10*time.Minute)) || s.OctetsIn != 1<<40 || s.OctetsOut != 7 || string(s.Handle) != "h2" {
		t.Errorf("listed as %+v", s)
	}
	if all, err := f.Sessions("somebody"); err != nil || len(all) != 0 {
		t.Errorf("another account has %v, %v", all, err)
	}
	if all, err := f.Sessions(strings.ToUpper(alain)); err != nil || len(all) != 1 {
		t.Errorf("the name in capitals has %v, %v", all, err)
	}
	_, err := f.Sessions("\x00")
	wantKind(t, "no possible name", err, core.KindInvalid)
	if n := f.Stats().Sessions; n != 1 {
		t.Errorf("%d are known", n)
	}
	f.reopen()
	f.wantSessions(1)
	must(t, f.report(session.Stopped, "1", token, session.Report{}))
	f.wantSessions(0)
}

// TestSessionOfALongName: a name that has no room in a token is taken from the
// report, and believed only where the token's account has it.
func TestSessionOfALongName(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	long := strings.Repeat("l", 256)
	_, err := f.AddAccount(f.ctx, long, nil, nil)
	must(t, err)
	policy := f.policy
	policy.RequireTwoStep = false
	must(t, f.SetPolicy(policy))
	_, longText, err := f.Create(f.ctx, long, core.NewAppPassword{Name: "x"})
	must(t, err)
	g, err := f.Verify(f.ctx, core.Attempt{Account: long, Proof: proof.Cleartext(longText.Canonical()), Service: "radius/vpn1", Client: "vpn1"})
	must(t, err)
	if len(g.Session) > 253 {
		t.Fatalf("a token of %d octets", len(g.Session))
	}
	must(t, f.report(session.Starts, "1", g.Session, session.Report{Account: strings.ToUpper(long)}))
	if all, err := f.Sessions(long); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	wantKind(t, "no possible name", f.report(session.Starts, "2", g.Session, session.Report{Account: "\x00"}), core.KindNotFound)
	must(t, f.report(session.Starts, "3", f.signIn("vpn1", text), session.Report{Account: long})) // the token says whose
	f.wantSessions(1)
}

// TestR26ForgedToken: a token that was given at another client ties nothing, and
// nothing is kept.
func TestR26ForgedToken(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	for name, forged := range map[string][]byte{"another client's": f.signIn("vpn2", text), "no client's": f.signIn("", text), "none": nil} {
		for _, event := range []session.Event{session.Starts, session.GoesOn, session.Stopped} {
			wantKind(t, name, f.report(event, "1", forged, session.Report{Account: alain}), core.KindNotFound)
		}
	}
	f.wantSessions(0)
}

// TestSessionDamagedRecord: S3: a record that was changed is no session, the
// engine opens, and the audit has it.
func TestSessionDamagedRecord(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.report(session.Starts, "1", f.signIn("vpn1", text), session.Report{}))
	must(t, f.Close())
	all := f.store.all(t)
	i := slices.IndexFunc(all, func(e store.Entry) bool { return strings.HasPrefix(e.Key, "session/") })
	_, err := f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: all[i].Key, Value: all[i].Value[1:]}})
	must(t, err)
	f.open()
	f.wantSessions(0)
	must(t, f.Close())
	if told := f.recorded(core.EventTamper); len(told) != 1 || !strings.Contains(told[0].Detail, all[i].Key) {
		t.Errorf("recorded %+v", told)
	}
}

// limited is a fixture whose profile allows one session at a time.
func limited(t *testing.T, pin bool) (f *fixture, text string) {
	f = newFixture(t, func(f *fixture) {
		p := f.policy.Profiles[core.DefaultProfile]
		p.Sessions, p.PinDevice = 1, pin
		f.policy.Profiles["one"] = p
	})
	f.addAlain()
	_, text = f.create("tv", "one")
	return f, text
}

// TestTooManySessions: an app password that is in use as often as its profile
// allows is refused until one of its sessions is over. Others do not count.
func TestTooManySessions(t *testing.T) {
	f, text := limited(t, false)
	_, other := f.create("laptop", "one")
	token := f.signIn("vpn1", text)
	must(t, f.report(session.Starts, "other", f.signIn("vpn1", other), session.Report{}))
	must(t, f.try(text))
	must(t, f.report(session.Starts, "1", token, session.Report{}))
	wantReason(t, "in use", f.try(text), core.ReasonTooManySessions)
	f.reopen()
	wantReason(t, "after a restart", f.try(text), core.ReasonTooManySessions)
	must(t, f.report(session.Stopped, "1", token, session.Report{}))
	must(t, f.try(text))
	must(t, f.report(session.Starts, "2", f.signIn("vpn1", text), session.Report{}))
	must(t, f.ForgetSessions(f.ctx, "vpn1", func(session.Session) bool { return true }))
	must(t, f.try(text))
	f.pass(time.Second)
	must(t, f.report(session.Starts, "3", f.signIn("vpn1", text), session.Report{Every: time.Minute}))
	wantReason(t, "in use", f.try(text), core.ReasonTooManySessions)
	f.pass(5 * time.Minute)
	f.reopen()
	must(t, f.try(text)) // its end was lost
}

// TestDeviceIsBack: what a device had at the same port before does not keep it
// out, and is replaced by its new session; any other one is not.
func TestDeviceIsBack(t *testing.T) {
	f, text := limited(t, false)
	at := func(client, device, port string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/" + client, Client: client, Device: device, Port: port})
		return err
	}
	token := f.signIn("vpn1", text)
	must(t, f.report(session.Starts, "1", token, session.Report{Device: "tv", Port: "7"}))
	for _, place := range [][3]string{{"vpn1", "tv", "8"}, {"vpn1", "xbox", "7"}, {"vpn2", "tv", "7"}, {"vpn1", "", "7"}, {"vpn1", "tv", ""}, {"vpn1", "", ""}} {
		wantReason(t, fmt.Sprint(place), at(place[0], place[1], place[2]), core.ReasonTooManySessions)
	}
	must(t, at("vpn1", "tv", "7"))
	must(t, f.report(session.Starts, "2", token, session.Report{Device: "tv", Port: "7"}))
	f.wantSessions(1)
	must(t, f.report(session.Stopped, "2", token, session.Report{}))
	f.wantSessions(0)
	must(t, at("vpn2", "xbox", "1"))
	must(t, f.report(session.GoesOn, "1", token, session.Report{})) // it was there after all
	f.wantSessions(1)
	wantReason(t, "two behind one address", at("vpn2", "xbox", "1"), core.ReasonTooManySessions)
}

// TestTooManySessionsAndPin: a device that is not its own is told of as that,
// and nothing is pinned by an attempt that is refused.
func TestTooManySessionsAndPin(t *testing.T) {
	f, text := limited(t, true)
	from := func(device string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Client: "vpn1", Device: device})
		return err
	}
	g, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Client: "vpn1", Device: "tv"})
	must(t, err)
	must(t, f.report(session.Starts, "1", g.Session, session.Report{Device: "tv"}))
	wantReason(t, "another device", from("xbox"), core.ReasonPinMismatch)
	wantReason(t, "its own", from("tv"), core.ReasonTooManySessions)
	_, err = f.Repin(f.ctx, alain, "tv")
	must(t, err)
	wantReason(t, "the next one", from("xbox"), core.ReasonTooManySessions)
	must(t, f.report(session.Stopped, "1", g.Session, session.Report{}))
	must(t, from("tv")) // the refused one was not pinned
}

// TestSessionsPolicy: a number of sessions that cannot be is refused.
func TestSessionsPolicy(t *testing.T) {
	for n, want := range map[int]core.Kind{-1: core.KindInvalid, 0: 0, 1: 0, 64: 0, 65: core.KindInvalid} {
		p := core.DefaultPolicy()
		profile := p.Profiles[core.DefaultProfile]
		profile.Sessions = n
		p.Profiles[core.DefaultProfile] = profile
		wantKind(t, fmt.Sprint(n), p.Validate(), want)
	}
}

// TestSessionUnavailable: while nobody can tell whose a session is, nothing is
// said to be recorded.
func TestSessionUnavailable(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	token := f.signIn("vpn1", text)
	f.opt.Directory = &mirror{down: fmt.Errorf("its own store: %w", store.ErrNotFound)}
	f.reopen()
	wantKind(t, "directory down", f.report(session.Starts, "1", token, session.Report{}), core.KindUnavailable)
	f.opt.Directory = local.New(f.store, f.keys, local.Options{Now: f.clock})
	f.reopen()
	f.store.refuse(store.ErrFull)
	wantKind(t, "disk full", f.report(session.Starts, "1", token, session.Report{}), core.KindUnavailable)
	wantKind(t, "disk full", f.ForgetSessions(f.ctx, "vpn1", func(session.Session) bool { return true }), core.KindUnavailable)
	must(t, f.Close()) // which that does not hold up
	f.store.refuse(nil)
	f.open()
	must(t, f.report(session.Starts, "1", token, session.Report{}))
	release := make(chan struct{})
	f.store.intercept(func(store.Batch) { <-release })
	defer close(release)
	wantKind(t, "the caller left", f.ReportSession(ended(f), session.Report{Event: session.Stopped, Client: "vpn1", ID: "1", At: f.clock()}), core.KindUnavailable)
}
