package backup

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
	"github.com/keywicket/keywicket/core/keyring"
)

// history is what the audit tells of the time after a backup, by account.
type history map[string]*happened

// happened is what was done to one account.
type happened struct {
	deleted      bool
	enabled      bool // the last that was said, if changed
	changed      bool // it was enabled or disabled
	password     bool // the main password was set
	twoStep      bool // was turned on or off, so that its secret is another
	codeUsed     bool
	recoveryUsed bool
	gone         map[string]string // app passwords whose text does not work any more, and why
	suspended    map[string]bool   // what was said last
	pins         map[string]string
}

// readHistory reads the audit in dir since a time, and says until when it tells.
// Where it cannot, the history is nil and the text says why.
func readHistory(ctx context.Context, dir string, keys *keyring.Keyring, since time.Time) (h history, until time.Time, why string, err error) {
	report, err := audit.Verify(dir, append(keys.OldAuditKeys(), keys.AuditKey()))
	switch {
	case err != nil:
		return nil, until, fmt.Sprintf("the audit cannot be read (%v)", err), nil
	case len(report.Faults) > 0:
		return nil, until, fmt.Sprintf("the audit does not verify: %s", report.Faults[0]), nil
	case report.Lines == 0 || report.From.After(since):
		return nil, until, "the audit does not reach back to the backup", nil
	}
	h = make(history)
	begun, lost := false, false
	err = audit.Read(ctx, dir, audit.Filter{}, func(e audit.Entry, _ []byte) error {
		// Behind the first event after the backup the order counts, and not
		// what a clock said.
		if begun = begun || !e.Time.Before(since); begun {
			lost = lost || e.Event == audit.EventDropped
			h.note(e)
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, until, "", ctx.Err()
	case err != nil:
		return nil, until, fmt.Sprintf("the audit cannot be read (%v)", err), nil
	case lost:
		return nil, until, "events are missing in the audit, which it says itself", nil
	}
	return h, report.To, "", nil
}

func (h history) of(name string) *happened {
	a := h[name]
	if a == nil {
		a = &happened{gone: map[string]string{}, suspended: map[string]bool{}, pins: map[string]string{}}
		h[name] = a
	}
	return a
}

// note puts down one event.
func (h history) note(e audit.Entry) {
	name, err := core.NormalizeAccount(e.Account)
	if err != nil {
		return
	}
	id := e.AppPassword.ID
	switch e.Event {
	case core.EventDeleted:
		h.of(name).gone[id] = whyDeleted
	case core.EventRotated:
		h.of(name).gone[id] = whyRotated
	case core.EventSuspended, core.EventResumed:
		h.of(name).suspended[id] = e.Event == core.EventSuspended
	case core.EventPinned, core.EventRepinned:
		h.of(name).pins[id] = e.Device // none where it may be pinned anew
	case core.EventTwoStepOn, core.EventTwoStepOff:
		h.of(name).twoStep = true
	case core.EventCodeUsed:
		a := h.of(name)
		a.codeUsed = true
		a.recoveryUsed = a.recoveryUsed || e.Detail != ""
	case core.EventAccountEnabled, core.EventAccountDisabled:
		a := h.of(name)
		a.changed, a.enabled = true, e.Event == core.EventAccountEnabled
	case core.EventPasswordSet:
		h.of(name).password = true
	case core.EventAccountDeleted:
		h.of(name).deleted = true
	}
}

func hexID(id []byte) string { return hex.EncodeToString(id) }
