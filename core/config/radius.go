package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// rejectDelayMax keeps the answer within the time that devices wait for one.
const rejectDelayMax = 5 * time.Second

// A server that refuses more than a device expects is taken for a dead one, and
// one that refuses everything answers whoever guesses.
const (
	defaultFailures = 200
	maxFailures     = 100_000
)

// mappedBits is the length of ::ffff:0:0/96, in front of every IPv4 address
// that is written as an IPv6 one (RFC 4291, section 2.5.5.2).
const mappedBits = 96

func readRadius(top *table, allowInline bool) *Radius {
	t, ok := top.section("radius")
	if !ok {
		return nil
	}
	defer t.close()
	taken := map[netip.AddrPort]string{}
	rad := &Radius{
		Listen:      t.listen("listen", taken, "127.0.0.1:1812"),
		Accounting:  t.listen("accounting", taken, "127.0.0.1:1813"),
		RejectDelay: t.duration("reject_delay", time.Second, 0, rejectDelayMax),
		Realm:       t.oneOf("realm", RealmKeep, RealmKeep, RealmStrip),
	}
	if list, isList := t.values["listen"].([]any); !t.has("listen") || isList && len(list) == 0 {
		t.fault("listen", "there is no address to listen on; write it like listen = [\"0.0.0.0:1812\"], or leave [radius] out")
	}
	for _, it := range t.list("dictionary", `["/etc/keywicket/dictionary.acme"]`) {
		if it.text == "" {
			t.itemFault("dictionary", it, "the path is empty")
			continue
		}
		rad.Dictionary = append(rad.Dictionary, t.resolve("dictionary", it.text))
	}
	owners := map[netip.Prefix]string{}
	for _, c := range t.named("client", checkName) {
		rad.Clients = append(rad.Clients, readClient(c, allowInline, owners))
		c.close()
	}
	return rad
}

// listen reads addresses to listen on. taken holds those of the whole section.
func (t *table) listen(name string, taken map[netip.AddrPort]string, example string) []netip.AddrPort {
	var addresses []netip.AddrPort
	for _, it := range t.list(name, fmt.Sprintf("[%q]", example)) {
		address, wrong := listenAddress(it.text, example)
		if wrong != "" {
			t.itemFault(name, it, "%s", wrong)
			continue
		}
		// Port 0 lets the kernel choose, so it can be there twice.
		if other, ok := taken[address]; ok && address.Port() != 0 {
			t.itemFault(name, it, "%s is in %s already; take another port", quoted(it.text), other)
		}
		taken[address] = name
		addresses = append(addresses, address)
	}
	return addresses
}

// readClient reads a client. owners holds the client of each prefix so far.
func readClient(t *table, allowInline bool, owners map[netip.Prefix]string) Client {
	c := Client{
		Name:                       t.name(),
		Service:                    t.text("service", t.name(), `"vpn"`),
		MessageAuthenticator:       t.messageAuthenticator("require_message_authenticator"),
		AllowWeakSecret:            t.flag("allow_weak_secret", false),
		AllowAny:                   t.flag("allow_any", false),
		AllowInsecureMSCHAP:        t.flag("allow_insecure_mschap", false),
		AllowRepeatedAuthenticator: t.flag("allow_repeated_authenticator", false),
		FailuresPerSecond:          t.number("failures_per_second", defaultFailures, 1, maxFailures),
		Reply:                      t.reply("reply"),
	}
	if wrong := checkName(c.Service); wrong != "" && t.has("service") {
		t.fault("service", "%s", wrong)
	}
	c.Disconnect = t.disconnect("disconnect")
	c.Methods = t.clientMethods("methods", c.AllowInsecureMSCHAP)
	c.Address = t.addresses("address", c, owners)
	t.secrets(&c, allowInline)

	loose := c.MessageAuthenticator != MessageAuthenticatorRequired
	c.LimitProxyState = t.flag("limit_proxy_state", loose)
	if loose && !c.LimitProxyState {
		t.fault("limit_proxy_state", "without Message-Authenticator and with Proxy-State anybody on the way can forge a yes (CVE-2024-3596); leave it out, or set require_message_authenticator = true")
	}
	return c
}

