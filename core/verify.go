package core

import (
	"cmp"
	"context"
	"crypto/sha256"
	"time"

	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// deviceFailures is how many failures are answered for each device of a service.
// Like those of a whole service they only silence failures; a right app password
// always works.
var deviceFailures = rate{burst: 30, perSecond: 5}

// A verdict is what Verify found out of an attempt, before it is recorded.
type verdict struct {
	reason  Reason // empty: granted
	err     error  // cause, for the log; or nil
	now     time.Time
	name    string // normalised; empty if the attempt named no possible account
	account *account
	match   *password // the app password that was used; nil if none or the main password
	ref     Ref       // the same for the record, also of a deleted one

	pinning bool    // the app password is to be pinned to the device
	reply   []Reply // what a Guard adds
	detail  string  // what a Guard says of its refusal, or why the bridge cannot answer

	mistyped bool // the check letter is wrong: no guess, whatever the reason is

	material []byte // of match, where a Trial found it; whoever has the verdict wipes it

	// hurried: nobody has time. What would wait, or compute for long, is not
	// done then, and the attempt is put off.
	hurried, putOff bool
}

// Verify decides an attempt. A nil error is the only yes. Every other answer
// is an *Error with a Reason, whose Kind says what the bridge may do: refuse
// (KindDenied, KindInvalid, KindDamaged), or stay silent so that another
// server is asked (KindLimited, KindUnavailable and whatever else). Once ctx has
// ended there is no yes, also of what is at hand: it is KindUnavailable.
func (e *Engine) Verify(ctx context.Context, a Attempt) (Grant, error) {
	var g Grant
	v := e.decide(ctx, &a)
	if e.mayHaveBeenMade(&v) {
		v = e.decide(asking(ctx), &a)
	}
	defer clear(v.material)
	if v.reason == "" && e.guards() {
		v.reason = e.guarded(ctx, a, &v)
	}
	if v.reason == "" && ctx.Err() != nil { // nobody waits for the answer any more, and a grant would be recorded
		v.reason = v.unable(ctx.Err())
	}
	weigh(&a, &v, &g)
	if v.reason == "" && v.pinning { // last, as it is written down
		v.reason = e.pinFirst(ctx, a, &v)
	}
	v.now = e.clock.now() // guards and the store may have taken their time
	if err := e.conclude(&a, methodOf(a.Proof), &v, &g); err != nil {
		return Grant{}, err
	}
	if d, ok := a.Proof.(proof.Deriver); ok {
		d.Derive(v.material)
	}
	return g, nil
}

// VerifyText is Verify of a clear text for those who have no time. The name and
// the text stand in the place of a.Account and a.Proof; of neither anything is
// kept. Where the account is not at hand, or the answer takes a write or the work
// of a main password, it says false, and nothing happened. Else it is decided:
// a.Account is what the account is called, and with a nil error g is the grant, in
// its own memory where that suffices. It does not wait, and for an account in the
// cache it allocates nothing, once it ran.
// Without a or g it decides nothing and says so: KindInvalid.
func (e *Engine) VerifyText(a *Attempt, name, typed []byte, g *Grant) (decided bool, err error) {
	if a == nil || g == nil {
		return true, errNothingGiven
	}
	var room [maxAccountName]byte
	normal, ok := appendASCII(room[:0], name)
	if !ok || a.Service == "" { // which Verify refuses
		return false, nil
	}
	at := e.atHand(normal)
	if at == nil {
		at = e.bring(string(normal))
	}
	if at == nil {
		return false, nil
	}
	a.Account = at.name
	v := verdict{now: e.clock.now(), name: a.Account, account: at, hurried: true}
	v.reason = e.decideCleartext(context.Background(), e.policy.Load(), a, proof.MethodCleartext, &v, typed)
	if v.putOff || v.reason == "" && e.guards() || e.mayHaveBeenMade(&v) {
		return false, nil
	}
	weigh(a, &v, g)
	return true, e.conclude(a, proof.MethodCleartext, &v, g)
}

// weigh makes what the bridge could not answer with no grant. g has room for one.
func weigh(a *Attempt, v *verdict, g *Grant) {
	if v.reason != "" || a.Answerer == nil {
		return
	}
	room := g.Session[:0]
	*g = v.grant()
	if v.err = a.Answerer.Answerable(g); v.err != nil {
		v.reason, v.detail = ReasonUnavailable, shortDetail(v.err.Error())
	}
	*g = Grant{Session: room}
}

// methodOf returns the method of p, and none for no proof.
func methodOf(p proof.Proof) proof.Method {
	if p == nil {
		return ""
	}
	return p.Method()
}

// conclude records what was decided, and fills in the grant.
func (e *Engine) conclude(a *Attempt, method proof.Method, v *verdict, g *Grant) error {
	if v.reason != "" && !e.mayAnswer(a, v) {
		v.reason = ReasonThrottled
	}
	if err := e.note(a, method, v); err != nil {
		return &Error{Op: "verify", Kind: KindUnavailable, Reason: ReasonUnavailable, Err: err}
	}
	if v.reason != "" {
		if v.err == nil {
			return v.reason.refusal()
		}
		return &Error{Op: "verify", Kind: v.reason.Kind(), Reason: v.reason, Err: v.err}
	}
	room := g.Session[:0]
	*g = v.grant()
	if v.match != nil {
		g.Session = e.sessions.AppendToken(room, a.Client, v.owner(), v.now)
	}
	return nil
}

// mayAnswer says whether this failure is one of those that are answered. A
// mistyped text never counts, also where the account is unknown or disabled:
// else who is silenced could find out by one which accounts there are.
func (e *Engine) mayAnswer(a *Attempt, v *verdict) bool {
	if v.mistyped || v.reason == ReasonUnavailable {
		return true
	}
	ok := e.failures.allow(a.Service, e.policy.Load().serviceFailures(a.Service))
	if a.Device != "" {
		ok = e.failures.allowPair(a.Service, a.Device, deviceFailures) && ok
	}
	return ok
}

// decide finds the verdict on a.
func (e *Engine) decide(ctx context.Context, a *Attempt) (v verdict) {
	policy := e.policy.Load()
	if v.name, v.err = a.check(); v.err != nil {
		v.reason = ReasonMalformed
		return v
	}
	if err := ctx.Err(); err != nil {
		v.reason = v.unable(err)
		return v
	}
	switch p := a.Proof.(type) {
	case proof.Cleartext:
		v.reason = e.decideCleartext(ctx, policy, a, proof.MethodCleartext, &v, p)
	case proof.Trial:
		v.reason = e.decideTrial(ctx, policy, a, &v, p)
	case proof.Unsupported:
		v.reason = cmp.Or(e.findAccount(ctx, &v), ReasonMethodNotEnabled)
	default:
		v.reason = ReasonMalformed
	}
	return v
}

// later puts the attempt off. The reason is what becomes of one that nobody takes up.
func (v *verdict) later() Reason {
	v.putOff = true
	return ReasonUnavailable
}

// unable is why an attempt cannot be decided.
func (v *verdict) unable(err error) Reason {
	v.err = err
	return ReasonUnavailable
}

// findAccount looks the account up. It returns a reason when the attempt ends here
// whatever was presented.
func (e *Engine) findAccount(ctx context.Context, v *verdict) Reason {
	var err error
	if v.account == nil { // else it was at hand
		v.account, err = e.lookup(ctx, v.name)
		v.now = e.clock.now() // that may have taken its time
	}
	switch KindOf(err) {
	case 0:
	case KindNotFound:
		return ReasonUnknownAccount
	case KindDamaged:
		v.err = err
		return ReasonTamper
	default:
		return v.unable(err)
	}
	if !v.account.dir.Enabled {
		return ReasonAccountDisabled
	}
	return ""
}

// decideCleartext checks a text that was typed: one tag of it, compared with
// the account's, whether the account exists or not.
func (e *Engine) decideCleartext(ctx context.Context, policy *Policy, a *Attempt, m proof.Method, v *verdict, typed []byte) Reason {
	if len(typed) == 0 {
		return ReasonMalformed
	}
	text, shape := secret.Parse(typed)
	defer text.Wipe()
	v.mistyped = shape == secret.ErrCheck
	if v.mistyped && policy.MainPassword == MainNever {
		return ReasonMistyped
	}
	ended := e.findAccount(ctx, v)
	if v.account == nil { // a stranger costs the same
		inner := innerHash([16]byte{}, &text)
		e.keys.Tag(e.keys.Newest(), inner[:])
		return ended
	}
	var found taggedText
	if shape == nil {
		inner := innerHash(v.account.id, &text)
		found = v.account.find(e.keys, inner[:])
		clear(inner[:])
	}
	if v.account.forgotten(found, v.now) {
		found = taggedText{}
	}
	switch found.owner {
	case ownerNone:
		if ended != "" {
			return ended
		}
		return e.decideMain(ctx, policy, v, typed, shape)
	case ownerDeleted:
		v.ref = v.account.deleted[found.index].ref
		return cmp.Or(ended, ReasonDeleted)
	}
	v.match = &v.account.passwords[found.index]
	v.ref = v.match.ref
	switch {
	case ended != "":
		return ended
	case found.owner == ownerPrevious && max(v.now.UnixMilli(), v.match.since) >= v.match.previousUntil: // without an overlap at once, also where the clock is behind
		return ReasonDeleted
	}
	return e.decideMatch(ctx, policy, a, m, v)
}

// decideMain answers for a text that is no app password of the account.
func (e *Engine) decideMain(ctx context.Context, policy *Policy, v *verdict, typed []byte, shape error) Reason {
	without := policy.MainPassword == MainWithoutTwoStep && !v.account.twoStep
	if v.hurried && (without || shape == secret.ErrShape) {
		return v.later()
	}
	if without {
		right, err := e.isMainPassword(ctx, v.name, typed)
		switch k := KindOf(err); {
		case k == KindLimited:
			return ReasonThrottled
		case k != 0:
			return v.unable(err)
		case right:
			return "" // granted
		}
	} else if shape == secret.ErrShape && e.looksLikeMainPassword(ctx, v.name, typed) {
		return ReasonMainPasswordRefused
	}
	if shape == secret.ErrCheck {
		return ReasonMistyped
	}
	return ReasonWrong
}

// decideMatch applies the rules to the app password that was presented.
func (e *Engine) decideMatch(ctx context.Context, policy *Policy, a *Attempt, m proof.Method, v *verdict) Reason {
	p := v.match
	switch {
	case policy.denies(v.account.dir.Groups) || policy.Profiles[p.scope.profile].Deny:
		return ReasonAppPasswordsDenied
	case policy.RequireTwoStep && !v.account.twoStep:
		return ReasonTwoStepOff
	case !p.inScope(policy, a.Service):
		return ReasonOutOfScope
	case !p.hasMethod(policy, m):
		return ReasonMethodNotEnabled
	case p.suspended:
		return ReasonSuspended
	}
	now := v.now
	if p.expired(now) {
		return ReasonExpired
	}
	if p.disused(policy, now, fromMillis(p.used)) {
		if v.hurried {
			return v.later()
		}
		// The account's record may be behind with the last use. Before this
		// ends an app password, ask what knows better.
		used, err := e.lastUse(ctx, v.name, p.ref.ID)
		if err != nil {
			return v.unable(err)
		}
		if p.disused(policy, now, used) {
			return ReasonUnusedExpired
		}
	}
	wrongDevice := p.pinDevice && (a.Device == "" || a.Device != p.pin())
	switch {
	case wrongDevice && (a.Device == "" || p.pin() != ""):
		return ReasonPinMismatch
	case e.tooMany(policy, a, v):
		return ReasonTooManySessions
	case wrongDevice && v.hurried:
		return v.later()
	}
	v.pinning = wrongDevice
	return ""
}

// expired says whether the date of p has come.
func (p *password) expired(now time.Time) bool {
	return p.expires != 0 && now.UnixMilli() >= p.expires
}

// disused says whether p, last used at used, has gone unused for too long.
func (p *password) disused(policy *Policy, now, used time.Time) bool {
	end := p.disuseEnd(policy, used)
	return !end.IsZero() && !now.Before(end)
}

// disuseEnd returns when p, last used at used, ends if it is not used again;
// zero is never.
func (p *password) disuseEnd(policy *Policy, used time.Time) (end time.Time) {
	since := fromMillis(p.since)
	if first := policy.firstUseWithin(p.scope.profile); used.IsZero() && first > 0 {
		end = since.Add(first)
	}
	if used.After(since) {
		since = used
	}
	if after := policy.unusedAfter(p.scope.profile); after > 0 && (end.IsZero() || since.Add(after).Before(end)) {
		end = since.Add(after)
	}
	return end
}

// innerLabel sets inner hashes apart from other hashes of the same octets.
const innerLabel = "keywicket text\x00"

// innerHash is what the tag of a text is made from: a hash of the account's id
// and the canonical text. Whoever has the tag key could test guesses with it,
// so it is kept sealed.
func innerHash(account [16]byte, text *secret.Text) [sha256.Size]byte {
	var buf [len(innerLabel) + 16 + secret.Long]byte
	b := append(buf[:0], innerLabel...)
	b = append(b, account[:]...)
	b = text.AppendTo(b)
	sum := sha256.Sum256(b)
	clear(buf[:])
	return sum
}
