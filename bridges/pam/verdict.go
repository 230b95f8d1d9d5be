package pam

import (
	"encoding/binary"

	"github.com/keywicket/keywicket/core"
)

// A Verdict is the answer to a request. The zero value is none.
type Verdict uint8

const (
	_           Verdict = iota
	Allow               // the only yes
	Deny                // a verdict: no
	Unavailable         // an inability: ask somebody else
	Unknown             // of Account alone: there is no such user here
	Expired             // of Account alone: the time of the account is over
	verdictEnd
)

var verdictNames = [verdictEnd]string{"none", "allow", "deny", "unavailable", "unknown", "expired"}

func (v Verdict) String() string {
	if v < verdictEnd {
		return verdictNames[v]
	}
	return "none"
}

// verdictOf turns what the engine says of an attempt into the answer. What is
// throttled is denied: were it unavailable, whoever fails often enough could
// bring a stack to the module that stands in for Keywicket.
func verdictOf(err error) Verdict {
	if err == nil {
		return Allow
	}
	switch core.KindOf(err) {
	case core.KindUnavailable, core.KindInternal:
		return Unavailable
	}
	return Deny
}

// standingOf turns what the engine says of an account into the answer. A name
// that nobody can have is unknown like one that nobody has.
func standingOf(err error) Verdict {
	if err == nil {
		return Allow
	}
	switch core.KindOf(err) {
	case core.KindUnavailable, core.KindInternal:
		return Unavailable
	case core.KindNotFound, core.KindInvalid:
		return Unknown
	}
	return Deny
}

// appendReply appends the reply to r with its length to b.
func appendReply(b []byte, r *Request, v Verdict) []byte {
	b = binary.BigEndian.AppendUint32(b, replySize)
	b = append(b, version, r.Type|replyBit)
	b = append(b, r.Nonce[:]...)
	return append(b, byte(v))
}
