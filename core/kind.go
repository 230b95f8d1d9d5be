package core

import (
	"context"
	"errors"
	"fmt"
)

// A Kind says what a caller may do about an error. The numbers travel over
// gRPC to programs built years apart: add at the end, never reorder or reuse.
type Kind uint8

const (
	_               Kind = iota // no kind; KindOf gives it for a nil error only
	KindInternal                // our bug; log it, never a yes
	KindDenied                  // a verdict: the sign-in, or what was asked, is refused
	KindInvalid                 // the request itself is malformed; do not repeat it
	KindNotFound                // no such account or app password; Verify says KindDenied
	KindConflict                // the name is taken, or a limit of the rules is reached
	KindLimited                 // too many tries; repeat later
	KindUnavailable             // store or directory out of reach; repeating may help
	KindDamaged                 // a record was changed or damaged outside of Keywicket
	kindEnd
)

var kindNames = [kindEnd]string{"none", "internal", "denied", "invalid", "not-found", "conflict", "limited", "unavailable", "damaged"}

// String returns the name of k as it stands in logs.
func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Kinds returns every kind, so that a mapping can be proved whole.
func Kinds() []Kind {
	var all []Kind
	for k := KindInternal; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

// An Error is the only error type that leaves this package.
//
// Error() is for the log and for the administrator at the control socket.
// Nothing in it goes to a device: each bridge answers from KindOf alone.
type Error struct {
	Op     string // "verify", "create app password"
	Kind   Kind
	Reason Reason // of a refused attempt; empty for everything else
	Err    error  // cause, or nil; holds no secret
}

func (e *Error) Error() string {
	switch {
	case e.Err != nil && e.Op != "":
		return e.Op + ": " + e.Err.Error()
	case e.Err != nil:
		return e.Err.Error()
	case e.Reason != "":
		return e.Op + ": " + string(e.Reason)
	}
	return e.Op + ": " + e.Kind.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is how code asks about an error. The outermost Error decides. A
// cancelled or late context is KindUnavailable; anything foreign is
// KindInternal, so that a forgotten case fails closed and shows up in the log.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if e, ok := err.(*Error); ok && e.Kind > 0 && e.Kind < kindEnd { // what errors.As needs would be allocated
		return e.Kind
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e.Kind > 0 && e.Kind < kindEnd:
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindUnavailable
	}
	return KindInternal
}

// ReasonOf returns why an attempt was refused: the reason of the outermost
// Error, and for an error without one ReasonUnavailable. A nil error has none.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e.Reason != "":
		return e.Reason
	}
	return ReasonUnavailable
}
