package core

import "github.com/keywicket/keywicket/core/proof"

// A Reason says why an attempt was refused. It goes to the audit and to the
// administrator; the device never learns it. The texts are fixed: programs
// outside of the project read them.
type Reason string

const (
	ReasonUnknownAccount      Reason = "unknown-account"
	ReasonAccountDisabled     Reason = "account-disabled"
	ReasonAppPasswordsDenied  Reason = "app-passwords-denied"
	ReasonTwoStepOff          Reason = "two-step-off"
	ReasonMistyped            Reason = "mistyped"
	ReasonWrong               Reason = "wrong"
	ReasonDeleted             Reason = "deleted"
	ReasonExpired             Reason = "expired"
	ReasonUnusedExpired       Reason = "unused-expired"
	ReasonSuspended           Reason = "suspended"
	ReasonOutOfScope          Reason = "out-of-scope"
	ReasonMethodNotEnabled    Reason = "method-not-enabled"
	ReasonPinMismatch         Reason = "pin-mismatch"
	ReasonMainPasswordRefused Reason = "main-password-refused"
	ReasonMalformed           Reason = "malformed"
	ReasonThrottled           Reason = "throttled"
	ReasonUnavailable         Reason = "unavailable"
	ReasonTamper              Reason = "tamper"
	ReasonTooManySessions     Reason = "too-many-sessions"
	ReasonRefusedByHook       Reason = "refused-by-hook"
)

// A reasonRow is what one reason means to a program and to a person.
type reasonRow struct {
	reason   Reason
	kind     Kind
	sentence string // what happened and what to do; follows "refused: "
}

var reasons = []reasonRow{
	{ReasonUnknownAccount, KindDenied, "the directory has no account of this name; check the spelling on the device, and the realm rule of the bridge"},
	{ReasonAccountDisabled, KindDenied, "the account is disabled; enable it, and its app passwords work again"},
	{ReasonAppPasswordsDenied, KindDenied, "app passwords are disallowed for this account or for the app password's profile; the administrator's configuration says so"},
	{ReasonTwoStepOff, KindDenied, "two-step verification is off for this account, so its app passwords do not work; turn it on with two-step enroll and two-step confirm"},
	{ReasonMistyped, KindDenied, "the app password was mistyped: its check letter does not fit; type it again"},
	{ReasonWrong, KindDenied, "the password belongs to no app password of this account; create an app password for this device"},
	{ReasonDeleted, KindDenied, "the app password was deleted or rotated, and the device still has the old one; give it the new one or create one for it, or take the old one out of it"},
	{ReasonExpired, KindDenied, "the app password has expired; create a new one for this device"},
	{ReasonUnusedExpired, KindDenied, "the app password was not used for too long and has expired; create a new one for this device"},
	{ReasonSuspended, KindDenied, "the app password is suspended; resume it with app-password resume"},
	{ReasonOutOfScope, KindDenied, "the app password is right, but its profile does not allow this service; create one with a profile that does"},
	{ReasonMethodNotEnabled, KindDenied, "the device used a method that it may not use here, or that no fitting app password has; set the device to PAP, or allow the method in [radius.client] methods and create an app password with a profile that has it (MS-CHAPv2 outside a tunnel also wants allow_insecure_mschap; MS-CHAPv1 and changes of a password are never taken, and EAP is not yet)"},
	{ReasonPinMismatch, KindDenied, "the app password is right, but pinned to another device; if the device was replaced, use app-password repin"},
	{ReasonMainPasswordRefused, KindDenied, "the main password was used; with two-step verification on, create an app password for this device"},
	{ReasonMalformed, KindInvalid, "the request was malformed: no account, no password, or more than one proof; look at the device's settings, and at keywicket radius debug while it tries"},
	{ReasonThrottled, KindLimited, "too many failures came from this service or device, so this one was not answered; find the device that keeps trying"},
	{ReasonUnavailable, KindUnavailable, "the attempt could not be decided or answered: the store, the directory or a hook was away or slow, or the answer had reply attributes that no dictionary knows any more, or more than fit; look at keywicket status, keywicket audit tail and the log"},
	{ReasonTamper, KindDamaged, "the account's record was changed or damaged outside of Keywicket; restore it from a backup, and find out who could write there"},
	{ReasonTooManySessions, KindDenied, "the app password is right, but in use already as often as its profile allows; keywicket session list shows where, and a session whose end was lost goes away by itself"},
	{ReasonRefusedByHook, KindDenied, "the proof was right, and a hook refused the sign-in; the audit has what it said, and its own settings say when it does"},
}

// Reasons returns every reason.
func Reasons() []Reason {
	all := make([]Reason, len(reasons))
	for i, row := range reasons {
		all[i] = row.reason
	}
	return all
}

func (r Reason) row() reasonRow {
	for _, row := range reasons {
		if row.reason == r {
			return row
		}
	}
	return reasonRow{reason: r, kind: KindInternal, sentence: "the reason is not known to this version"}
}

// Kind returns what a bridge may do about an attempt refused for r.
func (r Reason) Kind() Kind { return r.row().kind }

// Sentence returns what happened and what to do about it, for a person.
func (r Reason) Sentence() string { return r.row().sentence }

// SentenceOf is Sentence for an attempt by a method, of device, which is empty where
// the attempt does not say: then no repin helps.
func (r Reason) SentenceOf(m proof.Method, device string) string {
	switch {
	case r == ReasonWrong && (m == proof.MethodCHAP || m == proof.MethodMSCHAPv2):
		return "the password belongs to no app password of this account that has this method; type the lower-case letters alone, without hyphens or spaces, or create an app password for this device with a profile that has the method"
	case r == ReasonPinMismatch && device == "":
		return "the app password is right, but belongs to one device, and the sign-in does not say which device it is; let the client send it (Calling-Station-Id in RADIUS, the remote host in PAM), or create one with a profile without pin"
	}
	return r.Sentence()
}

// refusals are the errors of attempts that were refused for a reason that needs
// no cause, made once: whoever is flooded with failures makes no garbage of them.
var refusals = func() []*Error {
	all := make([]*Error, len(reasons))
	for i, row := range reasons {
		all[i] = &Error{Op: "verify", Kind: row.kind, Reason: row.reason}
	}
	return all
}()

func (r Reason) refusal() *Error {
	for _, e := range refusals {
		if e.Reason == r {
			return e
		}
	}
	return &Error{Op: "verify", Kind: KindInternal, Reason: r}
}
