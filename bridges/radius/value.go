package radius

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"layeh.com/radius/dictionary"
)

// encode makes the octets of a value from its text. They are never empty
// (RFC 2865, section 5: what has no value is left out).
func (w *words) encode(e entry, text string) ([]byte, error) {
	switch e.Type {
	case dictionary.AttributeString:
		return encodeString(text)
	case dictionary.AttributeOctets:
		return encodeOctets(e, text)
	case dictionary.AttributeInteger:
		return encodeInteger(e, text)
	case dictionary.AttributeDate:
		return encodeDate(text)
	case dictionary.AttributeIPAddr:
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is4() {
			return nil, fmt.Errorf(`%s is no IPv4 address, such as "192.0.2.1"`, quoteShort(text))
		}
		return ip.AsSlice(), nil
	case dictionary.AttributeIPv6Addr:
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return nil, fmt.Errorf(`%s is no IPv6 address, such as "2001:db8::1"`, quoteShort(text))
		}
		return ip.AsSlice(), nil
	case dictionary.AttributeIPv6Prefix:
		return encodePrefix(text)
	case dictionary.AttributeIFID:
		return encodeInterfaceID(text)
	}
	return nil, fmt.Errorf("values of type %v cannot be set", e.Type)
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
	if err == nil && e.Size.Valid && len(raw) != e.Size.Int {
		err = fmt.Errorf("the value has %d octets; it takes exactly %d", len(raw), e.Size.Int)
	}
	return raw, err
}

func encodeInteger(e entry, text string) ([]byte, error) {
	for _, v := range e.values {
		if strings.EqualFold(v.Name, text) {
			return binary.BigEndian.AppendUint32(nil, uint32(v.Number)), nil
		}
	}
	n, err := strconv.ParseUint(text, 0, 32)
	if err == nil {
		return binary.BigEndian.AppendUint32(nil, uint32(n)), nil
	}
	if len(e.values) == 0 {
		return nil, fmt.Errorf("%s is no number from 0 to %d", quoteShort(text), uint32(math.MaxUint32))
	}
	var names []string
	for _, v := range e.values {
		names = append(names, v.Name)
	}
	return nil, fmt.Errorf("%s is neither a number nor one of %s", quoteShort(text), strings.Join(names, ", "))
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
