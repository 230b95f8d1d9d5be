package core

import (
	"errors"
	"net/netip"
	"reflect"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// An Attempt is one try to sign in, as a bridge saw it.
type Attempt struct {
	Account string      // as typed; need not be normalised or even valid
	Proof   proof.Proof // nil if the request was malformed: it is refused as that
	Service string      // where, said by the bridge: "radius/vpn1", "pam/sshd"; required
	Source  netip.Addr  // who asked, or the zero Addr
	Device  string      // Calling-Station-Id, remote host; empty if not known
	Client  string      // who asks for the device, by its name in the configuration, where Service does not tell it; may be empty
	Port    string      // where at the client the device is: NAS-Port; empty if not known

	// Answerer, unless nil, is asked before something is granted, and recorded as
	// that, which the bridge may not be able to answer.
	Answerer Answerer
}

// What whoever calls has to give, and did not.
var (
	errNothingGiven = &Error{Op: "verify", Kind: KindInvalid, Reason: ReasonMalformed, Err: errors.New("an attempt, and where the grant goes, are required")}
	errNilProof     = errors.New("the proof is a nil pointer")
	errNoService    = errors.New("the attempt names no service")
)

// check returns the normalised name of the account, and what is wrong with a. A
// proof that is a nil pointer is taken out of it: it could not even say its method.
func (a *Attempt) check() (name string, err error) {
	name, err = NormalizeAccount(a.Account)
	_, text := a.Proof.(proof.Cleartext) // as most are
	switch {
	case !text && isNil(a.Proof):
		a.Proof = nil
		return name, errNilProof
	case err == nil && a.Service == "": // "*" would cover it
		return name, errNoService
	}
	return name, err
}

// isNil says whether x is a nil pointer: an interface that holds one is not nil.
func isNil(x any) bool {
	v := reflect.ValueOf(x)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// An Answerer is a bridge that knows which grants it can answer.
type Answerer interface {
	// Answerable says what keeps the bridge from answering this attempt with g, which
	// has no Session yet. What it says goes to the audit. Nothing of g is kept.
	Answerable(g *Grant) error
}

// A Grant is the answer to an attempt that succeeded. There is none without a
// nil error beside it.
type Grant struct {
	Account string // canonical name
	Groups  []string

	// AppPassword is the one that was used. Its ID is empty if the main
	// password was.
	AppPassword Ref
	Profile     string // of the app password; empty for the main password

	// Reply are attributes of the app password itself, and what a Guard adds; of
	// two with one name that is the Guard's. A bridge that cannot send
	// one of them as it is meant must not send a yes. They must not be changed.
	Reply []Reply

	// Session is an opaque sealed text that ties a session to its app
	// password. RADIUS sends it as Class (RFC 2865, section 5.25).
	Session []byte
}

// A Ref names an app password: its id, unique and random, and the name that
// its owner gave.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A Use is when and from where an app password was used.
type Use struct {
	Time    time.Time
	Service string
	Source  string
	Device  string
	Method  proof.Method
}
