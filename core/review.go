package core

import (
	"context"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core/directory"
)

// A FindingKind says what a review found. The texts are fixed: programs outside
// of the project read them.
type FindingKind string

const (
	FindingAtLimit      FindingKind = "at-limit"
	FindingRecoveryLow  FindingKind = "recovery-low" // few recovery codes are left
	FindingUnused       FindingKind = "unused"
	FindingNeverUsed    FindingKind = "never-used"
	FindingExpiring     FindingKind = "expiring"
	FindingExpired      FindingKind = "expired"
	FindingSuspended    FindingKind = "suspended" // for long
	FindingPinMismatch  FindingKind = "pin-mismatch"
	FindingDeletedTried FindingKind = "deleted-tried"
)

// FindingKinds returns every kind of finding.
func FindingKinds() []FindingKind {
	return []FindingKind{
		FindingAtLimit, FindingRecoveryLow, FindingUnused, FindingNeverUsed, FindingExpiring, FindingExpired,
		FindingSuspended, FindingPinMismatch, FindingDeletedTried,
	}
}

// A Finding is one thing that somebody should look at.
type Finding struct {
	Kind        FindingKind
	AppPassword Ref       // empty: it is about the account
	Time        time.Time // the last use, the end, the last try; zero: none
	Device      string    // of a try
	Sentence    string    // what is the matter and what to do
}

const (
	day = 24 * time.Hour

	// ReviewUnused is how long is unused, where nobody says so and the policy
	// does not end app passwords earlier.
	ReviewUnused = 90 * day

	reviewNeverUsed = 7 * day  // an app password should be in its device by then
	reviewExpiring  = 30 * day // before the end
	reviewSuspended = 30 * day // that long out of use, it may as well be deleted
	reviewLately    = 30 * day // older tries say little
	reviewRecovery  = 3        // recovery codes
)

// Review looks through up to limit accounts with names greater than after and
// returns those about which there is something to say, and the name to go on
// after, empty after the last account. What was not used for unusedFor is
// unused; 0: ReviewUnused, or what the policy says where that is less.
func (e *Engine) Review(ctx context.Context, after string, limit int, unusedFor time.Duration) (found []Report, next string, err error) {
	next, err = e.walk(ctx, after, limit, func(v view) {
		if r := e.review(v, unusedFor); len(r.Findings) > 0 || r.Damaged {
			found = append(found, r)
		}
	})
	return found, next, err
}

// ReviewAccount is Review of one account.
func (e *Engine) ReviewAccount(ctx context.Context, account string, unusedFor time.Duration) (Report, error) {
	o, err := e.owned(ctx, account)
	if err != nil {
		return Report{}, err
	}
	happened, err := e.activityOf(ctx, o.name)
	if err != nil {
		return Report{}, err
	}
	return e.review(view{owned: o, happened: happened}, unusedFor), nil
}

func (e *Engine) review(v view, unusedFor time.Duration) Report {
	r := Report{Account: e.describeAccount(v.owned), Damaged: v.damaged}
	if v.damaged {
		r.Account.Name = v.name
		return r
	}
	policy, now := e.policy.Load(), e.clock.now()
	all := e.look(policy, v)
	w := reviewer{view: v, now: now, unusedFor: unusedFor, policy: policy, all: all}
	w.account()
	for i := range all {
		w.appPassword(&all[i])
		w.pin(&all[i])
	}
	w.deleted()
	r.Findings = w.found
	return r
}

// A reviewer collects findings about one account.
type reviewer struct {
	view
	now       time.Time
	unusedFor time.Duration
	policy    *Policy
	all       []looked
	found     []Finding
}

func (w *reviewer) add(f Finding, format string, args ...any) {
	f.Sentence = fmt.Sprintf(format, args...)
	w.found = append(w.found, f)
}

// account looks at what is about the account and not one of its app passwords.
func (w *reviewer) account() {
	longest := -1
	for i := range w.all {
		if longest < 0 || w.all[i].since().Before(w.all[longest].since()) {
			longest = i
		}
	}
	if n := len(w.all); n >= w.policy.Limit && n > 0 {
		w.add(Finding{Kind: FindingAtLimit}, "it has %d app passwords, %s: delete what is not needed; the longest unused is %s",
			n, limitText(n, w.policy.Limit), quoted(w.all[longest].Ref))
	}
	two := w.rec.TwoStep
	if n := len(two.GetRecovery()); w.dir.TwoStep == directory.NotMine && two.GetOn() && n <= reviewRecovery {
		w.add(Finding{Kind: FindingRecoveryLow}, "%s left: use two-step enroll and two-step confirm once more, which makes new ones", counted(n, "recovery code is", "recovery codes are"))
	}
	why := ""
	switch {
	case !w.dir.Enabled:
		why = "the account is disabled: enable it"
	case w.policy.RequireTwoStep && !w.twoStep():
		why = "two-step verification is off: turn it on with two-step enroll and two-step confirm"
	}
	if why == "" || len(w.all) == 0 {
		return
	}
	var last time.Time
	for i := range w.all {
		if at := w.all[i].since(); at.After(last) {
			last = at
		}
	}
	if w.now.Sub(last) >= reviewSuspended {
		w.add(Finding{Kind: FindingSuspended, Time: last}, "%s not work, and the last use is %d days ago, because %s, or delete them with app-password delete-all",
			counted(len(w.all), "app password does", "app passwords do"), w.days(last), why)
	}
}

