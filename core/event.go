package core

import (
	"context"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// An EventKind says what an Event tells of. The texts are fixed: programs
// outside of the project read them in the audit.
type EventKind string

const (
	EventAttempt         EventKind = "attempt"
	EventCreated         EventKind = "app-password-created"
	EventDeleted         EventKind = "app-password-deleted"
	EventSuspended       EventKind = "app-password-suspended"
	EventResumed         EventKind = "app-password-resumed"
	EventRotated         EventKind = "app-password-rotated"
	EventPinned          EventKind = "app-password-pinned"
	EventRepinned        EventKind = "app-password-repinned"
	EventTwoStepEnrolled EventKind = "two-step-enrolled"
	EventTwoStepOn       EventKind = "two-step-on"
	EventTwoStepOff      EventKind = "two-step-off"
	EventCodeUsed        EventKind = "security-code-used"
	EventCodeRefused     EventKind = "security-code-refused"
	EventAccountAdded    EventKind = "account-added"
	EventAccountEnabled  EventKind = "account-enabled"
	EventAccountDisabled EventKind = "account-disabled"
	EventAccountDeleted  EventKind = "account-deleted"
	EventPasswordSet     EventKind = "main-password-set"
	EventKeyRotated      EventKind = "key-rotated"
	EventKeyRetired      EventKind = "key-retired"
	EventTamper          EventKind = "tamper"
	EventBackup          EventKind = "backup"            // somebody was given a backup
	EventRestore         EventKind = "restore"           // the store is one that was restored
	EventExported        EventKind = "hashes-exported"   // somebody was given the hashes of the main passwords
	EventSessionEnded    EventKind = "session-ended"     // a session of what was taken away is over
	EventSessionNotEnded EventKind = "session-not-ended" // it may go on: the client refused or did not answer
)

// EventKinds returns every kind of event.
func EventKinds() []EventKind {
	return []EventKind{
		EventAttempt, EventCreated, EventDeleted, EventSuspended, EventResumed, EventRotated, EventPinned, EventRepinned,
		EventTwoStepEnrolled, EventTwoStepOn, EventTwoStepOff, EventCodeUsed, EventCodeRefused,
		EventAccountAdded, EventAccountEnabled, EventAccountDisabled, EventAccountDeleted, EventPasswordSet,
		EventKeyRotated, EventKeyRetired, EventTamper, EventBackup, EventRestore, EventExported,
		EventSessionEnded, EventSessionNotEnded,
	}
}

// An Event is something that happened at an account. It holds no secret. Its
// texts come from outside: whoever writes them somewhere escapes them.
type Event struct {
	Time        time.Time
	Kind        EventKind
	Actor       string // who asked for it, of administration; see WithActor
	Account     string // normalised name, or what was typed where that is none
	AppPassword Ref    // empty if there is none
	Service     string
	Source      string
	Device      string
	Method      proof.Method
	Reason      Reason // of a refused attempt; empty if it was granted
	Detail      string
}

// Result returns "granted" or "refused" for an attempt, and "" for the rest.
func (e *Event) Result() string {
	switch {
	case e.Kind != EventAttempt:
		return ""
	case e.Reason == "":
		return "granted"
	}
	return "refused"
}

// A Recorder is told of every event once it is decided. Record must not wait
// for a disk or a peer. An attempt that could not be recorded is not granted.
type Recorder interface {
	Record(e Event) error
}

// A Readier is a Recorder that can tell beforehand whether it can keep what it
// is told. While it cannot, administration is refused as unavailable.
type Readier interface {
	Ready() error
}

// recordable says, as KindUnavailable, that events cannot be kept now.
func (e *Engine) recordable() error {
	r, ok := e.opt.Recorder.(Readier)
	if !ok {
		return nil
	}
	if err := r.Ready(); err != nil {
		return &Error{Op: "audit", Kind: KindUnavailable, Err: fmt.Errorf("nothing is changed while the audit cannot be written: %w", err)}
	}
	return nil
}

type actorKey struct{}

// WithActor returns a context whose requests are recorded as made by actor.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns who asked, or nothing.
func ActorOf(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}
