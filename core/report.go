package core

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// A Report is what the help desk asks about the app passwords of one account.
type Report struct {
	Account      Account
	Damaged      bool // its record was changed or damaged; nothing but the name is known
	AppPasswords []AppPassword
	Deleted      []DeletedTry
	Findings     []Finding // of Review alone
}

// A DeletedTry is a text that does not work any more and that a device still
// has: of a deleted app password, or the one before a rotation.
type DeletedTry struct {
	Ref
	Deleted time.Time // zero: the app password is there, its text was rotated
	Last    AttemptEntry
	Tries   int // that the account's history holds
}

// A Filter says which app passwords of all accounts are asked for. All that is
// set must hold.
type Filter struct {
	AtLimit        bool          // those of accounts that may have no more (rule A3)
	UnusedFor      time.Duration // last used, or made, that long ago
	ExpiringWithin time.Duration // they work, and end by then: by their date or by disuse
	Status         Status

	// DeletedTried asks for the deleted ones that are still being tried, and for
	// none that is there.
	DeletedTried bool
}

// Statuses returns every status.
func Statuses() []Status {
	return []Status{StatusActive, StatusSuspended, StatusExpired, StatusUnusedExpired, StatusDenied}
}

// ListAll returns the app passwords that f asks for, of up to limit accounts
// with names greater than after: accounts that have none are left out. It also
// returns the name to go on after, empty after the last account. Nothing is
// held up meanwhile, and nothing is read but a page: an account may change
// between two of them. What devices did after the first page was asked for may
// be missing.
func (e *Engine) ListAll(ctx context.Context, after string, limit int, f Filter) (found []Report, next string, err error) {
	if f.Status != "" && !slices.Contains(Statuses(), f.Status) {
		return nil, "", invalid("list", "%q is no status", shown(string(f.Status)))
	}
	policy := e.policy.Load()
	next, err = e.walk(ctx, after, limit, func(v view) {
		r := Report{Account: e.describeAccount(v.owned), Damaged: v.damaged}
		if v.damaged {
			r.Account.Name = v.name
			found = append(found, r)
			return
		}
		if f.AtLimit && len(v.rec.AppPasswords) < policy.Limit {
			return
		}
		if f.DeletedTried {
			r.Deleted = v.deletedTries()
		} else {
			for _, p := range e.look(policy, v) {
				if p.fits(f, e.clock.now()) {
					r.AppPasswords = append(r.AppPasswords, p.AppPassword)
				}
			}
		}
		if len(r.AppPasswords) > 0 || len(r.Deleted) > 0 {
			found = append(found, r)
		}
	})
	return found, next, err
}

// A view is all that is kept of one account.
type view struct {
	owned
	happened *record.Activity
	damaged  bool
}

// walk calls fn for up to limit accounts that have a record, with names greater
// than after, in the order of names. An account that the directory does not
// know any more has nothing that works, and is left out.
func (e *Engine) walk(ctx context.Context, after string, limit int, fn func(view)) (next string, err error) {
	if limit < 1 {
		return "", invalid("list", "a list of %d accounts", limit)
	}
	if after == "" {
		// Sign-ins wait for whoever looks at what is not written yet, so nobody
		// looks there for every account. Where this fails, the last seconds are
		// missing.
		_ = e.flushSoon(ctx)
	}
	page, err := e.store.Scan(ctx, record.PrefixAccount, record.PrefixAccount+after, limit)
	if err != nil {
		return "", storeError("list", err)
	}
	for _, entry := range page {
		next = strings.TrimPrefix(entry.Key, record.PrefixAccount)
		v, err := e.view(ctx, next, entry)
		switch KindOf(err) {
		case 0:
			fn(v)
		case KindNotFound:
		case KindDamaged: // of one account, and no reason to hide the others
			e.recordTamper(next, err)
			fn(view{owned: owned{name: next, rec: &record.Account{}}, damaged: true})
		default:
			return "", err
		}
	}
	if len(page) < limit {
		next = ""
	}
	return next, nil
}

