package session

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// suspects are the accounts whose sessions are to be looked at.
type suspects struct {
	told map[string]struct{} // something changed there
	all  []string            // of a sweep, those that are left
	wake chan struct{}       // a token: there are some
}

func newSuspects() suspects {
	return suspects{told: make(map[string]struct{}), wake: make(chan struct{}, 1)}
}

func (s *suspects) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it is told already
	}
}

// Suspect has the sessions of an account looked at soon: something changed there.
func (t *Table) Suspect(account string) {
	t.mu.Lock()
	if len(t.accounts[account]) > 0 {
		t.suspects.told[account] = struct{}{}
	}
	t.mu.Unlock()
	t.suspects.look()
}

// SuspectAll is Suspect of every account.
func (t *Table) SuspectAll() {
	t.mu.Lock()
	t.suspects.all = slices.Collect(maps.Keys(t.accounts))
	t.mu.Unlock()
	t.suspects.look()
}

// takeSuspect returns the next one to look at: one that something changed at, or
// else one of the rest, so that a change does not wait for a sweep.
func (t *Table) takeSuspect() (account string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.suspects
	for account := range s.told {
		delete(s.told, account)
		return account, true
	}
	n := len(s.all)
	if n == 0 {
		return "", false
	}
	account, s.all = s.all[n-1], s.all[:n-1]
	return account, true
}

// checkLoop looks at suspects, and now and then at all accounts, until ctx ends. It
// may wait for a directory and so is apart from endLoop, where clients wait.
func (t *Table) checkLoop(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C: // a date comes and a policy changes without a word
			t.expire()
			t.sweepEndings()
			t.SuspectAll()
		case <-t.suspects.wake:
		}
		t.checkSuspects(ctx)
	}
}

// checkSuspects looks at every suspect. One that nobody can tell of holds up no
// other: it may be the fault of that account alone. Where it is not, each may take
// until checkTime for nothing, so that after maxUnable in a row the rest wait for
// the next sweep, of which they are in any case.
func (t *Table) checkSuspects(ctx context.Context) {
	var lastErr error
	failed, row := 0, 0
	for row < maxUnable && ctx.Err() == nil {
		account, ok := t.takeSuspect()
		if !ok {
			break
		}
		if err := t.checkSoon(ctx, account); err != nil {
			lastErr = err
			failed++
			row++
			continue
		}
		row = 0
	}
	if failed > 0 && ctx.Err() == nil {
		t.opt.Log.Warn("whether sessions are to be ended could not be found out; trying again within a minute", "accounts", failed, "err", lastErr)
	}
}

// checkSoon is check for nobody who waits.
func (t *Table) checkSoon(ctx context.Context, account string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return t.check(ctx, account, time.Time{})
}

// check begins to end those sessions of an account whose app password does not
// hold any more. Where a try has failed the next one waits, unless it was before
// since.
func (t *Table) check(ctx context.Context, account string, since time.Time) error {
	about := t.toEnd(account)
	if len(about) == 0 {
		return nil
	}
	standing, err := t.opt.Standing(ctx, account, about)
	if err != nil {
		return err
	}
	if t.begin(account, since, standing) {
		t.look()
	}
	return nil
}

// toEnd returns the app passwords of an account that have sessions, if there is
// somebody who ends them.
func (t *Table) toEnd(account string) []Owner {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requests.ender == nil {
		return nil
	}
	var all []Owner
	for each := range t.accounts[account] {
		if !slices.Contains(all, each.of.Owner) {
			all = append(all, each.of.Owner)
		}
	}
	return all
}

// begin notes the sessions of an account that are to be ended, and spares those
// that were to be and may go on after all. It says whether there are any.
func (t *Table) begin(account string, since time.Time, standing Standing) (some bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opt.Now()
	for each := range t.accounts[account] {
		_, holds := standing(each.of.Owner)
		switch {
		case holds:
			some = each.spare() || some
		case each.request == nil && (each.Asked.Before(since) || !now.Before(each.again)):
			from := now
			if t.isOthers(each) {
				from = now.Add(headStart)
			}
			t.requests.add(each, now, from)
			some = true
		}
	}
	return some
}

// spare lets r go on, and says whether it was to be ended. Should it be to once
// more, nothing is left of tries in vain.
func (r *row) spare() bool {
	r.Outcome, r.Detail, r.Asked, r.tries, r.again = "", "", time.Time{}, 0, time.Time{}
	if r.request == nil {
		return false
	}
	r.request.spared = true
	r.request.stop()
	return true
}

// add notes that r is to be ended, and that nobody is asked before from.
func (x *requests) add(r *row, now, from time.Time) {
	r.Asked, r.Outcome = now, cmp.Or(r.Outcome, Waits)
	r.request = &request{Session: r.Session, row: r, from: from}
	r.request.Outcome, r.request.Detail = Waits, ""
	if len(x.all) >= maxEndings {
		x.all = x.all[1:]
	}
	x.all = append(x.all, r.request)
	x.waiting = append(x.waiting, r.request)
}
