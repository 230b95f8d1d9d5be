package core

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// A SessionEvent is what a SessionReport tells of.
type SessionEvent uint8

const (
	_              SessionEvent = iota
	SessionStarts               // it began
	SessionGoesOn               // it is still there
	SessionStopped              // it is over
)

// A SessionReport is what a bridge was told of a session by the client that
// has it. Texts may be empty where the client did not say.
type SessionReport struct {
	Event  SessionEvent
	Client string // who reports, as in Attempt
	ID     string // tells the session from every other one of Client; any octets

	// Tokens has what came back of Grant.Session, if anything, among what else
	// may have come. One is good for the client alone that it was given to.
	Tokens [][]byte

	Account string // as reported; counts only where a token has no room for it
	Device  string // as in Attempt
	Port    string // as in Attempt
	Address string // that the device was given
	Handle  []byte // what the bridge needs to end it

	At        time.Time     // when it was so
	For       time.Duration // how long the session had lasted by then; 0: not said
	Every     time.Duration // how often the client reports; 0: not known
	HasOctets bool          // the next two were said
	OctetsIn  uint64        // from the device
	OctetsOut uint64        // to the device
}

// A Session is an app password in use, as a client reported it.
type Session struct {
	Account     string
	AppPassword Ref
	Client      string
	Device      string
	Address     string
	Since       time.Time
	OctetsIn    uint64 // from the device
	OctetsOut   uint64 // to the device
	Handle      []byte // of its SessionReport
}

var errForeignSession = &Error{Op: "report session", Kind: KindNotFound, Err: errors.New("the session is tied to no app password")}

// ReportSession takes what a client says of a session. Nil means that it is
// recorded: a beginning and an end are in the store then, the rest follows
// within sessionFlush. KindNotFound means that nothing ties the session to an
// app password, so that nothing is kept of it.
//
// What is reported is never believed beyond the client that reports it, and
// decides no sign-in but by Profile.Sessions.
func (e *Engine) ReportSession(ctx context.Context, r SessionReport) error {
	key := sessionKeyOf(r.Client, r.ID)
	t, tied := e.openTokens(r)
	if !tied && !e.sessions.knows(key) {
		return errForeignSession
	}
	var ref Ref
	holds := true
	if tied && !e.sessions.knowsAs(key, t) {
		var err error
		if ref, holds, err = e.ownerOf(ctx, t); err != nil {
			return err
		}
	}
	now := e.opt.Now()
	name, ok := e.sessions.report(key, r, t, ref, now)
	if !ok {
		return errForeignSession
	}
	if !holds { // it was deleted before the client told of the session
		e.sessions.suspect(name)
	}
	if r.Event == SessionGoesOn {
		return nil
	}
	return e.sessions.written(ctx, key)
}

// ForgetSessions ends every session of client whose handle is of what began
// anew: a device that was switched off has none.
func (e *Engine) ForgetSessions(ctx context.Context, client string, of func(handle []byte) bool) error {
	return e.sessions.written(ctx, e.sessions.forget(client, of, e.opt.Now())...)
}

// Sessions returns the sessions of one account, or of all where account is
// empty, by account and age.
func (e *Engine) Sessions(account string) ([]Session, error) {
	name := ""
	if account != "" {
		var err error
		if name, err = NormalizeAccount(account); err != nil {
			return nil, err
		}
	}
	all := e.sessions.list(name)
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), a.Since.Compare(b.Since), cmp.Compare(a.Client, b.Client), cmp.Compare(a.AppPassword.ID, b.AppPassword.ID))
	})
	return all, nil
}

// ownerOf says whose the token is, and whether that app password still works.
func (e *Engine) ownerOf(ctx context.Context, t token) (ref Ref, holds bool, err error) {
	ref = t.ref()
	a, err := e.lookup(ctx, t.name)
	switch KindOf(err) {
	case 0:
	case KindNotFound, KindDamaged:
		return ref, false, nil
	default:
		return ref, false, err
	}
	if p := a.passwordOf(t); p != nil {
		ref = p.ref
	} else if i := slices.IndexFunc(a.deleted, func(d deleted) bool { return d.ref.ID == ref.ID }); i >= 0 && a.id == t.account { // not a secret: ids
		ref = a.deleted[i].ref
	}
	return ref, e.holds(e.policy.Load(), a, t), nil
}

// holds says whether the app password of t could sign in now, whatever the
// service: who it is of, its status and its date.
func (e *Engine) holds(policy *Policy, a *account, t token) bool {
	p := a.passwordOf(t)
	switch {
	case p == nil, !a.dir.Enabled, p.suspended, p.expired(e.clock.now()):
		return false
	case policy.denies(a.dir.Groups), policy.Profiles[p.scope.profile].Deny, policy.RequireTwoStep && !a.twoStep:
		return false
	}
	return true
}

// passwordOf returns the app password that t is of, or nil.
func (a *account) passwordOf(t token) *password {
	if a.id != t.account { // not a secret: ids
		return nil
	}
	i := slices.IndexFunc(a.passwords, func(p password) bool { return p.id == t.password }) // not a secret: ids
	if i < 0 {
		return nil
	}
	return &a.passwords[i]
}

// tooMany says whether the app password that was presented is in use as often
// as its profile allows. What the same device had at the same port before is
// over: it is back.
func (e *Engine) tooMany(policy *Policy, a *Attempt, v verdict) bool {
	most := policy.Profiles[v.match.scope.profile].Sessions
	return most > 0 && e.sessions.count(v.name, token{account: v.account.id, password: v.match.id}, *a) >= most
}
