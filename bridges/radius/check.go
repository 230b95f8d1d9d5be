package radius

import (
	"crypto/subtle"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/keywicket/keywicket/core/proof"
)

const (
	minSecret    = 16 // octets; RFC 2865, section 3
	maxSecret    = 256
	maxSecrets   = 2
	maxNameOctet = 64
)

// A Fault is one thing wrong with a Config.
type Fault struct {
	Client string // its name; empty for what concerns the whole server
	Field  string // as in the configuration file: "secret", "address", "listen"
	Text   string // what is wrong and what to do
}

func (f Fault) Error() string {
	if f.Client == "" {
		return fmt.Sprintf("radius: %s: %s", f.Field, f.Text)
	}
	return fmt.Sprintf("radius: client %q: %s: %s", f.Client, f.Field, f.Text)
}

// Check returns every fault of c. Listen and Reload take a Config without.
func (c *Config) Check() []Fault {
	k := checker{names: map[string]bool{}, owner: map[netip.Prefix]string{}}
	k.server(c)
	for i := range c.Clients {
		k.client(&c.Clients[i], i)
	}
	return k.faults
}

// Warnings returns where reply attributes that can meet do not fit together, in a
// Config without faults: those of a client, of one group and of one profile. Whom it
// concerns is not answered, which is recorded for each.
func (c *Config) Warnings() (all []Fault) {
	for i := range c.Clients {
		if text := c.Clients[i].overfull(&c.Replies); text != "" {
			all = append(all, Fault{c.Clients[i].Name, "reply", text})
		}
	}
	return all
}

func (c *Client) overfull(r *Replies) string {
	room := MaxReply
	if c.takes(proof.MethodMSCHAPv2) {
		room -= succeedOctets
	}
	if octetsOf(c.Reply)+r.most() <= room {
		return ""
	}
	names := func(sets map[string][]Attribute) []string {
		return append([]string{""}, slices.Sorted(maps.Keys(sets))...)
	}
	for _, group := range names(r.Groups) {
		with := override(c.Reply, r.Groups[group])
		for _, profile := range names(r.Profiles) {
			n := octetsOf(override(with, r.Profiles[profile]))
			if n <= room {
				continue
			}
			whose := "its own"
			if group != "" {
				whose += fmt.Sprintf(", those of the group %q", group)
			}
			if profile != "" {
				whose += fmt.Sprintf(", those of the profile %q", profile)
			}
			return fmt.Sprintf("there are %d octets of attributes (%s), and an answer to this client has room for %d: whoever has them all gets none; take some away", n, whose, room)
		}
	}
	return ""
}

type checker struct {
	faults []Fault
	names  map[string]bool
	owner  map[netip.Prefix]string // who said a prefix first
}

func (k *checker) fault(client, field, format string, args ...any) {
	k.faults = append(k.faults, Fault{client, field, fmt.Sprintf(format, args...)})
}

func (k *checker) server(c *Config) {
	if len(c.Listen) == 0 {
		k.fault("", "listen", `no address to listen on; write one as "0.0.0.0:1812"`)
	}
	seen := map[string]bool{}
	k.addresses("listen", c.Listen, seen)
	k.addresses("accounting", c.Accounting, seen)
	if c.RejectDelay < 0 || c.RejectDelay > maxRejectDelay {
		k.fault("", "reject_delay", "%v is not between 0 and %v", c.RejectDelay, maxRejectDelay)
	}
	if c.AttemptTimeout < 0 || c.AttemptTimeout > maxAttemptTimeout {
		k.fault("", "attempt_timeout", "%v is not between 0 and %v", c.AttemptTimeout, maxAttemptTimeout)
	}
	switch c.Realm {
	case "", RealmKeep, RealmStrip:
	default:
		k.fault("", "realm", `%q is neither "keep" nor "strip"`, c.Realm)
	}
}

// addresses checks what is listened on; seen has what is taken already.
func (k *checker) addresses(field string, all []string, seen map[string]bool) {
	for _, address := range all {
		if _, err := network(address); err != nil {
			k.fault("", field, "%v", err)
		}
		if seen[address] && !strings.HasSuffix(address, ":0") {
			k.fault("", field, "%q stands there twice", address)
		}
		seen[address] = true
	}
}

