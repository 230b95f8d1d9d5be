package core_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// tryAt presents text for alain from a device.
func (f *fixture) tryAt(text, device string) error {
	_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: device})
	return err
}

// filtered returns what a filter finds, in pages of one account: the names of app
// passwords, and of deleted ones with their tries.
func (f *fixture) filtered(filter core.Filter) (names []string) {
	f.t.Helper()
	for after, end := "", false; !end; {
		page, next, err := f.ListAll(f.ctx, after, 1, filter)
		must(f.t, err)
		for _, r := range page {
			for _, p := range r.AppPasswords {
				names = append(names, p.Name)
			}
			for _, d := range r.Deleted {
				names = append(names, fmt.Sprintf("%s from %s, %d", d.Name, d.Last.Device, d.Tries))
			}
		}
		after, end = next, next == ""
	}
	slices.Sort(names)
	return names
}

// reviewed returns what a review of all finds, as "kind of app password".
func (f *fixture) reviewed(unusedFor time.Duration) (found []string, sentences string) {
	f.t.Helper()
	page, next, err := f.Review(f.ctx, "", 100, unusedFor)
	must(f.t, err)
	if next != "" {
		f.t.Errorf("there is more after %q", next)
	}
	for _, r := range page {
		one, err := f.ReviewAccount(f.ctx, r.Account.Name, unusedFor)
		if err != nil || fmt.Sprint(one) != fmt.Sprint(r) {
			f.t.Errorf("of all %+v, of one %+v (%v)", r, one, err)
		}
		for _, finding := range r.Findings {
			found = append(found, strings.TrimSpace(string(finding.Kind)+" "+finding.AppPassword.Name))
			sentences += finding.Sentence + "\n"
		}
	}
	return found, sentences
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestListAll(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.Limit = 4 })
	f.addAlain()
	_, used := f.create("used", "")
	_, err := f.AddAccount(f.ctx, "bea@contoso.com", nil, nil)
	must(t, err)
	wantList(t, "at the limit", f.filtered(core.Filter{AtLimit: true}))
	f.pass(10 * day)
	must(t, f.try(used))
	soon, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "soon", Expires: f.clock().Add(20 * day)})
	must(t, err)
	later, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "later", Expires: f.clock().Add(40 * day)})
	must(t, err)
	wantList(t, "all", f.filtered(core.Filter{}), "First app password", "later", "soon", "used")
	wantList(t, "at the limit", f.filtered(core.Filter{AtLimit: true}), "First app password", "later", "soon", "used")
	wantList(t, "unused", f.filtered(core.Filter{UnusedFor: 10 * day}), "First app password")
	wantList(t, "unused for 1 ns more", f.filtered(core.Filter{UnusedFor: 10*day + 1}))
	wantList(t, "expiring", f.filtered(core.Filter{ExpiringWithin: 30 * day}), "soon")
	wantList(t, "expiring, at its edge", f.filtered(core.Filter{ExpiringWithin: 40 * day}), "later", "soon")
	wantList(t, "suspended", f.filtered(core.Filter{Status: core.StatusSuspended}))
	_, err = f.Suspend(f.ctx, alain, later.ID)
	must(t, err)
	wantList(t, "suspended", f.filtered(core.Filter{Status: core.StatusSuspended}), "later")
	wantList(t, "suspended and unused", f.filtered(core.Filter{Status: core.StatusSuspended, UnusedFor: day}))
	f.pass(20 * day)
	wantList(t, "ended", f.filtered(core.Filter{ExpiringWithin: 10 * day}))
	wantList(t, "expired", f.filtered(core.Filter{Status: core.StatusExpired}), soon.Name)
	f.policy.UnusedAfter = 60 * day
	must(t, f.SetPolicy(f.policy))
	wantList(t, "ending by disuse", f.filtered(core.Filter{ExpiringWithin: 30 * day}), "First app password", "later")
}

func TestListDeletedTried(t *testing.T) {
	f := newFixture(t, nil)
	_, first := f.addAlain()
	gone, text := f.create("gone", "")
	quiet, _ := f.create("quiet", "")
	turned, old := f.create("turned", "")
	for _, p := range []core.AppPassword{gone, quiet} {
		_, err := f.Delete(f.ctx, alain, p.ID)
		must(t, err)
	}
	_, _, err := f.Rotate(f.ctx, alain, turned.ID, 0)
	must(t, err)
	wantList(t, "before", f.filtered(core.Filter{DeletedTried: true}))
	for _, try := range []struct {
		text, device string
		want         core.Reason
	}{{text, "Xbox", core.ReasonDeleted}, {text, "TV", core.ReasonDeleted}, {old, "TV", core.ReasonDeleted}, {first, "TV", ""}} {
		f.pass(time.Minute)
		wantReason(t, try.device, f.tryAt(try.text, try.device), try.want)
	}
	wantList(t, "after", f.filtered(core.Filter{DeletedTried: true}), "gone from TV, 2", "turned from TV, 1")
	page, _, err := f.ListAll(f.ctx, "", 10, core.Filter{DeletedTried: true})
	must(t, err)
	if d := page[0].Deleted; d[0].Name != "turned" || !d[0].Deleted.IsZero() || d[1].Deleted.IsZero() || d[1].ID != gone.ID {
		t.Errorf("deleted %+v", d)
	}
	found, sentences := f.reviewed(0)
	wantList(t, "reviewed", found, "deleted-tried turned", "deleted-tried gone")
	for _, words := range []string{"before it was rotated", `the device "TV" still tries it`, "take the old one out"} {
		if !strings.Contains(sentences, words) {
			t.Errorf("%q is not said in\n%s", words, sentences)
		}
	}
	f.pass(31 * day)
	if found, _ := f.reviewed(0); slices.Contains(found, "deleted-tried gone") {
		t.Errorf("a try of long ago is told: %q", found)
	}
}

