package radius

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A path is where a datagram came from, and so where its answer goes: back to
// from, out of the address that was asked.
type path struct {
	sock  sender
	from  netip.AddrPort // without zone
	local netip.Addr     // the address that was asked, or the zero Addr
	iface uint32         // index; needed for link-local addresses

	accounting bool // it came to a port for accounting
}

// source returns the address of the device: without zone, IPv4 as IPv4.
func (p *path) source() netip.Addr { return p.from.Addr().Unmap().WithZone("") }

// A sender is a socket; its number tells it from the others.
type sender interface {
	number() uint16

	// add takes a copy of reply, to be sent with the next flush at the latest. Both
	// return how many replies could not be sent, and the first reason.
	add(reply []byte, to *path) (failed int, err error)
	flush() (failed int, err error)
}

// A request is a packet that is genuine and new, with its own copy of it. It
// is used again after release.
type request struct {
	path
	packet   packet
	table    *table
	client   *client
	key      *key
	exchange *exchange
	arrived  time.Time

	reply    []byte        // room for it
	wait     time.Duration // after arrived, until it goes out
	buf      []byte        // for a packet of its own, where it outlives the datagram
	password [maxPassword]byte
	mask     [maxPassword]byte // that its password is hidden with under key, if
	masks    int               // blocks of it are known
	mschap   *exchanged        // of a well-formed MS-CHAP2-Response, else nil
	finding
}

// A finding is what was found out about a request, for those who look on.
type finding struct {
	decided bool // by the Verifier
	refused error
	used    core.Ref
	garbled bool // without Message-Authenticator, and its password is no text
}

const (
	serviceTypeCallCheck     = 10 // RFC 2865, section 5.6
	serviceTypeAuthorizeOnly = 17 // RFC 3576, section 3.1
	maxDevice                = 128
)

// attempt decodes r. This is the first time that anything in it is decoded.
func (r *request) attempt() core.Attempt {
	a := r.attemptOf(nil)
	name, count := r.packet.find(attrUserName)
	if count > 0 {
		a.Account = string(r.table.account(name))
	}
	if count == 1 && len(name) > 0 && !r.asksWithoutPassword() {
		a.Proof = oneMethod(r)
	}
	return a
}

// onlyText decodes the account's name and the password of r, if these are all that
// r presents and are well-formed; else typed is nil.
func (r *request) onlyText() (name, typed []byte) {
	name, count := r.packet.find(attrUserName)
	if count != 1 || len(name) == 0 || r.asksWithoutPassword() || !r.client.takes(proof.MethodCleartext) {
		return nil, nil
	}
	if only, one := onlyMethod(&r.packet); !one || only != (pap{}) {
		return nil, nil
	}
	return r.table.account(name), pap{}.text(r)
}

// attemptOf is attempt without the account and the proof.
func (r *request) attemptOf(known *spellings) core.Attempt {
	a := core.Attempt{Service: r.client.service, Client: r.client.Name, Source: r.source(), Port: known.port(&r.packet), Answerer: r.table}
	if station, count := r.packet.find(attrCallingStationID); count > 0 {
		a.Device = known.device(station)
	}
	return a
}

// asksWithoutPassword is true for services that skip the check of a password,
// and for a Service-Type that cannot be read.
func (r *request) asksWithoutPassword() bool {
	value, count := r.packet.find(attrServiceType)
	if count == 0 {
		return false
	}
	if count > 1 || len(value) != 4 || value[0]|value[1]|value[2] != 0 {
		return true
	}
	return value[3] == serviceTypeCallCheck || value[3] == serviceTypeAuthorizeOnly
}

// grantable reports whether p is something that can be granted at all.
func grantable(p proof.Proof) bool {
	switch p := p.(type) {
	case nil, proof.Unsupported:
		return false
	case *proof.MSCHAPv2: // without what the answer is made of, nobody decided it
		_, ok := p.Success()
		return ok
	}
	return true
}

// account returns the account that a User-Name means under the realm rule.
func (t *table) account(name []byte) []byte {
	if t.config.Realm != RealmStrip {
		return name
	}
	if _, rest, ok := bytes.Cut(name, []byte(`\`)); ok && len(rest) > 0 {
		name = rest
	}
	if at := bytes.LastIndexByte(name, '@'); at > 0 {
		name = name[:at]
	}
	return name
}

// device returns Calling-Station-Id as core.Attempt wants it: the same text
// for every spelling of a MAC address (RFC 3580, section 3.21, and what is
// sent instead, also with the SSID behind it), of an IP address, whose port is
// dropped because it is another one each time, and of an international number;
// and else the trimmed text.
func device(station []byte) string {
	text := strings.TrimSpace(string(station))
	if mac, ok := macAddress([]byte(text)); ok {
		return mac
	}
	if mac, ok := macAndSSID(text); ok {
		return mac
	}
	if ip, ok := ipAddress(text); ok {
		return ip
	}
	if number, ok := telephone(text); ok {
		return number
	}
	text = printable(text)
	if len(text) <= maxDevice {
		return text
	}
	cut := maxDevice
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// Device is device for a text that somebody typed.
func Device(typed string) string { return device([]byte(typed)) }

// macAndSSID reads a MAC address with ":" and an SSID behind it, as
// Called-Station-Id has it. Where colons are within the address too, one that is
// followed by more of the same is none.
func macAndSSID(text string) (string, bool) {
	const dashed, plain, dotted = 17, 12, 14 // lengths
	for _, n := range []int{dashed, dotted, plain} {
		if len(text) <= n+1 || text[n] != ':' || strings.Contains(text[:n], ":") {
			continue
		}
		if mac, ok := macAddress([]byte(text[:n])); ok {
			return mac, true
		}
	}
	return "", false
}

// ipAddress reads an address, and one with a port as "192.0.2.7:4500",
// "192.0.2.7[4500]" or "[2001:db8::7]:4500".
func ipAddress(text string) (string, bool) {
	if head, port, ok := strings.Cut(strings.TrimSuffix(text, "]"), "["); ok && head != "" && strings.HasSuffix(text, "]") && isPort(port) {
		text = head
	}
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().String(), true
	}
	ip, err := netip.ParseAddr(text)
	return ip.Unmap().String(), err == nil && ip.Zone() == ""
}

func isPort(s string) bool {
	return s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// telephone reads an international number: without its separators, because one
// is written with and the next without. A number without "+" may be anything,
// such as a line card and its port, where the separators tell two from each other.
func telephone(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, "+")
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()/", r) {
			return -1
		}
		return r
	}, rest)
	if !ok || len(digits) < 5 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" { // E.164
		return "", false
	}
	return "+" + digits, true
}

// macAddress reads 12 hexadecimal digits in groups of 2, 4, 6 or 12 with one
// kind of separator.
func macAddress(s []byte) (string, bool) {
	s = []byte(strings.TrimSpace(string(s)))
	const digits = "0123456789abcdef"
	var out [17]byte
	var separator byte
	n, group, size := 0, 0, 0
	for _, c := range s {
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		nibble := strings.IndexByte(digits, c)
		switch {
		case nibble >= 0 && n < 12:
			out[n+n/2] = c
			n++
			group++
		case (c == '-' || c == ':' || c == '.' || c == ' ') && group > 0 && (separator == 0 || separator == c) && (size == 0 || size == group):
			separator, size, group = c, group, 0
		default:
			return "", false
		}
	}
	if n != 12 || size != 0 && (size != group || size != 2 && size != 4 && size != 6) {
		return "", false
	}
	for i := 2; i < len(out); i += 3 {
		out[i] = ':'
	}
	return string(out[:]), true
}
