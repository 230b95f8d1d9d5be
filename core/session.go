package core

import "time"

// A SessionEvent is what a SessionReport tells of.
type SessionEvent uint8

const (
	_              SessionEvent = iota
	SessionStarts               // it began
	SessionGoesOn               // it is still there
	SessionStopped              // it is over
)

// A SessionReport is what a bridge was told of a session by the client that
// has it. Texts may be empty where the client did not say.
type SessionReport struct {
	Event  SessionEvent
	Client string // who reports, as in Attempt
	ID     string // tells the session from every other one of Client; any octets

	// Tokens has what came back of Grant.Session, if anything, among what else
	// may have come. One is good for the client alone that it was given to.
	Tokens [][]byte

	Account string // as reported; counts only where a token has no room for it
	Device  string // as in Attempt
	Port    string // as in Attempt
	Address string // that the device was given
	Handle  []byte // what the bridge needs to end it

	At        time.Time     // when it was so
	For       time.Duration // how long the session had lasted by then
	Every     time.Duration // how often the client reports; 0: not known
	HasOctets bool          // the next two were said
	OctetsIn  uint64        // from the device
	OctetsOut uint64        // to the device
}

// A Session is an app password in use, as a client reported it.
type Session struct {
	Account     string
	AppPassword Ref
	Client      string
	Device      string
	Address     string
	Since       time.Time
	OctetsIn    uint64 // from the device
	OctetsOut   uint64 // to the device
	Handle      []byte // of its SessionReport
}