func TestReviewUse(t *testing.T) {
	f := newFixture(t, nil)
	_, first := f.addAlain()
	must(t, f.try(first))
	found, _ := f.reviewed(0)
	wantList(t, "fresh", found)
	f.create("never", "")
	_, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "ending", Expires: f.clock().Add(37 * day)})
	must(t, err)
	f.pass(7*day - 1)
	found, _ = f.reviewed(0)
	wantList(t, "within a week", found)
	f.pass(1)
	found, _ = f.reviewed(0)
	wantList(t, "after a week", found, "never-used never", "expiring ending")
	f.pass(80 * day)
	found, _ = f.reviewed(80 * day)
	wantList(t, "with a time of one's own", found, "unused First app password", "never-used never", "expired ending")
	found, _ = f.reviewed(0)
	wantList(t, "within 90 days", found, "never-used never", "expired ending")
	f.pass(3 * day)
	found, sentences := f.reviewed(0)
	wantList(t, "after 90 days", found, "unused First app password", "never-used never", "expired ending")
	for _, words := range []string{`"First app password" (id `, "not used for 90 days: delete it", "made 90 days ago and never used", "ended on "} {
		if !strings.Contains(sentences, words) {
			t.Errorf("%q is not said in\n%s", words, sentences)
		}
	}
	f.policy.UnusedAfter = 100 * day
	must(t, f.SetPolicy(f.policy))
	found, sentences = f.reviewed(0)
	if found[0] != "expiring First app password" || !strings.Contains(sentences, "use it before") {
		t.Errorf("near its end by disuse: %q\n%s", found, sentences)
	}
	f.policy.UnusedAfter = 40 * day
	must(t, f.SetPolicy(f.policy))
	_, sentences = f.reviewed(0)
	if strings.Count(sentences, "has ended by that") != 2 {
		t.Errorf("after its end by disuse:\n%s", sentences)
	}
}

func TestReviewAccountState(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.policy.Limit = 2 })
	f.addAlain()
	second, _ := f.create("second", "")
	found, sentences := f.reviewed(0)
	wantList(t, "at the limit", found, "at-limit")
	if !strings.Contains(sentences, "the longest unused is \"First app password\"") {
		t.Errorf("said: %s", sentences)
	}
	_, err := f.Delete(f.ctx, alain, "First app password")
	must(t, err)
	_, err = f.Suspend(f.ctx, alain, second.ID)
	must(t, err)
	f.pass(30*day - 1)
	found, _ = f.reviewed(0)
	wantList(t, "suspended a while ago", found)
	f.pass(1)
	found, _ = f.reviewed(0)
	wantList(t, "suspended for long", found, "suspended second")
	_, err = f.Resume(f.ctx, alain, second.ID)
	must(t, err)
	must(t, f.SetEnabled(f.ctx, alain, false))
	found, sentences = f.reviewed(0)
	wantList(t, "disabled for long", found, "suspended")
	if !strings.Contains(sentences, "1 app password does not work") || !strings.Contains(sentences, "disabled: enable it") {
		t.Errorf("said: %s", sentences)
	}
	must(t, f.SetEnabled(f.ctx, alain, true))
	must(t, f.TurnOffTwoStep(f.ctx, alain))
	_, sentences = f.reviewed(0)
	if !strings.Contains(sentences, "two-step verification is off: turn it on") {
		t.Errorf("said: %s", sentences)
	}
}

func TestReviewRecoveryCodes(t *testing.T) {
	f, _, c := enrolled(t, nil)
	must(t, f.try(c.FirstText.Canonical()))
	for i, code := range c.Recovery {
		left := len(c.Recovery) - i
		want := []string{"recovery-low"}
		if left > 3 {
			want = nil
		}
		found, _ := f.reviewed(0)
		wantList(t, fmt.Sprintf("%d codes are left", left), found, want...)
		must(t, f.CheckCode(f.ctx, alain, code))
	}
	_, sentences := f.reviewed(0)
	if !strings.Contains(sentences, "0 recovery codes are left") {
		t.Errorf("said: %s", sentences)
	}
}

