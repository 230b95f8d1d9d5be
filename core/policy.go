package core

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/session"
)

// MaxLimit is the most app passwords that an account may have (rule A3).
const MaxLimit = 40

// DefaultProfile is the name of the profile that always exists.
const DefaultProfile = "default"

// A Consequence is what happens to the app passwords of an account when
// something happens to the account.
type Consequence string

const (
	Keep    Consequence = "keep"
	Suspend Consequence = "suspend"
	Delete  Consequence = "delete"
)

// A MainPasswordRule says when a main password may sign in.
type MainPasswordRule string

const (
	MainNever          MainPasswordRule = "never"
	MainWithoutTwoStep MainPasswordRule = "without-two-step"
)

// A Policy holds the administrator's choices. Start from DefaultPolicy: the
// zero Policy is refused.
type Policy struct {
	Limit            int              // app passwords for each account, 1 to MaxLimit
	RequireTwoStep   bool             // rules A4 and A6
	MainPassword     MainPasswordRule // rule A10
	OnTwoStepOff     Consequence      // Suspend or Delete; rule A6
	OnPasswordChange Consequence      // rule A15
	FirstOnEnroll    bool             // rule A5
	UnusedAfter      time.Duration    // rule A11; 0: never
	FirstUseWithin   time.Duration    // rule A11; 0: no limit
	Deny             bool             // rule A7, for everybody
	DenyGroups       []string         // rule A7, for the members of any of these

	// CheckReply says what is wrong with an attribute that an app password shall
	// get. Where it is nil, none can have any.
	CheckReply func(Reply) error

	// FailuresPerSecond is how many failures of a service are answered; one that
	// is not among them has DefaultFailures. The others are ReasonThrottled.
	FailuresPerSecond map[string]int

	// Profiles by name; DefaultProfile must be among them.
	Profiles map[string]Profile
}

// DefaultFailures is how many failures of a service are answered a second.
const DefaultFailures = 200

// A Profile is what a kind of device gets.
type Profile struct {
	Letters        int            // secret.Tiny, secret.Standard or secret.Long
	Services       []string       // patterns; '*' stands for any run of characters
	Methods        []proof.Method // what its app passwords can be presented by
	PinDevice      bool           // works only from the device it was first used from
	ExpiresAfter   time.Duration  // from creation; 0: never
	UnusedAfter    time.Duration  // 0: as the policy says
	FirstUseWithin time.Duration  // 0: as the policy says
	Deny           bool           // rule A7
	Sessions       int            // at a time, of one app password; 0: any number
}

// DefaultPolicy returns what holds where the administrator chose nothing.
func DefaultPolicy() Policy {
	return Policy{
		Limit:            MaxLimit,
		RequireTwoStep:   true,
		MainPassword:     MainNever,
		OnTwoStepOff:     Suspend,
		OnPasswordChange: Keep,
		FirstOnEnroll:    true,
		Profiles: map[string]Profile{DefaultProfile: {
			Letters:  secret.Standard,
			Services: []string{"*"},
			Methods:  []proof.Method{proof.MethodCleartext},
		}},
	}
}

// Validate returns every fault of p, or nil.
func (p Policy) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Limit < 1 || p.Limit > MaxLimit {
		fault("limit is %d; 1 to %d are allowed", p.Limit, MaxLimit)
	}
	if p.MainPassword != MainNever && p.MainPassword != MainWithoutTwoStep {
		fault("main password rule %q is none", p.MainPassword)
	}
	if p.OnTwoStepOff != Suspend && p.OnTwoStepOff != Delete {
		fault("consequence %q of turning two-step verification off is none", p.OnTwoStepOff)
	}
	if !slices.Contains([]Consequence{Keep, Suspend, Delete}, p.OnPasswordChange) {
		fault("consequence %q of changing the main password is none", p.OnPasswordChange)
	}
	if _, ok := p.Profiles[DefaultProfile]; !ok {
		fault("there is no profile %q", DefaultProfile)
	}
	for _, d := range []time.Duration{p.UnusedAfter, p.FirstUseWithin} {
		if d < 0 {
			fault("a time of %s is negative", d)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(p.FailuresPerSecond)) {
		if n := p.FailuresPerSecond[service]; n < 1 {
			fault("%d failures a second of the service %q; at least 1 is answered", n, service)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Profiles)) {
		for _, err := range p.Profiles[name].faults() {
			fault("profile %q: %w", name, err)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return &Error{Op: "policy", Kind: KindInvalid, Err: errors.Join(faults...)}
}

func (p Profile) faults() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.Letters != secret.Tiny && p.Letters != secret.Standard && p.Letters != secret.Long {
		fault("%d letters; %d, %d or %d are allowed", p.Letters, secret.Tiny, secret.Standard, secret.Long)
	}
	if len(p.Services) == 0 || len(p.Methods) == 0 {
		fault("it has no service or no method, so that its app passwords would work nowhere")
	}
	for _, m := range p.Methods {
		if !slices.Contains(proof.Methods(), m) {
			fault("method %q is none", m)
		}
	}
	if p.Sessions < 0 || p.Sessions > session.MaxPerAppPassword {
		fault("%d sessions; 0 to %d are allowed", p.Sessions, session.MaxPerAppPassword)
	}
	for _, d := range []time.Duration{p.ExpiresAfter, p.UnusedAfter, p.FirstUseWithin} {
		if d < 0 {
			fault("a time of %s is negative", d)
		}
	}
	return faults
}

// clone returns a copy that shares nothing that a caller could still change.
func (p Policy) clone() *Policy {
	p.DenyGroups = slices.Clone(p.DenyGroups)
	p.FailuresPerSecond = maps.Clone(p.FailuresPerSecond)
	p.Profiles = maps.Clone(p.Profiles)
	for name, profile := range p.Profiles {
		profile.Services, profile.Methods = slices.Clone(profile.Services), slices.Clone(profile.Methods)
		p.Profiles[name] = profile
	}
	return &p
}

// serviceFailures is how many failures of a service are answered.
func (p *Policy) serviceFailures(service string) rate {
	n, ok := p.FailuresPerSecond[service]
	if !ok {
		n = DefaultFailures
	}
	return rate{burst: float64(n), perSecond: float64(n)}
}

// denies says whether app passwords are disallowed for the members of groups,
// whatever their profile.
func (p *Policy) denies(groups []string) bool {
	if p.Deny {
		return true
	}
	for _, g := range p.DenyGroups {
		if slices.Contains(groups, g) {
			return true
		}
	}
	return false
}

// unusedAfter returns how long an app password of the profile may go unused.
func (p *Policy) unusedAfter(profile string) time.Duration {
	if d := p.Profiles[profile].UnusedAfter; d != 0 {
		return d
	}
	return p.UnusedAfter
}

// firstUseWithin returns how soon an app password of the profile must be used.
func (p *Policy) firstUseWithin(profile string) time.Duration {
	if d := p.Profiles[profile].FirstUseWithin; d != 0 {
		return d
	}
	return p.FirstUseWithin
}

// inScope says whether one of the patterns matches service.
func inScope(patterns []string, service string) bool {
	for _, p := range patterns {
		if matches(p, service) {
			return true
		}
	}
	return false
}

// matches says whether pattern matches all of s; '*' stands for any run of
// characters. It takes time in proportion to len(pattern) times len(s).
func matches(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], after
	}
}
