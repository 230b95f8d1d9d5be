package core

import (
	"cmp"
	"context"
)

// Standing says whether the account may be used at all, whatever was presented
// to sign in: nil while the directory knows it and it is enabled. Else the
// error is KindDenied (disabled), KindNotFound, KindInvalid (nobody can have
// this name), KindDamaged or KindUnavailable. App passwords play no part in it:
// somebody who signs in with something else needs none.
func (e *Engine) Standing(ctx context.Context, account string) error {
	name, err := NormalizeAccount(account)
	if err != nil {
		return err
	}
	a, err := e.lookup(ctx, name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // as Verify, also of what is at hand
		return &Error{Op: "standing", Kind: KindUnavailable, Err: err}
	}
	if !a.dir.Enabled {
		return &Error{Op: "standing", Kind: KindDenied, Reason: ReasonAccountDisabled}
	}
	return nil
}

// Refuse records an attempt that a bridge refuses by a rule of its own, such as
// a service that the configuration does not list. What was presented is not
// looked at. It returns the refusal, as Verify would. No reason is
// ReasonUnavailable: what has none is recorded as a grant.
func (e *Engine) Refuse(_ context.Context, a Attempt, r Reason) error {
	r = cmp.Or(r, ReasonUnavailable)
	v := verdict{reason: r}
	v.name, _ = a.check() // what is no name is recorded as typed
	err := e.recordAttempt(a, v)
	return &Error{Op: "verify", Kind: r.Kind(), Reason: r, Err: err} // a "no" that cannot be recorded is still one
}
