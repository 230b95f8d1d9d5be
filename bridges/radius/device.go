package radius

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

const maxDevice = 128

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