func (w *reviewer) days(since time.Time) int { return int(w.now.Sub(since) / day) }

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func quoted(r Ref) string { return fmt.Sprintf("%q (id %s)", r.Name, r.ID) }

// unused returns how long is unused, for an app password of the profile.
func (w *reviewer) unused(profile string) time.Duration {
	if w.unusedFor > 0 {
		return w.unusedFor
	}
	if d := w.policy.unusedAfter(profile); d > 0 {
		return min(d, ReviewUnused)
	}
	return ReviewUnused
}

// appPassword says the one thing that matters most about p.
func (w *reviewer) appPassword(p *looked) {
	f := Finding{AppPassword: p.Ref, Time: p.since()}
	of := func(k FindingKind, at time.Time) Finding { f.Kind, f.Time = k, at; return f }
	idle := w.now.Sub(p.since())
	resting := p.suspended || !w.dir.Enabled || (w.policy.RequireTwoStep && !w.twoStep())
	switch {
	case p.Status == StatusExpired:
		w.add(of(FindingExpired, p.Expires), "%s ended on %s: delete it, and create another if the device is still in use", quoted(p.Ref), p.Expires.Format(time.DateOnly))
	case p.Status == StatusUnusedExpired:
		w.add(of(FindingUnused, p.since()), "%s was not used for %d days and has ended by that: delete it, and create another if the device is still in use", quoted(p.Ref), w.days(p.since()))
	case p.suspended && idle >= reviewSuspended:
		w.add(of(FindingSuspended, p.since()), "%s is suspended and was not used for %d days: resume it, or delete it", quoted(p.Ref), w.days(p.since()))
	case resting: // said already, or too fresh
	case p.endsWithin(w.now, reviewExpiring) && !p.disuse:
		w.add(of(FindingExpiring, p.ends), "%s ends on %s: create another for the device before that", quoted(p.Ref), p.ends.Format(time.DateOnly))
	case p.used.IsZero() && idle >= reviewNeverUsed:
		w.add(of(FindingNeverUsed, p.Created), "%s was made %d days ago and never used: type it into the device, or delete it and create another", quoted(p.Ref), w.days(p.Created))
	case p.used.IsZero():
	case p.endsWithin(w.now, reviewExpiring):
		w.add(of(FindingExpiring, p.ends), "%s was not used for %d days and ends on %s by that: use it before, or delete it", quoted(p.Ref), w.days(p.used), p.ends.Format(time.DateOnly))
	case idle >= w.unused(p.Profile):
		w.add(of(FindingUnused, p.used), "%s was not used for %d days: delete it if the device is gone", quoted(p.Ref), w.days(p.used))
	}
}

// pin looks for other devices that tried p lately.
func (w *reviewer) pin(p *looked) {
	if !p.Pinned || p.Pin == "" {
		return
	}
	for i := len(w.happened.Attempts) - 1; i >= 0; i-- { // the last one counts
		a := fromRecord(w.happened.Attempts[i])
		if a.Reason != ReasonPinMismatch || a.AppPassword.ID != p.ID || a.Device == p.Pin || w.now.Sub(a.Time) > reviewLately {
			continue
		}
		w.add(Finding{Kind: FindingPinMismatch, AppPassword: p.Ref, Time: a.Time, Device: a.Device},
			"%s is pinned to the device %q, and %s tried it on %s: if the device was replaced, use app-password repin, else find out who has it and rotate it",
			quoted(p.Ref), p.Pin, deviceOf(a), a.Time.Format(time.DateOnly))
		return
	}
}

// deviceOf says who tried, as well as the attempt can tell.
func deviceOf(a AttemptEntry) string {
	switch {
	case a.Device != "":
		return fmt.Sprintf("the device %q", a.Device)
	case a.Source != "":
		return fmt.Sprintf("a device at %s", a.Source)
	}
	return "a device without a name"
}

// deleted looks for texts that do not work any more and are still being tried.
func (w *reviewer) deleted() {
	for _, d := range w.deletedTries() {
		if w.now.Sub(d.Last.Time) > reviewLately {
			continue
		}
		f := Finding{Kind: FindingDeletedTried, AppPassword: d.Ref, Time: d.Last.Time, Device: d.Last.Device}
		last := fmt.Sprintf("%s still tries it, last on %s at %s", deviceOf(d.Last), d.Last.Time.Format(time.DateOnly), d.Last.Service)
		if d.Deleted.IsZero() {
			w.add(f, "the text that %s had before it was rotated does not work any more, and %s: type the new one into the device", quoted(d.Ref), last)
			continue
		}
		w.add(f, "%s was deleted on %s, and %s: create a new one for the device, or take the old one out of it", quoted(d.Ref), d.Deleted.Format(time.DateOnly), last)
	}
}
