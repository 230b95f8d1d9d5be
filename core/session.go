package core

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/session"
)

func (e *Engine) newSessions() *session.Table {
	return session.New(session.Options{
		Store: e.store, Keyring: e.keys, Now: e.opt.Now, Log: e.log, Node: e.opt.Node,
		Standing: e.standings, Ended: e.recordEnding, Damaged: e.recordDamaged,
	})
}

// ReportSession takes what a client says of a session. Nil means that it is
// recorded. KindNotFound means that nothing ties the session to an app password,
// so that nothing is kept of it; KindInvalid, that it does not say what happened to
// which session. No report decides a sign-in but by Profile.Sessions.
func (e *Engine) ReportSession(ctx context.Context, r session.Report) error {
	if err := e.store.may(ctx); err != nil { // which sessions there are is not known yet
		return storeError("report session", err)
	}
	r.Account, _ = NormalizeAccount(r.Account) // what nobody can be called is nobody's name
	return sessionError("report session", e.sessions.Report(ctx, r))
}

// ForgetSessions ends every session of client that is of what began anew: a device
// that was switched off has none. The error is KindUnavailable
// where the sessions of before are not read yet.
func (e *Engine) ForgetSessions(ctx context.Context, client string, of func(session.Session) bool) error {
	if of == nil {
		return invalid("forget sessions", "it does not say which")
	}
	if err := e.store.may(ctx); err != nil {
		return storeError("forget sessions", err)
	}
	return sessionError("forget sessions", e.sessions.Forget(ctx, client, of))
}

// Sessions returns the sessions of one account, or of all where account is
// empty, by account and age.
func (e *Engine) Sessions(account string) ([]session.Session, error) {
	name := ""
	if account != "" {
		var err error
		if name, err = NormalizeAccount(account); err != nil {
			return nil, err
		}
	}
	return e.sessions.List(name), nil
}

// EndSessionsWith has sessions ended by x once their app password does not hold
// any more, whoever or whatever took it away; nil: by nobody.
func (e *Engine) EndSessionsWith(x session.Ender) { e.sessions.EndWith(x) }

// SessionEndings returns what came of the sessions of an account that were to
// be ended since then, and waits for it as long as ctx lasts: what is not known
// by then is session.Waits, and goes on.
func (e *Engine) SessionEndings(ctx context.Context, account string, since time.Time) ([]session.Session, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return nil, err
	}
	all, err := e.sessions.Endings(ctx, name, since)
	return all, sessionError("end sessions", err)
}

// sessionError gives an error of the sessions its kind. It is nil for nil.
func sessionError(op string, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known): // of standings
		return err
	case errors.Is(err, session.ErrUntied):
		return &Error{Op: op, Kind: KindNotFound, Err: err}
	case errors.Is(err, session.ErrInvalid):
		return &Error{Op: op, Kind: KindInvalid, Err: err}
	}
	return storeError(op, err)
}

// standings says what is so at an account for its sessions. Where its record is
// damaged nobody can tell: sign-in is refused, and what goes on goes on. Where
// nodes share the store, the news of an app password that another one has made can
// come after those of its first session.
func (e *Engine) standings(ctx context.Context, name string, about []session.Owner) (session.Standing, error) {
	a, err := e.lookup(ctx, name)
	if err == nil && e.opt.Node != "" && slices.ContainsFunc(about, a.lacks) {
		a, err = e.lookup(asking(ctx), name)
	}
	switch KindOf(err) {
	case 0:
	case KindNotFound, KindDamaged:
		damaged := KindOf(err) == KindDamaged
		return func(session.Owner) (string, bool) { return "", damaged }, nil
	default:
		return nil, err
	}
	policy := e.policy.Load()
	return func(of session.Owner) (string, bool) {
		if a.id != of.AccountID { // not a secret: ids
			return "", false
		}
		if i := slices.IndexFunc(a.passwords, func(p password) bool { return p.id == of.AppPassword }); i >= 0 { // not a secret: ids
			return a.passwords[i].ref.Name, e.holds(policy, a, &a.passwords[i])
		}
		id := hex.EncodeToString(of.AppPassword[:])
		if i := slices.IndexFunc(a.deleted, func(d deleted) bool { return d.ref.ID == id }); i >= 0 {
			return a.deleted[i].ref.Name, false
		}
		return "", false
	}, nil
}

// lacks says whether a neither has that app password nor remembers it.
func (a *account) lacks(of session.Owner) bool {
	id := hex.EncodeToString(of.AppPassword[:])
	return a.id != of.AccountID || // not a secret: ids
		!slices.ContainsFunc(a.passwords, func(p password) bool { return p.id == of.AppPassword }) && // not a secret: ids
			!slices.ContainsFunc(a.deleted, func(d deleted) bool { return d.ref.ID == id })
}

// holds says whether p could sign in now, whatever the service: who it is of,
// its status and its date.
func (e *Engine) holds(policy *Policy, a *account, p *password) bool {
	switch {
	case !a.dir.Enabled, p.suspended, p.expired(e.clock.now()):
		return false
	case policy.denies(a.dir.Groups), policy.Profiles[p.scope.profile].Deny, policy.RequireTwoStep && !a.twoStep:
		return false
	}
	return true
}

// owner is the app password of v, as a session knows it.
func (v *verdict) owner() session.Owner {
	return session.Owner{Account: v.name, AccountID: v.account.id, AppPassword: v.match.id}
}

// tooMany says whether the app password that was presented is in use as often
// as its profile allows. What the same device had at the same port before is
// over: it is back.
func (e *Engine) tooMany(policy *Policy, a *Attempt, v *verdict) bool {
	most := policy.Profiles[v.match.scope.profile].Sessions
	return most > 0 && e.sessions.Count(v.owner(), session.Place{Client: a.Client, Device: a.Device, Port: a.Port}) >= most
}

// recordEnding tells the audit what came of a session that was to be ended.
func (e *Engine) recordEnding(n session.Session) {
	ev := Event{
		Kind: EventSessionNotEnded, Account: n.Account, AppPassword: Ref{ID: n.AppPassword, Name: n.AppPasswordName},
		Device: n.Device, Detail: n.Client + ": " + string(n.Outcome),
	}
	if n.Outcome == session.Ended {
		ev.Kind = EventSessionEnded
	}
	if n.Detail != "" {
		ev.Detail += ", " + n.Detail
	}
	e.record(context.Background(), ev)
}

// recordDamaged tells the audit of the record of a session that cannot be opened.
func (e *Engine) recordDamaged(key string) {
	e.recordTamper("", &Error{Op: "read session", Kind: KindDamaged, Err: fmt.Errorf("the record %q cannot be opened", key)})
}
