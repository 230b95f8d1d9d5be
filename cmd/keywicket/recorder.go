package main

import (
	"errors"
	"sync/atomic"

	"github.com/keywicket/keywicket/core"
)

// recorders tell each of several of an event. They are there before those
// several: the audit is opened after the engine has found that the keyring is
// the store's, because what another keyring signs breaks the audit's chain.
type recorders struct {
	all atomic.Pointer[[]core.Recorder]
}

var errNoRecorder = errors.New("the audit is not open yet")

func (r *recorders) set(all ...core.Recorder) { r.all.Store(&all) }

// Record tells all of them; the first error counts. Who comes after it is told
// what becomes of an attempt that cannot be recorded.
func (r *recorders) Record(e core.Event) (first error) {
	all := r.all.Load()
	if all == nil {
		return errNoRecorder
	}
	for _, each := range *all {
		err := each.Record(e)
		if err == nil || first != nil {
			continue
		}
		first = err
		if e.Kind == core.EventAttempt {
			e.Reason = core.ReasonUnavailable
		}
	}
	return first
}

// Ready asks those who can tell beforehand.
func (r *recorders) Ready() error {
	all := r.all.Load()
	if all == nil {
		return errNoRecorder
	}
	for _, each := range *all {
		if each, ok := each.(core.Readier); ok {
			if err := each.Ready(); err != nil {
				return err
			}
		}
	}
	return nil
}
