package radius

import "sync/atomic"

// A drop is why a packet got no answer. The texts are label values of
// keywicket_radius_dropped_total: add, never rename.
type drop uint8

const (
	dropNone drop = iota
	dropUnknownClient
	dropLength
	dropAttributes
	dropTooManyAttributes
	dropCode
	dropNoMessageAuthenticator
	dropMessageAuthenticator
	dropProxyState
	dropDuplicate
	dropReplay
	dropCacheFull
	dropQueueFull
	dropDelayFull
	dropFailureRate
	dropStatusRate
	dropNotReady
	dropThrottled
	dropUnavailable
	dropInternal
	dropLate
	dropPanic
	dropReplyTooLarge
	dropReplyUnknown
	dropAmplification
	dropSuperseded
	dropSend
	dropRequestAuthenticator
	dropReport
	dropUnrecorded
	dropEnd
)

var dropNames = [dropEnd]string{
	dropNone:                   "none",
	dropUnknownClient:          "unknown-client",
	dropLength:                 "bad-length",
	dropAttributes:             "bad-attributes",
	dropTooManyAttributes:      "too-many-attributes",
	dropCode:                   "bad-code",
	dropNoMessageAuthenticator: "no-message-authenticator",
	dropMessageAuthenticator:   "bad-message-authenticator",
	dropProxyState:             "unsigned-proxy-state",
	dropDuplicate:              "duplicate",
	dropReplay:                 "replay",
	dropCacheFull:              "cache-full",
	dropQueueFull:              "queue-full",
	dropDelayFull:              "delay-full",
	dropFailureRate:            "failure-rate",
	dropStatusRate:             "status-rate",
	dropNotReady:               "not-ready",
	dropThrottled:              "throttled",
	dropUnavailable:            "unavailable",
	dropInternal:               "internal",
	dropLate:                   "late",
	dropPanic:                  "panic",
	dropReplyTooLarge:          "reply-too-large",
	dropReplyUnknown:           "reply-unknown",
	dropAmplification:          "amplification",
	dropSuperseded:             "superseded",
	dropSend:                   "send-failed",
	dropRequestAuthenticator:   "bad-request-authenticator",
	dropReport:                 "bad-accounting",
	dropUnrecorded:             "not-recorded",
}

func (d drop) String() string {
	if d < dropEnd {
		return dropNames[d]
	}
	return "unknown"
}

// DropReasons returns every reason that Counters.Dropped can have.
func DropReasons() []string { return append([]string(nil), dropNames[dropNone+1:]...) }

// Codes of RFC 2865, section 3, RFC 2866, section 3, RFC 5997 and RFC 5176,
// section 2.3.
const (
	codeAccessRequest      = 1
	codeAccessAccept       = 2
	codeAccessReject       = 3
	codeAccountingRequest  = 4
	codeAccountingResponse = 5
	codeAccessChallenge    = 11
	codeStatusServer       = 12
	codeDisconnectRequest  = 40
	codeDisconnectACK      = 41
	codeDisconnectNAK      = 42
)

// A counted is the place of a code in the counters.
type counted uint8

const (
	countedRequest counted = iota
	countedAccept
	countedReject
	countedChallenge
	countedStatus
	countedAccounting
	countedRecorded
	countedDisconnect
	countedDisconnectACK
	countedDisconnectNAK
	countedOther
	countedEnd
)

var codeNames = [countedEnd]string{
	"access-request", "access-accept", "access-reject", "access-challenge", "status-server",
	"accounting-request", "accounting-response", "disconnect-request", "disconnect-ack", "disconnect-nak", "other",
}

// PacketCodes returns every code that Counters.Packets can have.
func PacketCodes() []string { return append([]string(nil), codeNames[:]...) }

func countedCode(code byte) counted {
	switch code {
	case codeAccessRequest:
		return countedRequest
	case codeAccessAccept:
		return countedAccept
	case codeAccessReject:
		return countedReject
	case codeAccessChallenge:
		return countedChallenge
	case codeStatusServer:
		return countedStatus
	case codeAccountingRequest:
		return countedAccounting
	case codeAccountingResponse:
		return countedRecorded
	case codeDisconnectRequest:
		return countedDisconnect
	case codeDisconnectACK:
		return countedDisconnectACK
	case codeDisconnectNAK:
		return countedDisconnectNAK
	}
	return countedOther
}

// Counters are totals since Listen.
type Counters struct {
	// Packets of known clients that came in, and all that went out, by code.
	Packets map[string]uint64
	// Dropped has what got no answer, by reason. A repeat that was answered
	// with the bytes of before is in Packets alone.
	Dropped map[string]uint64
}

type counters struct {
	packets [countedEnd]atomic.Uint64
	dropped [dropEnd]atomic.Uint64
}

func (c *counters) packet(code byte) { c.packets[countedCode(code)].Add(1) }
func (c *counters) drop(why drop)    { c.dropped[why].Add(1) }

func (c *counters) snapshot() Counters {
	all := Counters{Packets: make(map[string]uint64, countedEnd), Dropped: make(map[string]uint64, dropEnd)}
	for i := range c.packets {
		all.Packets[codeNames[i]] = c.packets[i].Load()
	}
	for i := dropNone + 1; i < dropEnd; i++ {
		all.Dropped[dropNames[i]] = c.dropped[i].Load()
	}
	return all
}
