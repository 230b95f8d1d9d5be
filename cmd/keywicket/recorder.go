package main

import (
	"errors"
	"sync/atomic"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
)

// recorders tell the audit of an event, and then others. They are there before
// those: the audit is opened after the engine has found that the keyring is
// the store's, because what another keyring signs breaks the audit's chain.
type recorders struct {
	told atomic.Pointer[told]
}

type told struct {
	audit  *audit.Log // of this type, so that it need not be given a copy of each event
	others []core.Recorder
}

var errNoRecorder = errors.New("the audit is not open yet")

func (r *recorders) set(a *audit.Log, others ...core.Recorder) { r.told.Store(&told{a, others}) }

// Record tells all of them; the first error counts. Who comes after it is told
// what becomes of an attempt that cannot be recorded.
func (r *recorders) Record(e core.Event) error {
	to := r.told.Load()
	if to == nil {
		return errNoRecorder
	}
	first := to.audit.Take(&e)
	for _, each := range to.others {
		if first != nil && e.Kind == core.EventAttempt {
			e.Reason = core.ReasonUnavailable
		}
		if err := each.Record(e); first == nil {
			first = err
		}
	}
	return first
}

// Ready asks the audit, which can tell beforehand.
func (r *recorders) Ready() error {
	to := r.told.Load()
	if to == nil {
		return errNoRecorder
	}
	return to.audit.Ready()
}
