package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
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

// What the audit cannot keep is not granted, and nobody counts it as a grant.
func TestRecordersAfterFailure(t *testing.T) {
	r, first, second := &recorders{}, &toldRecorder{}, &toldRecorder{}
	granted := core.Event{Kind: core.EventAttempt, Account: "alain@contoso.com"}
	if r.Record(granted) == nil || r.Ready() == nil {
		t.Error("before the audit is open, an event is taken")
	}
	log, err := audit.Open(audit.Options{Dir: t.TempDir() + "/audit", Key: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r.set(log, first, second)
	if err := errors.Join(r.Record(granted), r.Ready()); err != nil {
		t.Error(err)
	}
	full := errors.New("no room")
	first.err = full
	if err := r.Record(granted); !errors.Is(err, full) {
		t.Errorf("Record: %v", err)
	}
	first.err = nil
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Ready() == nil {
		t.Error("without the audit it is ready")
	}
	if err := r.Record(granted); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("Record: %v", err)
	}
	const unavailable = core.ReasonUnavailable
	for who, want := range map[*toldRecorder][]core.Reason{first: {"", "", unavailable}, second: {"", unavailable, unavailable}} {
		if len(who.told) != len(want) {
			t.Fatalf("told of %+v", who.told)
		}
		for i, e := range who.told {
			if e.Reason != want[i] {
				t.Errorf("event %d was told as %q, want %q", i, e.Reason, want[i])
			}
		}
	}
}
