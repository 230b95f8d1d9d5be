package radius

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// Describe tells an attribute in words, as "Filter-Id" and `"admins"`: whole,
// with type and length; one pair for each that a Vendor-Specific holds. What
// is encrypted is not shown.
func (d *Dictionary) Describe(attribute []byte) [][2]string {
	if len(attribute) < 2 {
		return [][2]string{{"Attribute", "0x" + hex.EncodeToString(attribute)}}
	}
	kind, value := attribute[0], attribute[2:]
	if kind != attrVendorSpecific || len(value) < 4 {
		return [][2]string{d.describe(0, kind, value)}
	}
	vendor, rest := binary.BigEndian.Uint32(value), value[4:]
	var all [][2]string
	for len(rest) > 0 {
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return [][2]string{{"Vendor-Specific", "0x" + hex.EncodeToString(value)}}
		}
		all = append(all, d.describe(vendor, rest[0], rest[2:rest[1]]))
		rest = rest[rest[1]:]
	}
	return all
}

func (d *Dictionary) describe(vendor uint32, kind byte, value []byte) [2]string {
	if e, ok := d.numbered(vendor, uint32(kind)); ok {
		return e.describe(value)
	}
	name := fmt.Sprint("Attribute ", kind)
	if vendor != 0 {
		name = fmt.Sprintf("Attribute %d of vendor %d", kind, vendor)
	}
	return [2]string{name, "0x" + hex.EncodeToString(value)}
}

// isText says whether values of e are texts.
func (e entry) isText() bool { return e.kind == typeString }

func (e entry) describe(value []byte) [2]string {
	name := e.name
	if e.encrypt != 0 {
		return [2]string{name, "(encrypted)"}
	}
	if e.tagged && len(value) > 0 && value[0] <= maxTag {
		if value[0] != 0 {
			name += ":" + strconv.Itoa(int(value[0]))
		}
		if e.kind == typeInteger {
			value = append([]byte{0}, value[1:]...)
		} else {
			value = value[1:]
		}
	}
	return [2]string{name, e.text(value)}
}

// text is what ParseReply would read, as far as the type has such a form.
func (e entry) text(value []byte) string {
	number := func() string {
		var n uint64
		for _, b := range value {
			n = n<<8 | uint64(b)
		}
		for _, v := range e.values {
			if v.number == n {
				return v.name
			}
		}
		return strconv.FormatUint(n, 10)
	}
	switch {
	case e.vendor.number == vendorMicrosoft && (e.number == msCHAPError || e.number == msCHAP2Success) && len(value) > 0:
		// An identifier stands before the text (RFC 2548, sections 2.1.5 and 2.3.3).
		return fmt.Sprintf(`0x%02x "%s"`, value[0], printable(string(value[1:])))
	case e.kind == typeString && utf8.Valid(value):
		return `"` + printable(string(value)) + `"`
	case e.kind == typeInteger && len(value) == 4, e.kind == typeShort && len(value) == 2, e.kind == typeByte && len(value) == 1, e.kind == typeInteger64 && len(value) == 8:
		return number()
	case e.kind == typeSigned && len(value) == 4:
		return strconv.Itoa(int(int32(binary.BigEndian.Uint32(value))))
	case e.kind == typeDate && len(value) == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(value)), 0).UTC().Format(time.RFC3339)
	case e.kind == typeEther && len(value) == 6:
		return net.HardwareAddr(value).String()
	case (e.kind == typeIPv4 || e.kind == typeCombo) && len(value) == 4, (e.kind == typeIPv6 || e.kind == typeCombo) && len(value) == 16:
		ip, _ := netip.AddrFromSlice(value)
		return ip.String()
	}
	return "0x" + hex.EncodeToString(value)
}