func (k *checker) client(c *Client, i int) {
	name := c.Name
	switch {
	case name == "":
		name = fmt.Sprintf("#%d", i+1)
		k.fault(name, "name", "a client needs a name")
	case !plainName(name):
		k.fault(name, "name", "a name has letters, digits, '.', '_' and '-', and at most %d of them", maxNameOctet)
	case k.names[name]:
		k.fault(name, "name", "there are two clients of this name")
	}
	k.names[name] = true
	if c.ServiceName != "" && !plainName(c.ServiceName) {
		k.fault(name, "service", "%q: a service has letters, digits, '.', '_' and '-', and at most %d of them", c.ServiceName, maxNameOctet)
	}
	k.prefixes(c, name)
	k.secrets(c, name)
	switch c.RequireMessageAuthenticator {
	case RequireAlways, RequireAuto, RequireNever:
	default:
		k.fault(name, "require_message_authenticator", "%d is no requirement", c.RequireMessageAuthenticator)
	}
	for _, m := range c.Methods {
		if !slices.Contains(proof.Methods(), m) {
			k.fault(name, "methods", "%q is no method; there are %q", m, proof.Methods())
		}
	}
	if c.FailuresPerSecond < 0 || c.FailuresPerSecond > maxFailuresPerSecond {
		k.fault(name, "failures_per_second", "%d is not between 1 and %d", c.FailuresPerSecond, maxFailuresPerSecond)
	}
}

func (k *checker) prefixes(c *Client, name string) {
	if len(c.Prefixes) == 0 {
		k.fault(name, "address", "no address; requests are known by where they come from")
	}
	for _, p := range c.Prefixes {
		plain, ok := plainPrefix(p)
		if !ok {
			k.fault(name, "address", "%v is not a valid prefix", p)
			continue
		}
		if plain != plain.Masked() {
			k.fault(name, "address", "%v has bits behind its length; write %v for the network or %v for the one address",
				p, plain.Masked(), netip.PrefixFrom(plain.Addr(), plain.Addr().BitLen()))
			continue
		}
		if plain.Bits() == 0 && !c.AllowAny {
			k.fault(name, "address", "%v lets everybody ask; narrow it, or set allow_any = true if that is meant", p)
		}
		if other, taken := k.owner[plain]; taken {
			k.fault(name, "address", "%v belongs to client %q already", p, other)
			continue
		}
		k.owner[plain] = name
	}
}

func (k *checker) secrets(c *Client, name string) {
	if len(c.Secrets) == 0 {
		k.fault(name, "secret", "no shared secret; make one with keywicket client new %s", name)
	}
	if len(c.Secrets) > maxSecrets {
		k.fault(name, "secret", "%d shared secrets; at most %d, the new and the old one", len(c.Secrets), maxSecrets)
	}
	for i, secret := range c.Secrets {
		field := "secret"
		if i > 0 {
			field = "old_secret"
		}
		switch n := len(secret); {
		case n == 0:
			k.fault(name, field, "the shared secret is empty; make one with keywicket client new %s", name)
		case n > maxSecret:
			k.fault(name, field, "the shared secret has %d octets; at most %d", n, maxSecret)
		case i > 0 && subtle.ConstantTimeCompare(secret, c.Secrets[0]) == 1:
			k.fault(name, field, "it is the same as the new one")
		case n < minSecret && !c.AllowWeakSecret:
			k.fault(name, field, "the shared secret has %d octets, and under %d it can be found by trying; make one with keywicket client new %s, or set allow_weak_secret = true", n, minSecret, name)
		}
	}
	if len(c.Secrets) > 1 && c.OldUntil.IsZero() {
		k.fault(name, "old_secret_until", "nothing says until when the old secret is taken")
	}
}

// network returns the network that net.ListenConfig shall be given for address.
func network(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf(`%q is no address with a port; write it as "0.0.0.0:1812" or "[::]:1812"`, address)
	}
	if _, err := net.LookupPort("udp", port); err != nil || port == "" {
		return "", fmt.Errorf("%q: %q is no port", address, port)
	}
	if host == "" {
		return "udp", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("%q: %q is no IP address; names are not looked up here", address, host)
	}
	if ip.Is4() {
		return "udp4", nil
	}
	return "udp6", nil
}

// plainPrefix returns p with an IPv4-mapped address made an IPv4 one.
func plainPrefix(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() || p.Addr().Zone() != "" {
		return p, false
	}
	if !p.Addr().Is4In6() {
		return p, true
	}
	if p.Bits() < 96 {
		return p, false
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), true
}

func plainName(s string) bool {
	if s == "" || len(s) > maxNameOctet {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return false
		}
		return true
	})
}
