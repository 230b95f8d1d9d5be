package core

import (
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
)

// An AttemptEntry is one attempt as the history of an account keeps it.
type AttemptEntry struct {
	Time        time.Time
	Service     string
	Source      string // address, or empty
	Device      string
	Method      proof.Method
	Reason      Reason // empty: granted
	AppPassword Ref    // empty if there was none
}

// Sentence tells a person why the attempt was refused and what to do; it is
// empty for a grant. Out of scope without an app password is a service that its
// bridge does not serve at all.
func (a AttemptEntry) Sentence() string {
	switch {
	case a.Reason == "":
		return ""
	case a.Reason == ReasonOutOfScope && a.AppPassword.ID == "":
		return "the service is not one where app passwords count, so that nobody looked at the password; list it in [pam] services if they shall"
	}
	return a.Reason.SentenceOf(a.Method, a.Device)
}

func fromRecord(r *record.Attempt) AttemptEntry {
	return AttemptEntry{
		Time: fromMillis(r.GetTime()), Service: r.GetService(), Source: r.GetSource(), Device: r.GetDevice(),
		Method: proof.Method(r.GetMethod()), Reason: Reason(r.GetReason()),
		AppPassword: Ref{ID: r.GetAppPasswordId(), Name: r.GetAppPasswordName()},
	}
}
