package core

import (
	"context"
	"errors"

	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// ownService is where attempts to prove oneself the owner are recorded.
const ownService = "self/create"

// What a stranger at the owner's desk is told: not which of the two was wrong,
// and not of which there were too many tries.
var (
	errNotOwner  = &Error{Op: "create", Kind: KindDenied, Err: errors.New("the main password or the security code is wrong; a code works once, and an app password is none of the two")}
	errOwnerWait = &Error{Op: "create", Kind: KindLimited, Err: errors.New("too many tries; wait some minutes")}
)

// CreateOwn is Create for somebody who says that the account is his: he proves
// it with its main password and a security code, which is used up. The error is
// KindDenied where one of them is wrong, and KindLimited where there were too
// many tries; both are bounded by account, whoever tries.
func (e *Engine) CreateOwn(ctx context.Context, account string, main proof.Cleartext, code string, n NewAppPassword) (AppPassword, secret.Text, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	if len(n.Reply) > 0 {
		return AppPassword{}, secret.Text{}, denied("create", "reply attributes are the administrator's to give")
	}
	if err := e.Standing(ctx, name); err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	if err := e.recordable(); err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	if err := e.provesOwner(ctx, name, main, code); err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	return e.Create(ctx, name, n)
}

// provesOwner checks both. An app password is no main password, and a directory
// is not even asked about one.
func (e *Engine) provesOwner(ctx context.Context, name string, main proof.Cleartext, code string) error {
	text, shape := secret.Parse(main)
	text.Wipe()
	right := false
	if shape != nil {
		var err error
		right, err = e.isMainPassword(ctx, name, main)
		switch k := KindOf(err); {
		case k == KindLimited:
			return errOwnerWait
		case k != 0:
			return err
		}
	}
	if !right {
		if err := e.recordAttempt(Attempt{Account: name, Proof: main, Service: ownService}, verdict{name: name, reason: ReasonWrong}); err != nil {
			return &Error{Op: "create", Kind: KindUnavailable, Err: err}
		}
		return errNotOwner
	}
	err := e.CheckCode(ctx, name, code)
	switch KindOf(err) {
	case KindDenied:
		return errNotOwner
	case KindLimited:
		return errOwnerWait
	}
	return err
}
