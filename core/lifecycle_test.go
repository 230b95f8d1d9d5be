package core_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

const day = 24 * time.Hour

// TestA8Delete: one or all, at once and for good.
func TestA8Delete(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	second, other := f.create("laptop", "")
	ref, err := f.Delete(f.ctx, alain, first.ID)
	if err != nil || ref != first.Ref {
		t.Errorf("deleted %v (%v), want %v", ref, err, first.Ref)
	}
	wantReason(t, "the deleted one", f.try(text), core.ReasonDeleted)
	must(t, f.try(other))
	_, err = f.Delete(f.ctx, alain, first.ID)
	wantKind(t, "deleting it again", err, core.KindNotFound)

	third, _ := f.create("tablet", "")
	gone, err := f.DeleteAll(f.ctx, alain)
	if want := []core.Ref{second.Ref, third.Ref}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("deleted %v (%v), want %v", gone, err, want)
	}
	f.reopen()
	wantReason(t, "after all were deleted", f.try(other), core.ReasonDeleted)
	for _, undo := range []func(string) error{
		func(id string) error { _, err := f.Resume(f.ctx, alain, id); return err },
		func(id string) error { _, _, err := f.Rotate(f.ctx, alain, id, time.Hour); return err },
		func(id string) error { _, err := f.Repin(f.ctx, alain, id); return err },
	} {
		wantKind(t, "an undo", undo(second.ID), core.KindNotFound)
	}
	if got := len(f.recorded(core.EventDeleted)); got != 3 {
		t.Errorf("%d deletions recorded, want 3", got)
	}
}

// TestA8DeleteAmongSignIns: no sign-in that begins after Delete returned
// succeeds, whatever was being read then.
func TestA8DeleteAmongSignIns(t *testing.T) {
	for name, pinned := range map[string]bool{"unpinned": false, "pinned": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(f *fixture) {
				p := f.policy.Profiles[core.DefaultProfile]
				p.PinDevice = pinned
				f.policy.Profiles[core.DefaultProfile] = p
			})
			f.addAlain()
			attempt := core.Attempt{Account: alain, Service: "radius/vpn1", Device: "00:11:22:33:44:55"}
			for i := range 30 {
				made, text := f.create(fmt.Sprintf("device %d", i), "")
				attempt := attempt
				attempt.Proof = proof.Cleartext(text)
				stop := make(chan struct{})
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
								f.Verify(f.ctx, attempt)
							}
						}
					})
				}
				_, err := f.Delete(f.ctx, alain, made.ID)
				must(t, err)
				for range 20 {
					_, err := f.Verify(f.ctx, attempt)
					if err == nil {
						t.Error("it worked after its deletion was answered")
					}
				}
				close(stop)
				all.Wait()
			}
		})
	}
}

// TestA9HelpDesk: whoever asks may list and delete anyone's, and is recorded.
func TestA9HelpDesk(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	ctx := core.WithActor(f.ctx, "help desk")
	list, err := f.List(ctx, "ALAIN@contoso.com")
	if err != nil || len(list) != 1 || list[0].Ref != first.Ref {
		t.Fatalf("listed %+v (%v), want %v", list, err, first.Ref)
	}
	_, err = f.Delete(ctx, "Alain@Contoso.com", first.Name)
	must(t, err)
	wantReason(t, "the deleted one", f.try(text), core.ReasonDeleted)
	deleted := f.recorded(core.EventDeleted)
	if len(deleted) != 1 || deleted[0].Actor != "help desk" || deleted[0].Account != alain || deleted[0].AppPassword != first.Ref {
		t.Errorf("recorded %+v, want one deletion by the help desk", deleted)
	}
}

// TestA13SuspendAndResume keeps everything but the status.
func TestA13SuspendAndResume(t *testing.T) {
	f := newFixture(t, nil)
	first, text := f.addAlain()
	must(t, f.try(text))
	before, err := f.List(f.ctx, alain)
	must(t, err)
	for range 2 { // twice is as good as once
		_, err = f.Suspend(f.ctx, alain, first.ID)
		must(t, err)
	}
	wantReason(t, "suspended", f.try(text), core.ReasonSuspended)
	list, err := f.List(f.ctx, alain)
	if err != nil || list[0].Status != core.StatusSuspended {
		t.Errorf("listed as %q (%v), want suspended", list[0].Status, err)
	}
	_, err = f.Resume(f.ctx, alain, first.ID)
	must(t, err)
	after, err := f.List(f.ctx, alain)
	if err != nil || said(t, after) != said(t, before) {
		t.Errorf("resumed as %s (%v), was %s", said(t, after), err, said(t, before))
	}
	must(t, f.try(text))
}

