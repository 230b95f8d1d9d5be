package main

import (
	"errors"
	"testing"

	"github.com/keywicket/keywicket/core"
)

// A toldRecorder keeps what it is told, or fails.
type toldRecorder struct {
	err  error
	told []core.Event
}

func (r *toldRecorder) Record(e core.Event) error {
	r.told = append(r.told, e)
	return r.err
}

func (r *toldRecorder) Ready() error { return r.err }

// What the audit cannot keep is not granted, and nobody counts it as a grant.
func TestRecordersAfterFailure(t *testing.T) {
	full := errors.New("the disk is full")
	audit, counts := &toldRecorder{err: full}, &toldRecorder{}
	r := &recorders{}
	granted := core.Event{Kind: core.EventAttempt, Account: "alain@contoso.com"}
	if r.Record(granted) == nil || r.Ready() == nil {
		t.Error("before the audit is open, an event is taken")
	}
	r.set(audit, counts)
	if err := r.Record(granted); !errors.Is(err, full) {
		t.Errorf("Record: %v", err)
	}
	if err := r.Ready(); !errors.Is(err, full) {
		t.Errorf("Ready: %v", err)
	}
	if len(counts.told) != 1 || counts.told[0].Reason != core.ReasonUnavailable {
		t.Errorf("counted as %+v", counts.told)
	}
	audit.err = nil
	if err := errors.Join(r.Record(granted), r.Ready()); err != nil {
		t.Error(err)
	}
	if counts.told[1].Reason != "" {
		t.Errorf("counted as %+v", counts.told[1])
	}
}