// disconnect reads "off", an address, a port with a colon in front, or both.
func (t *table) disconnect(name string) (d Disconnect) {
	const example = `"192.0.2.10:3799"`
	text := t.text(name, "", example)
	if _, isText := t.values[name].(string); !isText {
		return d // left out, or told already
	}
	if text == "off" {
		return Disconnect{Off: true}
	}
	host, port := text, ""
	if at := strings.LastIndexByte(text, ':'); at >= 0 && !isAddress(text) {
		host, port = strings.TrimSuffix(strings.TrimPrefix(text[:at], "["), "]"), text[at+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			t.fault(name, "%s is no port; write it like %s, or \":1700\"", quoted(port), example)
			return d
		}
		d.Port = uint16(n)
	}
	if host == "" && port != "" {
		return d
	}
	address, err := netip.ParseAddr(host)
	if err != nil || address.Zone() != "" || address.IsUnspecified() || address.IsMulticast() {
		t.fault(name, "%s is not the address of a device; write it like %s, a port alone as \":1700\", or \"off\"", quoted(host), example)
		return Disconnect{}
	}
	d.Addr = address.Unmap()
	return d
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// clientMethods reads what a client may use. Where that is left out, it is clear
// text, and MS-CHAPv2 for a client that is allowed it by a key of its own.
func (t *table) clientMethods(name string, insecureMSCHAP bool) []string {
	if insecureMSCHAP {
		return t.methods(name, MethodCleartext, MethodMSCHAPv2)
	}
	return t.methods(name, MethodCleartext)
}

func (t *table) messageAuthenticator(name string) MessageAuthenticator {
	value, ok := t.get(name)
	switch {
	case !ok || value == true:
		return MessageAuthenticatorRequired
	case value == false:
		return MessageAuthenticatorOptional
	case value == "auto":
		return MessageAuthenticatorAuto
	}
	t.fault(name, "this is not known; take true, false or \"auto\"")
	return MessageAuthenticatorRequired
}

// addresses reads the prefixes of a client. A prefix that another client has
// too is a fault, as nobody could say whose secret counts; a longer one is not.
func (t *table) addresses(name string, c Client, owners map[netip.Prefix]string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, it := range t.list(name, `["192.0.2.10", "2001:db8::/64"]`) {
		prefix, wrong := clientPrefix(it.text)
		owner, taken := owners[prefix]
		switch {
		case wrong != "":
			t.itemFault(name, it, "%s", wrong)
			continue
		case prefix.Bits() == 0 && !c.AllowAny:
			t.itemFault(name, it, "%s is everybody; name the network, or set allow_any = true", quoted(it.text))
		case taken:
			t.itemFault(name, it, "%s belongs to the client %s already; leave one out", quoted(it.text), owner)
		}
		owners[prefix] = c.Name
		prefixes = append(prefixes, prefix)
	}
	if list, isList := t.values[name].([]any); !t.has(name) || isList && len(list) == 0 {
		t.fault(name, "there is no address to know the client by; write it like address = [\"192.0.2.10\"]")
	}
	return prefixes
}

// clientPrefix reads an address or a prefix and says what is wrong with it.
func clientPrefix(text string) (prefix netip.Prefix, wrong string) {
	const how = "write an address or a prefix, like \"192.0.2.10\" or \"2001:db8::/64\""
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			return prefix, fmt.Sprintf("%s is not an address; %s", quoted(text), how)
		case address.Zone() != "":
			return prefix, fmt.Sprintf("%s has a zone, which no sender's address has; write it without %%%s", quoted(text), address.Zone())
		}
		address = address.Unmap()
		if nobody(address) {
			return prefix, fmt.Sprintf("%s is no sender's address; write that of the device, or its network", quoted(text))
		}
		return netip.PrefixFrom(address, address.BitLen()), ""
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Sprintf("%s is not a prefix; %s", quoted(text), how)
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < mappedBits {
			return prefix, fmt.Sprintf("%s is a prefix of IPv4 addresses that are written as IPv6; write the IPv4 prefix", quoted(text))
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mappedBits)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, fmt.Sprintf("%s has bits set behind the prefix; write \"%s\" for the network or \"%s\" for the one address", quoted(text), masked, prefix.Addr())
	}
	return prefix, ""
}

