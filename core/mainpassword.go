package core

import (
	"bytes"
	"context"
	"errors"

	"github.com/keywicket/keywicket/core/directory"
)

// A main password is a human's, and checking it is slow on purpose. So tries
// are throttled before they are checked, and never wait for each other: what
// is typed at one account must not hold up the app passwords of others.
var (
	mainTries = rate{burst: 10, perSecond: 0.2} // of one account
	diagnoses = rate{burst: 20, perSecond: 5}   // of all accounts together
)

// mainChecks is how many main passwords are being checked at the most.
const mainChecks = 8

// isMainPassword says whether typed is the account's main password. The error
// is KindLimited where it was not looked at because there were too many.
func (e *Engine) isMainPassword(ctx context.Context, name string, typed []byte) (bool, error) {
	if untypable(typed) {
		return false, nil
	}
	return e.checkMain(name, func() error { return e.directory.VerifyPassword(ctx, name, typed) })
}

// looksLikeMainPassword says whether typed is the account's main password, to
// say why an attempt is refused. It is asked only where the directory can tell
// without harm, and not often; false may mean that it was not looked at.
func (e *Engine) looksLikeMainPassword(ctx context.Context, name string, typed []byte) bool {
	d, ok := e.directory.(directory.Recognizer)
	if !ok || untypable(typed) || !e.mains.allow("", diagnoses) {
		return false
	}
	right, err := e.checkMain(name, func() error { return d.Recognize(ctx, name, typed) })
	return err == nil && right
}

// untypable says whether typed holds a backspace or a delete, which nobody can
// type into a password. sshd presents such a text in the place of what was typed
// where it lets the user in under no condition: it is no try at anybody's main
// password, and counts as none.
func untypable(typed []byte) bool { return bytes.ContainsAny(typed, "\b\x7f") }

// checkMain runs check, unless there are too many tries.
func (e *Engine) checkMain(name string, check func() error) (bool, error) {
	select {
	case e.mainSlots <- struct{}{}:
		defer func() { <-e.mainSlots }()
	default:
		return false, errMainLimited
	}
	if !e.mains.allow(name, mainTries) {
		return false, errMainLimited
	}
	err := directoryError("main password", check())
	switch KindOf(err) {
	case 0:
		e.mains.giveBack(name)
		return true, nil
	case KindDenied, KindNotFound, KindInvalid:
		return false, nil
	}
	return false, err
}

var errMainLimited = &Error{Op: "main password", Kind: KindLimited, Err: errors.New("too many tries at the main password")}