// TestA13Rotate gives a new text and keeps the rest; the old one works for the
// overlap, to the moment, and is then one that was deleted.
func TestA13Rotate(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["pinned"] = core.Profile{Letters: 28, Services: []string{"radius/*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true, ExpiresAfter: 300 * day}
	})
	f.addAlain()
	made, old := f.create("Xbox", "pinned")
	try := func(text string) error {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/lounge", Device: "00:11:22:33:44:55"})
		return err
	}
	must(t, try(old))
	must(t, f.Flush(f.ctx))
	f.pass(time.Hour)
	before := f.listed(made.ID)
	rotated, text, err := f.Rotate(f.ctx, alain, made.ID, 2*time.Hour)
	must(t, err)
	before.Rotated = f.clock()
	if after := f.listed(made.ID); said(t, after) != said(t, before) {
		t.Errorf("rotated to %s, was %s", said(t, after), said(t, before))
	}
	if said(t, rotated) != said(t, before) {
		t.Errorf("answered %s, was %s", said(t, rotated), said(t, before))
	}
	if text.Canonical() == old || text.Letters() != 28 {
		t.Errorf("the new text has %d letters, want 28 others", text.Letters())
	}
	f.pass(2*time.Hour - time.Millisecond)
	must(t, try(old))
	must(t, try(text.Canonical()))
	f.pass(time.Millisecond)
	wantReason(t, "the old text after the overlap", try(old), core.ReasonDeleted)
	must(t, try(text.Canonical()))
	if got := f.listed(made.ID).Uses; got != 4 {
		t.Errorf("%d uses over both texts, want 4", got)
	}
	attempts := f.recorded(core.EventAttempt)
	if got := attempts[len(attempts)-2].AppPassword; got != made.Ref {
		t.Errorf("the old text is named %v, want %v", got, made.Ref)
	}
}

// said returns everything that v says, for a comparison.
func said(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

// listed returns what List says of the app password with this id.
func (f *fixture) listed(id string) core.AppPassword {
	f.t.Helper()
	list, err := f.List(f.ctx, alain)
	must(f.t, err)
	i := slices.IndexFunc(list, func(p core.AppPassword) bool { return p.ID == id })
	if i < 0 {
		f.t.Fatalf("no app password %s is listed", id)
	}
	return list[i]
}

// TestA13RotateTwice: only the latest two texts work, and no earlier one ever.
func TestA13RotateTwice(t *testing.T) {
	f := newFixture(t, nil)
	made, first := f.addAlain()
	var texts []string
	for range 2 {
		_, text, err := f.Rotate(f.ctx, alain, made.ID, day)
		must(t, err)
		texts = append(texts, text.Canonical())
	}
	wantReason(t, "the first text", f.try(first), core.ReasonDeleted)
	must(t, f.try(texts[0]))
	must(t, f.try(texts[1]))
	_, third, err := f.Rotate(f.ctx, alain, made.ID, 0)
	must(t, err)
	wantReason(t, "without an overlap", f.try(texts[1]), core.ReasonDeleted)
	must(t, f.try(third.Canonical()))

	_, _, err = f.Rotate(f.ctx, alain, made.ID, day)
	must(t, err)
	_, err = f.Suspend(f.ctx, alain, made.ID)
	must(t, err)
	wantReason(t, "the old text of a suspended one", f.try(third.Canonical()), core.ReasonSuspended)
	_, err = f.Delete(f.ctx, alain, made.ID)
	must(t, err)
	for _, text := range append(texts, first, third.Canonical()) {
		wantReason(t, "after its deletion", f.try(text), core.ReasonDeleted)
	}
	for _, overlap := range []time.Duration{-1, core.MaxOverlap + 1} {
		_, _, err := f.Rotate(f.ctx, alain, made.ID, overlap)
		wantKind(t, overlap.String(), err, core.KindInvalid)
	}
}

// TestA13RotateTrials: the overlap holds for the methods that answer a
// challenge, too.
func TestA13RotateTrials(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"radius/*"}, Methods: []proof.Method{proof.MethodCHAP}}
	})
	f.addAlain()
	made, old := f.create("switch", "chap")
	try := func(text string) error {
		tries := 0
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: trial{text: text, tries: &tries}, Service: "radius/vpn1"})
		if tries != core.MaxLimit {
			t.Errorf("%d tries, want %d", tries, core.MaxLimit)
		}
		return err
	}
	must(t, try(old))
	_, text, err := f.Rotate(f.ctx, alain, made.ID, time.Hour)
	must(t, err)
	must(t, try(text.Canonical()))
	must(t, try(old))
	retired := f.rotate()
	_, err = f.Reseal(f.ctx)
	must(t, err)
	use, err := f.KeyUse(f.ctx)
	must(t, err)
	keys, err := f.keys.Retire(retired)
	must(t, err)
	f.keys.Replace(keys)
	if use[retired] != 0 || try(old) != nil {
		t.Errorf("%d records need the old key still; without it the old text: %v", use[retired], try(old))
	}
	f.pass(time.Hour)
	if try(old) == nil {
		t.Error("the old text works after the overlap")
	}
	must(t, try(text.Canonical()))
	_, _, err = f.Rotate(f.ctx, alain, made.ID, 0)
	must(t, err)
	if try(text.Canonical()) == nil || try(old) == nil {
		t.Error("an old text works without an overlap")
	}
}

