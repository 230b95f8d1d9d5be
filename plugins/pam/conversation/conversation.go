package conversation

import (
	"fmt"
)

// Verb is the argument that makes keywicket-pam read one Request from its
// standard input and write one Result to its standard output, both as JSON.
const Verb = "converse"

// MaxPassword is the most octets that PAM takes (PAM_MAX_RESP_SIZE).
const MaxPassword = 512

// The steps of a conversation.
const (
	StepStart        = "start" // nothing was asked yet
	StepAuthenticate = "authenticate"
	StepAccount      = "account"
)

// A Request is one conversation with the stack of a service.
type Request struct {
	Service  string   `json:"service"`
	User     string   `json:"user"`
	RHost    string   `json:"rhost,omitempty"`
	Dir      string   `json:"dir,omitempty"` // of the services' files; empty: the host's own
	Steps    []string `json:"steps"`         // in this order, up to the first that fails
	Password []byte   `json:"password,omitempty"`
}

// A Result is how it ended. Only a Code of Success is a yes.
type Result struct {
	Step  string   `json:"step"` // the last one
	Code  Code     `json:"code"`
	Asked int      `json:"asked"`          // how often the stack asked for the password
	Said  []string `json:"said,omitempty"` // messages and questions of the stack, for a person
}

// A Code is what PAM returns. The numbers are Linux-PAM's, and fixed. NoCode is
// none: there was no answer.
type Code int

// The codes that are told apart.
const (
	NoCode          Code = -1
	Success         Code = 0
	ServiceErr      Code = 3
	PermDenied      Code = 6
	AuthErr         Code = 7
	AuthinfoUnavail Code = 9
	UserUnknown     Code = 10
	MaxTries        Code = 11
	NewAuthtokReqd  Code = 12
	AcctExpired     Code = 13
	CredExpired     Code = 16
	ConvErr         Code = 19
	Abort           Code = 26
	ModuleUnknown   Code = 28
)

var codeNames = [...]string{
	"PAM_SUCCESS", "PAM_OPEN_ERR", "PAM_SYMBOL_ERR", "PAM_SERVICE_ERR", "PAM_SYSTEM_ERR", "PAM_BUF_ERR", "PAM_PERM_DENIED",
	"PAM_AUTH_ERR", "PAM_CRED_INSUFFICIENT", "PAM_AUTHINFO_UNAVAIL", "PAM_USER_UNKNOWN", "PAM_MAXTRIES", "PAM_NEW_AUTHTOK_REQD",
	"PAM_ACCT_EXPIRED", "PAM_SESSION_ERR", "PAM_CRED_UNAVAIL", "PAM_CRED_EXPIRED", "PAM_CRED_ERR", "PAM_NO_MODULE_DATA",
	"PAM_CONV_ERR", "PAM_AUTHTOK_ERR", "PAM_AUTHTOK_RECOVERY_ERR", "PAM_AUTHTOK_LOCK_BUSY", "PAM_AUTHTOK_DISABLE_AGING",
	"PAM_TRY_AGAIN", "PAM_IGNORE", "PAM_ABORT", "PAM_AUTHTOK_EXPIRED", "PAM_MODULE_UNKNOWN", "PAM_BAD_ITEM", "PAM_CONV_AGAIN", "PAM_INCOMPLETE",
}

// String returns the name that PAM's documentation has for c.
func (c Code) String() string {
	if c >= 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("PAM code %d", int(c))
}