// nobody says whether no packet can come from address; "0.0.0.0" is what one
// listens on, and whoever writes it here means everybody.
func nobody(address netip.Addr) bool {
	return address.IsUnspecified() || address.IsMulticast() || address == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// secrets reads where the shared secret is and, while it changes, the old one.
func (t *table) secrets(c *Client, allowInline bool) {
	c.SecretFile, c.InlineSecret = t.secret("secret", c.AllowWeakSecret, allowInline)
	if c.SecretFile == "" && !t.has("secret") && !t.has("secret_file") {
		t.fault("secret_file", "there is no secret; make one with \"keywicket client new NAME\" and write secret_file = \"FILE\"")
	}
	c.OldSecretFile, c.InlineOldSecret = t.secret("old_secret", c.AllowWeakSecret, allowInline)
	changing := t.has("old_secret") || t.has("old_secret_file")
	c.OldSecretUntil = t.moment("old_secret_until")
	switch {
	case changing && !t.has("old_secret_until"):
		t.fault("old_secret_until", "nothing says until when the old secret is taken; write it like old_secret_until = \"2027-01-31\"")
	case !changing && t.has("old_secret_until"):
		t.fault("old_secret_until", "there is no old secret; write old_secret_file = \"FILE\", or leave this out")
	case c.OldSecretFile != "" && c.OldSecretFile == c.SecretFile:
		t.fault("old_secret_file", "this is the file of the new secret; put the new one into a file of its own, as \"keywicket client rotate NAME\" does")
	}
}

// secret reads a secret: the path of its file under the key with _file, or the
// text itself. No fault shows what it found.
func (t *table) secret(name string, weak, allowInline bool) (file string, text Secret) {
	inline, hasInline := t.get(name)
	_, hasFile := t.get(name + "_file")
	switch {
	case hasInline && hasFile:
		t.fault(name, "%s and %[1]s_file both stand here; leave %[1]s out", name)
	case hasFile:
		file = t.requiredPath(name+"_file", `"/etc/keywicket/client.secret"`)
	case !hasInline:
	case !allowInline:
		t.fault(name, "a secret may not stand in this file; use %s_file, or set allow_inline_secrets = true at the top", name)
	default:
		octets, ok := inline.(string)
		if !ok {
			t.wrongType(name, inline, "text", `"…"`)
			break
		}
		if wrong := secretFault([]byte(octets), weak); wrong != "" {
			t.fault(name, "%s", wrong)
		}
		text = Secret{text: &octets}
	}
	return file, text
}

// moment reads a time: a date, which means its end here where the daemon runs,
// or RFC 3339; as text, or as TOML writes them. Zero is none.
func (t *table) moment(name string) time.Time {
	value, ok := t.get(name)
	if !ok {
		return time.Time{}
	}
	var at time.Time
	var err error
	switch v := value.(type) {
	case time.Time:
		at = v
	case toml.LocalDateTime:
		at = v.AsTime(time.Local)
	case toml.LocalDate:
		at = v.AsTime(time.Local).AddDate(0, 0, 1)
	case string:
		if at, err = time.ParseInLocation(time.DateOnly, v, time.Local); err == nil {
			at = at.AddDate(0, 0, 1)
		} else {
			at, err = time.Parse(time.RFC3339, v)
		}
	default:
		t.wrongType(name, value, "a date", `"2027-01-31"`)
		return time.Time{}
	}
	if err != nil {
		t.fault(name, "%s is neither a date nor a time; write it like \"2027-01-31\" or \"2027-01-31T18:00:00Z\"", quoted(value.(string)))
	}
	return at
}
