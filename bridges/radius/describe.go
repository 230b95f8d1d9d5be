package radius

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"layeh.com/radius/dictionary"
)

// Describe tells an attribute in words, as "Filter-Id" and `"admins"`: whole,
// with type and length; one pair for each that a Vendor-Specific holds. What
// is encrypted is not shown.
func Describe(attribute []byte) [][2]string {
	words, err := embedded()
	if err != nil || len(attribute) < 2 {
		return [][2]string{{"Attribute", "0x" + hex.EncodeToString(attribute)}}
	}
	kind, value := attribute[0], attribute[2:]
	if kind != attrVendorSpecific || len(value) < 4 {
		return [][2]string{words.describe(0, kind, value)}
	}
	vendor, rest := binary.BigEndian.Uint32(value), value[4:]
	var all [][2]string
	for len(rest) > 0 {
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return [][2]string{{"Vendor-Specific", "0x" + hex.EncodeToString(value)}}
		}
		all = append(all, words.describe(vendor, rest[0], rest[2:rest[1]]))
		rest = rest[rest[1]:]
	}
	return all
}

func (w *words) describe(vendor uint32, kind byte, value []byte) [2]string {
	if e, ok := w.entry(vendor, kind); ok {
		return e.describe(value)
	}
	name := fmt.Sprint("Attribute ", kind)
	if vendor != 0 {
		name = fmt.Sprintf("Attribute %d of vendor %d", kind, vendor)
	}
	return [2]string{name, "0x" + hex.EncodeToString(value)}
}

// entry returns the attribute of that number.
func (w *words) entry(vendor uint32, kind byte) (entry, bool) {
	for _, e := range w.entries {
		if e.vendor == vendor && e.kind == kind {
			return e, true
		}
	}
	return entry{}, false
}

// isText says whether values of e are texts.
func (e entry) isText() bool { return e.Type == dictionary.AttributeString }

func (e entry) describe(value []byte) [2]string {
	name := e.Name
	if e.FlagEncrypt.Valid {
		return [2]string{name, "(encrypted)"}
	}
	if e.HasTag() && len(value) > 0 && value[0] <= maxTag {
		if value[0] != 0 {
			name += ":" + strconv.Itoa(int(value[0]))
		}
		if e.Type == dictionary.AttributeInteger {
			value = append([]byte{0}, value[1:]...)
		} else {
			value = value[1:]
		}
	}
	return [2]string{name, e.text(value)}
}

// text is what ParseReply would read, as far as the type has such a form.
func (e entry) text(value []byte) string {
	switch {
	case e.vendor == vendorMicrosoft && (e.kind == msCHAPError || e.kind == msCHAP2Success) && len(value) > 0:
		// An identifier stands before the text (RFC 2548, sections 2.1.5 and 2.3.3).
		return fmt.Sprintf(`0x%02x "%s"`, value[0], printable(string(value[1:])))
	case e.Type == dictionary.AttributeString && utf8.Valid(value):
		return `"` + printable(string(value)) + `"`
	case e.Type == dictionary.AttributeInteger && len(value) == 4:
		n := binary.BigEndian.Uint32(value)
		for _, v := range e.values {
			if uint32(v.Number) == n {
				return v.Name
			}
		}
		return strconv.FormatUint(uint64(n), 10)
	case e.Type == dictionary.AttributeDate && len(value) == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(value)), 0).UTC().Format(time.RFC3339)
	case e.Type == dictionary.AttributeIPAddr && len(value) == 4, e.Type == dictionary.AttributeIPv6Addr && len(value) == 16:
		ip, _ := netip.AddrFromSlice(value)
		return ip.String()
	}
	return "0x" + hex.EncodeToString(value)
}
