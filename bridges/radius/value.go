package radius

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encode makes the octets of a value from its text. They are never empty
// (RFC 2865, section 5: what has no value is left out).
func (e entry) encode(text string) ([]byte, error) {
	switch e.kind {
	case typeString:
		return encodeString(text)
	case typeOctets:
		return encodeOctets(e, text)
	case typeInteger, typeByte, typeShort, typeInteger64:
		return encodeNumber(e, text)
	case typeSigned:
		return encodeSigned(e, text)
	case typeDate:
		return encodeDate(text)
	case typeIPv6Prefix:
		return encodePrefix(text)
	case typeIPv4Prefix:
		return encodePrefix4(text)
	case typeInterfaceID:
		return encodeInterfaceID(text)
	case typeEther:
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf(`%s is no MAC address, such as "00:11:22:33:44:55"`, quoteShort(text))
		}
		return mac, nil
	}
	ip, err := netip.ParseAddr(text)
	switch {
	case err == nil && ip.Is4() && (e.kind == typeIPv4 || e.kind == typeCombo):
	case err == nil && ip.Is6() && ip.Zone() == "" && (e.kind == typeIPv6 || e.kind == typeCombo):
	case e.kind == typeIPv4:
		return nil, fmt.Errorf(`%s is no IPv4 address, such as "192.0.2.1"`, quoteShort(text))
	case e.kind == typeIPv6:
		return nil, fmt.Errorf(`%s is no IPv6 address, such as "2001:db8::1"`, quoteShort(text))
	default:
		return nil, fmt.Errorf("%s is no IP address", quoteShort(text))
	}
	return ip.AsSlice(), nil
}

func encodeString(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, errors.New("the value is empty")
	case !utf8.ValidString(text):
		return nil, errors.New("the text is not valid UTF-8")
	case strings.ContainsRune(text, 0):
		return nil, errors.New("the text has a NUL in it")
	}
	return []byte(text), nil
}

func encodeOctets(e entry, text string) ([]byte, error) {
	for _, v := range e.values {
		if strings.EqualFold(v.name, text) { // it would be taken for text
			return nil, fmt.Errorf("%s is the name of a value of octets, and how it is written is not known; write 0x…", quoteShort(text))
		}
	}
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok {
		// Class and the like are octets to the device and a word to people.
		if strings.HasPrefix(text, "0X") {
			return nil, errors.New(`octets begin with "0x"`)
		}
		raw, err := encodeString(text)
		return sized(e, raw, err)
	}
	raw, err := hex.DecodeString(digits)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s are no octets: after 0x come pairs of hexadecimal digits", quoteShort(text))
	case len(raw) == 0:
		return nil, errors.New("the value is empty")
	}
	return sized(e, raw, nil)
}

func sized(e entry, raw []byte, err error) ([]byte, error) {
	if err == nil && e.size > 0 && len(raw) != e.size {
		err = fmt.Errorf("the value has %d octets; it takes exactly %d", len(raw), e.size)
	}
	return raw, err
}

// encodeNumber reads a number that is not negative, or the name of one.
func encodeNumber(e entry, text string) ([]byte, error) {
	limit := e.kind.largest()
	n, err := strconv.ParseUint(text, 0, 64)
	found := err == nil && n <= limit
	for _, v := range e.values {
		if strings.EqualFold(v.name, text) {
			n, found = v.number, true
		}
	}
	if !found {
		return nil, noNumber(e, text, fmt.Sprintf("no number from 0 to %d", limit))
	}
	all := binary.BigEndian.AppendUint64(nil, n)
	switch e.kind {
	case typeByte:
		return all[7:], nil
	case typeShort:
		return all[6:], nil
	case typeInteger64:
		return all, nil
	}
	return all[4:], nil
}

func noNumber(e entry, text, alone string) error {
	if len(e.values) == 0 {
		return fmt.Errorf("%s is %s", quoteShort(text), alone)
	}
	const some = 40
	var names []string
	for _, v := range e.values[:min(len(e.values), some)] {
		names = append(names, v.name)
	}
	more := ""
	if len(e.values) > some {
		more = " and others"
	}
	return fmt.Errorf("%s is neither a number that fits nor one of %s%s", quoteShort(text), strings.Join(names, ", "), more)
}

func encodeSigned(e entry, text string) ([]byte, error) {
	for _, v := range e.values {
		if strings.EqualFold(v.name, text) {
			return binary.BigEndian.AppendUint32(nil, uint32(v.number)), nil
		}
	}
	n, err := strconv.ParseInt(text, 0, 32)
	if err != nil {
		return nil, noNumber(e, text, fmt.Sprintf("no number from %d to %d", math.MinInt32, math.MaxInt32))
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n)), nil
}

func encodeDate(text string) ([]byte, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		var t time.Time
		if t, err = time.Parse(time.RFC3339, text); err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
		seconds = t.Unix()
	}
	if err != nil || seconds < 0 || seconds > math.MaxUint32 {
		return nil, fmt.Errorf(`%s is no date from 1970 to 2106, such as "2030-12-31" or "2030-12-31T18:00:00Z"`, quoteShort(text))
	}
	return binary.BigEndian.AppendUint32(nil, uint32(seconds)), nil
}

// encodePrefix is RFC 3162, section 2.3: a reserved octet, the length, and no
// more of the address than the length needs.
func encodePrefix(text string) ([]byte, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is6() {
		return nil, fmt.Errorf(`%s is no IPv6 prefix, such as "2001:db8::/56"`, quoteShort(text))
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("%s has bits behind its length; %v has none", quoteShort(text), p.Masked())
	}
	address := p.Addr().As16()
	return append([]byte{0, byte(p.Bits())}, address[:(p.Bits()+7)/8]...), nil
}

// encodePrefix4 is RFC 6572, section 4.1.1: a reserved octet, the length, and
// the whole address.
func encodePrefix4(text string) ([]byte, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return nil, fmt.Errorf(`%s is no IPv4 prefix, such as "192.0.2.0/24"`, quoteShort(text))
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("%s has bits behind its length; %v has none", quoteShort(text), p.Masked())
	}
	return append([]byte{0, byte(p.Bits())}, p.Addr().AsSlice()...), nil
}

// encodeInterfaceID reads four groups of hexadecimal digits (RFC 3162, section 2.2).
func encodeInterfaceID(text string) ([]byte, error) {
	groups := strings.Split(text, ":")
	var raw []byte
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 16, 16)
		if err != nil || len(groups) != 4 {
			return nil, fmt.Errorf(`%s is no interface identifier, such as "0:0:0:1"`, quoteShort(text))
		}
		raw = binary.BigEndian.AppendUint16(raw, uint16(n))
	}
	return raw, nil
}