// view reads what else is kept of the account with this record.
func (e *Engine) view(ctx context.Context, name string, entry store.Entry) (view, error) {
	rec := &record.Account{}
	if err := e.open(record.KindAccount, entry.Key, entry.Value, rec); err != nil {
		return view{}, err
	}
	dir, err := e.ask(ctx, name)
	if err != nil {
		return view{}, err
	}
	if !belongs(rec, dir) { // of somebody who had the name before
		return view{}, &Error{Op: "list", Kind: KindNotFound}
	}
	happened, _, err := e.readActivity(ctx, name)
	if err != nil {
		return view{}, err
	}
	return view{owned: owned{name: name, dir: dir, rec: rec}, happened: happened}, nil
}

// A looked is an app password with what decides how long it lasts.
type looked struct {
	AppPassword
	suspended bool      // by itself
	used      time.Time // zero: never
	ends      time.Time // zero: never
	disuse    bool      // it ends then, unless it is used before
}

// since is when p was last of use: when it was used, or else made.
func (p *looked) since() time.Time {
	if p.used.IsZero() {
		return p.Created
	}
	return p.used
}

// look describes the app passwords of v in the order of their creation.
func (e *Engine) look(policy *Policy, v view) []looked {
	uses := make(map[string]*record.Usage, len(v.happened.Usages))
	for _, u := range v.happened.Usages {
		uses[u.Id] = u
	}
	all := make([]looked, 0, len(v.rec.AppPasswords))
	for _, p := range v.rec.AppPasswords {
		n := newPassword(p, newScope(p), &texts{})
		l := looked{AppPassword: e.describe(policy, v.owned, p, uses[hex.EncodeToString(p.Id)]), suspended: n.suspended, used: fromMillis(n.used)}
		if l.LastUse != nil && l.LastUse.Time.After(l.used) {
			l.used = l.LastUse.Time
		}
		l.ends, l.disuse = policy.endOf(&n, l.used)
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b looked) int { return a.Created.Compare(b.Created) })
	return all
}

// endOf returns when p, last used at used, ends, and whether by disuse; zero is
// never.
func (p *Policy) endOf(n *password, used time.Time) (ends time.Time, disuse bool) {
	ends = fromMillis(n.expires)
	if end := n.disuseEnd(p, used); !end.IsZero() && (ends.IsZero() || end.Before(ends)) {
		return end, true
	}
	return ends, false
}

// fits says whether f asks for p.
func (p *looked) fits(f Filter, now time.Time) bool {
	switch {
	case f.Status != "" && p.Status != f.Status:
		return false
	case f.UnusedFor > 0 && now.Sub(p.since()) < f.UnusedFor:
		return false
	case f.ExpiringWithin > 0 && !p.endsWithin(now, f.ExpiringWithin):
		return false
	}
	return true
}

func (p *looked) endsWithin(now time.Time, span time.Duration) bool {
	return !p.ends.IsZero() && now.Before(p.ends) && !p.ends.After(now.Add(span))
}

// deletedTries returns the texts that do not work any more and were tried
// since, the last tried first.
func (v view) deletedTries() []DeletedTry {
	var all []DeletedTry
	for _, r := range slices.Backward(v.happened.Attempts) {
		a := fromRecord(r)
		if a.Reason != ReasonDeleted || a.AppPassword.ID == "" {
			continue
		}
		i := slices.IndexFunc(all, func(d DeletedTry) bool { return d.ID == a.AppPassword.ID })
		if i >= 0 {
			all[i].Tries++
			continue
		}
		if d, ok := v.gone(a); ok {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b DeletedTry) int { return cmp.Compare(b.Last.Time.UnixMilli(), a.Last.Time.UnixMilli()) })
	return all
}

// gone returns what a tried, unless that was forgotten meanwhile.
func (v view) gone(a AttemptEntry) (DeletedTry, bool) {
	for _, d := range v.rec.Remembered {
		if hex.EncodeToString(d.Id) == a.AppPassword.ID {
			return DeletedTry{Ref: Ref{ID: a.AppPassword.ID, Name: d.Name}, Deleted: fromMillis(d.Deleted), Last: a, Tries: 1}, true
		}
	}
	i := v.pickID(a.AppPassword.ID)
	if i < 0 {
		return DeletedTry{}, false
	}
	return DeletedTry{Ref: refOf(v.rec.AppPasswords[i]), Last: a, Tries: 1}, true
}
