package config

import (
	"io/fs"
	"net/netip"
	"time"
)

// The words that a configuration may use.
const (
	KindBadger = "badger" // store.kind
	KindLocal  = "local"  // directory.kind

	MainPasswordNever          = "never" // policy.main_password
	MainPasswordWithoutTwoStep = "without-two-step"

	ChangeKeep    = "keep" // policy.on_password_change
	ChangeSuspend = "suspend"
	ChangeDelete  = "delete"

	MethodCleartext = "cleartext" // profile.NAME.methods and radius.client.NAME.methods
	MethodCHAP      = "chap"
	MethodMSCHAPv2  = "mschapv2"

	PinNone   = "none" // profile.NAME.pin
	PinDevice = "device"

	RealmKeep  = "keep" // radius.realm
	RealmStrip = "strip"

	LogAuto = "auto" // log.format
	LogJSON = "json"
	LogText = "text"
)

// DefaultProfile is the name of the profile that is there without being
// configured: 20 letters, every service, clear text alone.
const DefaultProfile = "default"

// LettersTiny, LettersStandard and LettersLong are the lengths that an app
// password can have.
const (
	LettersTiny     = 16
	LettersStandard = 20
	LettersLong     = 28
)

// A File is a configuration without a fault, with every default filled in.
//
// Tables that have a name in the file are slices here, sorted by name. Paths
// are resolved against the folder of the file. A section that switches
// something on is nil where the file does not have it.
type File struct {
	Path string // as given to Load or Parse

	DataDir            string
	Keyring            string
	AllowInlineSecrets bool

	Store     Store
	Directory Directory
	Policy    Policy
	Groups    []Group
	Profiles  []Profile // always holds DefaultProfile
	Radius    *Radius
	PAM       *PAM
	Control   Control
	Metrics   *Metrics
	Plugins   []Plugin
	Log       Log
	Audit     Audit

	positions positions
	mode      fs.FileMode // of the file; 0 where it came from none
}

// A Store says where records are kept.
type Store struct {
	Kind    string // KindBadger, or "plugin:NAME"
	Memory  int64  // octets of the records of what is here that are in memory too
	MinFree int64  // octets of the disk below which what is here takes no new things; 0: its own default

	Replica       bool          // keep a copy of what others share, which serves while that is out of reach
	ReplicaMaxAge time.Duration // how old the copy may be then
}

// A Directory says who knows the accounts.
type Directory struct {
	Kind   string        // KindLocal, or "plugin:NAME"
	MaxAge time.Duration // how long an answer is used where nothing says that it changed
	Stale  time.Duration // how long the last answer serves while none comes
}

// A Policy holds for every app password.
type Policy struct {
	Limit             int    // app passwords of one account, 1 to 40
	RequireTwoStep    bool   // creating one needs two-step verification
	MainPassword      string // MainPasswordNever or MainPasswordWithoutTwoStep
	OnTwoStepOff      string // ChangeSuspend or ChangeDelete
	FirstOnEnroll     bool   // turning two-step verification on gives the first one
	OnPasswordChange  string // ChangeKeep, ChangeSuspend or ChangeDelete
	UnusedAfter       time.Duration
	FirstUseWithin    time.Duration
	AllowAppPasswords bool
	AllowTiny         bool // a profile may have LettersTiny
}

// A Group is what the configuration says of a group of the directory.
type Group struct {
	Name              string
	AllowAppPasswords bool
	Reply             []Attribute
}

// A Profile is what a kind of device gets. A duration of zero is none; one that
// the profile leaves out is the policy's.
type Profile struct {
	Name              string
	Letters           int      // LettersTiny, LettersStandard or LettersLong
	Services          []string // patterns over services: "radius/vpn*"
	Methods           []string // MethodCleartext, MethodCHAP, MethodMSCHAPv2
	Pin               string   // PinNone or PinDevice
	ExpiresAfter      time.Duration
	UnusedAfter       time.Duration
	FirstUseWithin    time.Duration
	AllowAppPasswords bool
	Sessions          int // of one app password at a time, up to MaxSessions; 0: any number
	Reply             []Attribute
}

// MaxSessions is the most that profile.NAME.sessions can be.
const MaxSessions = 64

// An Attribute goes into the answer of a grant. Whether it exists and can hold
// the values is for the bridge to say.
type Attribute struct {
	Name   string
	Values []string // at least one
}

// A Radius is the RADIUS server.
type Radius struct {
	Listen      []netip.AddrPort // at least one
	Accounting  []netip.AddrPort
	RejectDelay time.Duration
	Realm       string   // RealmKeep or RealmStrip
	Dictionary  []string // paths of files with names of attributes
	Clients     []Client
}

// A MessageAuthenticator says what a client's requests must carry. The zero
// value is the strict one.
type MessageAuthenticator uint8

const (
	MessageAuthenticatorRequired MessageAuthenticator = iota
	MessageAuthenticatorAuto                          // required from the client's first valid one on
	MessageAuthenticatorOptional                      // never required
)

// A Client is a device, or a network of devices, that asks over RADIUS.
type Client struct {
	Name    string
	Address []netip.Prefix // at least one, masked; IPv4-mapped addresses are IPv4
	Service string         // without the bridge: "vpn1" stands for "radius/vpn1"

	SecretFile   string // empty if the secret stands in the file
	InlineSecret Secret // empty if it stands in SecretFile

	// The secret of before, while it changes: taken until OldSecretUntil, which
	// is set with one of the two.
	OldSecretFile   string
	InlineOldSecret Secret
	OldSecretUntil  time.Time

	MessageAuthenticator       MessageAuthenticator
	LimitProxyState            bool // drop Proxy-State without Message-Authenticator
	AllowWeakSecret            bool
	AllowAny                   bool     // Address may hold a prefix of length 0
	Methods                    []string // MethodCleartext, MethodCHAP, MethodMSCHAPv2
	AllowInsecureMSCHAP        bool     // MethodMSCHAPv2 outside a tunnel
	AllowRepeatedAuthenticator bool
	FailuresPerSecond          int // that are answered
	Reply                      []Attribute
	Disconnect                 Disconnect
}

// A Disconnect says where a client takes Disconnect-Requests.
type Disconnect struct {
	Off  bool
	Addr netip.Addr // the zero Addr: where its accounting comes from
	Port uint16     // 0: the usual one
}

// A PAM is the socket that the PAM module asks.
type PAM struct {
	Socket   string
	Services []string // may be empty: then nobody is let in
	Users    []string // may ask for anybody, beside root
	MinUID   int
}

// A Control is the socket that the command line talks to.
type Control struct {
	Socket string
	Group  string // may use the socket beside root; empty is nobody

	// SelfService is the socket where each user of the host is told of his own
	// account; empty: there is none.
	SelfService string
}

// A Metrics is the address where Prometheus asks.
type Metrics struct {
	Listen netip.AddrPort
}

// A Log says what goes to standard error.
type Log struct {
	Level  string // "debug", "info", "warn" or "error"
	Format string // LogAuto, LogJSON or LogText
}

// An Audit says where the audit is written.
type Audit struct {
	Path string
}

// Profile returns the profile of that name.
func (f *File) Profile(name string) (Profile, bool) {
	for _, p := range f.Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}