func TestReviewPin(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		p := f.policy.Profiles[core.DefaultProfile]
		p.PinDevice = true
		f.policy.Profiles["console"] = p
	})
	_, first := f.addAlain()
	must(t, f.try(first))
	_, text := f.create("Xbox", "console")
	must(t, f.tryAt(text, "old"))
	found, _ := f.reviewed(0)
	wantList(t, "pinned", found)
	wantReason(t, "another", f.tryAt(text, "new\x1b[2J"), core.ReasonPinMismatch)
	found, sentences := f.reviewed(0)
	wantList(t, "tried by another", found, "pin-mismatch Xbox")
	if !strings.Contains(sentences, `pinned to the device "old", and the device "new\x1b[2J" tried it`) {
		t.Errorf("said: %s", sentences)
	}
	_, err := f.Repin(f.ctx, alain, "Xbox")
	must(t, err)
	found, _ = f.reviewed(0)
	wantList(t, "without a pin", found)
	must(t, f.tryAt(text, "new\x1b[2J"))
	found, _ = f.reviewed(0)
	wantList(t, "pinned to that one", found)
	wantReason(t, "the old one", f.tryAt(text, "old"), core.ReasonPinMismatch)
	f.pass(31 * day)
	must(t, f.tryAt(text, "new\x1b[2J"))
	must(t, f.try(first))
	found, _ = f.reviewed(0)
	wantList(t, "long ago", found)
}

// A damaged record is named, and hides no other.
func TestListAllDamaged(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	for _, name := range []string{"aaa", "zzz"} {
		_, err := f.AddAccount(f.ctx, name, nil, nil)
		must(t, err)
		_, err = f.Enroll(f.ctx, name)
		must(t, err)
	}
	_, err := f.store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "account/aaa", Value: []byte("x")}})
	must(t, err)
	page, next, err := f.ListAll(f.ctx, "", 10, core.Filter{})
	if err != nil || next != "" || len(page) != 2 || page[0].Account.Name != "aaa" || !page[0].Damaged || page[1].Damaged || len(page[1].AppPasswords) != 1 {
		t.Errorf("listed %+v, next %q (%v)", page, next, err)
	}
	if len(f.recorded(core.EventTamper)) != 1 {
		t.Error("the audit does not know")
	}
	reviewed, _, err := f.Review(f.ctx, "", 10, 0)
	if err != nil || len(reviewed) != 1 || !reviewed[0].Damaged {
		t.Errorf("reviewed %+v (%v)", reviewed, err)
	}
	f.store.fail(store.ErrUnavailable)
	_, _, err = f.ListAll(f.ctx, "", 10, core.Filter{})
	wantKind(t, "the store fails", err, core.KindUnavailable)
	_, _, err = f.Review(f.ctx, "", 0, 0)
	wantKind(t, "no limit", err, core.KindInvalid)
}

// Who had the name before is not listed under it.
func TestListAllSuccessor(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	must(t, f.DeleteAccount(f.ctx, alain))
	wantList(t, "deleted", f.filtered(core.Filter{}))
	_, err := f.AddAccount(f.ctx, alain, nil, nil)
	must(t, err)
	wantList(t, "made anew", f.filtered(core.Filter{}))

	m := &mirror{}
	g := newFixture(t, func(f *fixture) { f.opt.Directory = m })
	who := directory.Account{ID: "1", Name: alain, Enabled: true, TwoStep: directory.On}
	m.set(who)
	g.create("of the one before", "")
	wantList(t, "of another directory", g.filtered(core.Filter{}), "of the one before")
	who.ID = "2"
	m.set(who)
	wantList(t, "the name is another's", g.filtered(core.Filter{}))
	found, _ := g.reviewed(0)
	wantList(t, "the name is another's", found)
	m.set()
	wantList(t, "the name is nobody's", g.filtered(core.Filter{}))
	m.fail(directory.ErrUnavailable)
	_, _, err = g.ListAll(g.ctx, "", 10, core.Filter{})
	wantKind(t, "the directory does not answer", err, core.KindUnavailable)
}

// A status that is none finds nothing, and says so.
func TestListAllStatus(t *testing.T) {
	f := newFixture(t, nil)
	_, _, err := f.ListAll(f.ctx, "", 10, core.Filter{Status: "gone"})
	wantKind(t, "no status", err, core.KindInvalid)
	for _, s := range core.Statuses() {
		_, _, err := f.ListAll(f.ctx, "", 10, core.Filter{Status: s})
		must(t, err)
	}
}

// Kinds of findings are told apart by their texts.
func TestFindingKinds(t *testing.T) {
	seen := make(map[core.FindingKind]bool)
	for _, k := range core.FindingKinds() {
		if k == "" || seen[k] {
			t.Errorf("the kind %q stands there twice, or is none", k)
		}
		seen[k] = true
	}
}
