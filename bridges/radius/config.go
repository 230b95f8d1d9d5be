package radius

import (
	"context"
	"net/netip"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A Verifier decides attempts; *core.Engine is one. Its methods are called
// from many goroutines.
type Verifier interface {
	// Verify grants or refuses a. Only a nil error is a grant; of an error
	// the bridge looks at core.KindOf alone. An attempt without a Proof was
	// malformed, and one with a proof.Unsupported used a method that cannot be
	// taken: both come here to be recorded. A granted proof.Deriver was derived.
	// The clear text in a is wiped when Verify returns.
	Verify(ctx context.Context, a core.Attempt) (core.Grant, error)

	// Ready is nil while attempts can be decided. Status-Server is answered
	// only then (RFC 5997).
	Ready(ctx context.Context) error

	// Jitter is a keyed number, always the same for one account name, that
	// nobody without the key can guess. It does no I/O.
	Jitter(account string) uint64
}

// A Prompt is a Verifier that has the answer to some attempts at hand, so that
// whoever reads from a socket can ask it by itself.
type Prompt interface {
	// VerifyText is Verify of a clear text; name and typed stand in the place of
	// a.Account and a.Proof. It does no I/O and computes nothing for long: where
	// that would be needed it says false, and nothing has happened. Else a.Account
	// is what the account is called, and the grant is written to g, whose Session is
	// used again. Nothing of a, name and typed is kept but the strings of a.
	VerifyText(a *core.Attempt, name, typed []byte, g *core.Grant) (decided bool, err error)
}

// An Expecter is a Prompt that likes to know a little before what it is asked.
type Expecter interface {
	// Expect says which accounts VerifyText is asked about next, as they came. It
	// changes nothing, and keeps nothing of names.
	Expect(names [][]byte)
}

// A Memory keeps, across restarts, which clients of RequireAuto have ever sent
// a valid Message-Authenticator. Seen is called by Listen and Reload, SetSeen
// once per client when its first valid one comes; no packet waits for either.
type Memory interface {
	Seen(client string) (bool, error)
	SetSeen(client string) error
}

// A Config is all that a Server is told. The zero value of every field is the
// safe one. A Config given to Listen or Reload must not be changed after.
type Config struct {
	// Listen has addresses for authentication, as "192.0.2.1:1812",
	// "0.0.0.0:1812" (IPv4 alone), "[::]:1812" (IPv6 alone) or ":1812" (both).
	Listen []string

	// Accounting has addresses for accounting, written alike. None: off.
	Accounting []string

	Clients []Client
	Replies Replies

	// Dictionary knows the names of attributes. Nil is BuiltinDictionary.
	Dictionary *Dictionary

	// RejectDelay is from the arrival of a request to its Access-Reject; a
	// jitter of up to a quarter is added. 0 is 1 s; at most 5 s.
	RejectDelay time.Duration

	// AttemptTimeout is from the arrival of a request to silence. 0 is 4 s;
	// at most 30 s.
	AttemptTimeout time.Duration

	Realm Realm

	// Redact returns a name from outside as it may stand in a log. It hides
	// what is shaped like a secret; escaping is done here. Nil hides all names.
	Redact func(name string) string
}

// Replies are attributes for Access-Accept by the groups of an account and by
// the profile of an app password.
//
// A client's own come first, then those of the groups in the order of their
// names, then the profile's, then those of the app password itself. An attribute of a later one replaces every equal
// one (same name and tag) of those before. So a profile's Tunnel-Private-Group-Id
// stands instead of its client's, and two Cisco-AVPair of one profile both stay.
type Replies struct {
	Groups   map[string][]Attribute
	Profiles map[string][]Attribute
}

// A Realm is the rule by which a User-Name becomes an account name.
type Realm string

const (
	// RealmKeep, also meant by "", passes the name as it was sent.
	RealmKeep Realm = "keep"
	// RealmStrip makes "name" of "name@realm", "DOMAIN\name" and both at
	// once. It cuts at the last @ and after the first \, as proxies do, and
	// only where a name is left.
	RealmStrip Realm = "strip"
)

// A Requirement says whether a client must send Message-Authenticator
// (RFC 2869, section 5.14; CVE-2024-3596).
type Requirement uint8

const (
	RequireAlways Requirement = iota // default: without one, silence
	RequireNever                     // for devices that cannot; a wrong one is still silence
	RequireAuto                      // off until the first valid one in what need not have it, then on for good
)

// A Client is a device that may ask: an access point, a VPN concentrator, a
// proxy.
type Client struct {
	Name     string // letters, digits, ".", "_", "-"; at most 64
	Prefixes []netip.Prefix
	AllowAny bool // a prefix of length 0 is meant

	// Secrets has the shared secret, and during a change the old one behind it,
	// which is taken until OldUntil. 16 to 256 octets.
	//
	// The one that a request was signed with signs its reply. A request without
	// Message-Authenticator does not say which one it was made with: its
	// User-Password is read with the new one, and with the old one where only
	// that makes text of it; what has no User-Password is answered with the new
	// one.
	Secrets         [][]byte
	OldUntil        time.Time
	AllowWeakSecret bool

	RequireMessageAuthenticator Requirement

	// AllowUnsignedProxyState takes a Proxy-State in requests that carry no
	// Message-Authenticator. That is what CVE-2024-3596 needs; it is for
	// limit_proxy_state = false.
	AllowUnsignedProxyState bool

	// AllowReplayedAuthenticator is for devices that use a Request
	// Authenticator twice, against RFC 2865, section 3.
	AllowReplayedAuthenticator bool

	// ServiceName makes the service "radius/<ServiceName>". Empty is Name.
	ServiceName string

	// FailuresPerSecond is how many of its Access-Rejects are sent, at most; more
	// are silence. 0 is 200; at most 100,000.
	FailuresPerSecond int

	// Methods are those that the client may use; none means clear text alone.
	// An app password must have the method as well.
	Methods []proof.Method

	// AllowInsecureMSCHAP takes MS-CHAPv2, where it is among Methods, on UDP.
	// Whoever captures one exchange there can compute the NT hash.
	AllowInsecureMSCHAP bool

	Reply []Attribute // in every Access-Accept to this client

	// DisconnectTo is where the client takes Disconnect-Requests (RFC 5176).
	// Without an address it is where its accounting comes from, and without a
	// port it is 3799. With DisconnectOff it is never sent one.
	DisconnectTo  netip.AddrPort
	DisconnectOff bool
}

const (
	defaultRejectDelay    = time.Second
	defaultAttemptTimeout = 4 * time.Second
	maxRejectDelay        = 5 * time.Second
	maxAttemptTimeout     = 30 * time.Second
)

func (c *Config) dictionary() *Dictionary {
	if c.Dictionary == nil {
		return BuiltinDictionary()
	}
	return c.Dictionary
}

func (c *Config) rejectDelay() time.Duration {
	if c.RejectDelay == 0 {
		return defaultRejectDelay
	}
	return c.RejectDelay
}

func (c *Config) attemptTimeout() time.Duration {
	if c.AttemptTimeout == 0 {
		return defaultAttemptTimeout
	}
	return c.AttemptTimeout
}

func (c *Client) failures() int {
	if c.FailuresPerSecond == 0 {
		return failuresPerSecond
	}
	return c.FailuresPerSecond
}

func (c *Client) service() string {
	if c.ServiceName != "" {
		return "radius/" + c.ServiceName
	}
	return "radius/" + c.Name
}
