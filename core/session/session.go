package session

import "time"

// An Owner is the app password that a session is of.
type Owner struct {
	Account     string // normalised name
	AccountID   [16]byte
	AppPassword [8]byte // its id
}

// is says whether both are the same app password, whatever its account is called.
func (o Owner) is(other Owner) bool {
	return o.AccountID == other.AccountID && o.AppPassword == other.AppPassword // not a secret: ids
}

// A Place is where a client has a device.
type Place struct {
	Client string
	Device string // empty if not known
	Port   string // empty if not known
}

// An Event is what a Report tells of.
type Event uint8

const (
	_       Event = iota
	Starts        // it began
	GoesOn        // it is still there
	Stopped       // it is over
)

// A Report is what a bridge was told of a session by the client that has it.
// Event and ID are required; other texts may be empty where the client did not say.
type Report struct {
	Event  Event
	Client string // who reports, as in core.Attempt
	ID     string // tells the session from every other one of Client; any octets

	// Tokens has what came back of core.Grant.Session, if anything, among what
	// else may have come. One is good for the client alone that it was given to.
	Tokens [][]byte

	Account string // as reported; counts only where a token has no room for it
	Device  string // as in core.Attempt
	Port    string // as in core.Attempt
	Address string // that the device was given
	Handle  []byte // what the bridge needs to end it

	At        time.Time     // when it was so; zero, or later than now: now
	For       time.Duration // how long the session had lasted by then; 0: not said
	Every     time.Duration // how often the client reports; 0: not known
	HasOctets bool          // the next two were said
	OctetsIn  uint64        // from the device
	OctetsOut uint64        // to the device
}

// A Session is an app password in use, as a client reported it.
type Session struct {
	Account         string // normalised name
	AppPassword     string // its id
	AppPasswordName string // that its owner gave it; empty if nobody knows
	Client          string
	Device          string
	Address         string
	Since           time.Time
	OctetsIn        uint64 // from the device
	OctetsOut       uint64 // to the device
	Handle          []byte // of its Report

	// Where its app password does not hold any more, so that it is to be ended:
	// what came of that. Once its client was asked in vain, that stands here also
	// while it is asked again.
	Outcome Outcome   // empty: it may go on
	Detail  string    // more words, or empty
	Asked   time.Time // when the last try began
}