// TestA14DeletedIsNamed: a device that still has a deleted app password is
// named for 90 days, and is a stranger then.
func TestA14DeletedIsNamed(t *testing.T) {
	for _, written := range []bool{false, true} {
		f := newFixture(t, nil)
		f.addAlain()
		made, text := f.create("Xbox in the den", "")
		_, err := f.Delete(f.ctx, alain, made.ID)
		must(t, err)
		f.pass(90 * day)
		wantReason(t, "on the 90th day", f.try(text), core.ReasonDeleted)
		attempts := f.recorded(core.EventAttempt)
		if got := attempts[len(attempts)-1].AppPassword; got != made.Ref {
			t.Errorf("the device is named %v, want %v", got, made.Ref)
		}
		f.pass(time.Millisecond)
		if written { // forgotten also where nothing writes the record
			f.create("another", "")
		}
		wantReason(t, fmt.Sprintf("afterwards, written %v", written), f.try(text), core.ReasonWrong)
	}
}

// TestA14Cap: of an account at most 100 are remembered, the latest.
func TestA14Cap(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	var texts []string
	for i := range 110 {
		made, text := f.create(fmt.Sprintf("device %d", i), "")
		texts = append(texts, text)
		_, err := f.Delete(f.ctx, alain, made.ID)
		must(t, err)
	}
	for i, text := range texts {
		want := core.ReasonDeleted
		if i < 10 {
			want = core.ReasonWrong
		}
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: fmt.Sprint("pam/", i)})
		wantReason(t, fmt.Sprint("deleted as number ", i), err, want)
	}
}

// TestA15PasswordChange: keep, suspend or delete when the owner changes the
// main password.
func TestA15PasswordChange(t *testing.T) {
	for consequence, tt := range map[core.Consequence]struct {
		want   core.Reason
		events core.EventKind
	}{
		core.Keep:    {"", ""},
		core.Suspend: {core.ReasonSuspended, core.EventSuspended},
		core.Delete:  {core.ReasonDeleted, core.EventDeleted},
	} {
		t.Run(string(consequence), func(t *testing.T) {
			f := newFixture(t, func(f *fixture) {
				f.policy.OnPasswordChange = consequence
				f.policy.MainPassword, f.policy.RequireTwoStep = core.MainWithoutTwoStep, false
			})
			_, text := f.addAlain()
			made, other := f.create("laptop", "")
			must(t, f.SetMainPassword(f.ctx, alain, []byte("another main password")))
			wantReason(t, "the first", f.try(text), tt.want)
			wantReason(t, "the other", f.try(other), tt.want)
			if n := len(f.recorded(core.EventPasswordSet)); n != 1 {
				t.Errorf("%d changes of the main password recorded, want 1", n)
			}
			if tt.events != "" && len(f.recorded(tt.events)) != 2 {
				t.Errorf("%d events %s recorded, want 2", len(f.recorded(tt.events)), tt.events)
			}
			if consequence == core.Suspend {
				_, err := f.Resume(f.ctx, alain, made.ID)
				must(t, err)
				must(t, f.try(other))
			}
			must(t, f.TurnOffTwoStep(f.ctx, alain))
			must(t, f.try("another main password"))
			wantReason(t, "the main password before", f.try(mainPassword), core.ReasonWrong)
		})
	}
}

// TestPinRace: of many devices that are first at once, one is.
func TestPinRace(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: []proof.Method{proof.MethodCleartext}, PinDevice: true}
	})
	f.addAlain()
	made, text := f.create("Xbox", "pinned")
	nodes := []*fixture{f, f.another()}
	granted := make(chan string, 50)
	var all sync.WaitGroup
	for i := range cap(granted) {
		all.Go(func() {
			device := fmt.Sprintf("device %d", i)
			_, err := nodes[i%2].Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: fmt.Sprint("pam/", i), Device: device})
			if err == nil {
				granted <- device
			} else {
				wantReason(t, device, err, core.ReasonPinMismatch)
			}
		})
	}
	all.Wait()
	close(granted)
	first := <-granted
	if second, more := <-granted; more || first == "" || f.listed(made.ID).Pin != first {
		t.Errorf("%q and %q were first; pinned to %q", first, second, f.listed(made.ID).Pin)
	}
	_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "pam/sshd"})
	wantReason(t, "from no known device", err, core.ReasonPinMismatch)

	_, err = f.Repin(f.ctx, alain, made.ID)
	must(t, err)
	_, err = f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "pam/sshd", Device: "new"})
	must(t, err)
	_, err = f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "pam/sshd", Device: first})
	wantReason(t, "the device before", err, core.ReasonPinMismatch)
	_, err = f.Repin(f.ctx, alain, core.FirstName)
	wantKind(t, "repinning one without a pin", err, core.KindInvalid)
}
