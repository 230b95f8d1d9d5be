package radius

import (
	"fmt"
	"strconv"
	"strings"

	"layeh.com/radius/dictionary"
)

// An Attribute is one reply attribute, as it goes on the wire. ParseReply
// makes them; the zero Attribute is none.
type Attribute struct {
	name string
	id   attributeID
	wire []byte
}

// An attributeID tells attributes apart where one stands instead of another.
type attributeID struct {
	vendor uint32 // 0 for none
	kind   byte
	tag    byte
}

// Name returns the name as the dictionary spells it, with its tag.
func (a Attribute) Name() string { return a.name }

// Attributes that have no place in an Access-Accept, beside those of packet.go.
const (
	attrNASIPAddress        = 4
	attrNASPort             = 5
	attrState               = 24
	attrCalledStationID     = 30
	attrNASIdentifier       = 32
	attrAcctStatusType      = 40
	attrAcctOutputGigawords = 53
	attrEventTimestamp      = 55
	attrNASPortType         = 61
	attrARAPPassword        = 70
	attrConnectInfo         = 77
	attrNASPortID           = 87
	attrNASIPv6Address      = 95
	attrErrorCause          = 101
)

const maxTag = 0x1F // RFC 2868, section 3

// ParseReply makes a reply attribute of a dictionary name and a text. The name
// may end in a tag, as "Tunnel-Private-Group-Id:1" (RFC 2868); case does not
// matter. The text is, by the type of the attribute: text; a number or the
// name of a value; an address; a prefix; an interface identifier as
// "0:0:0:1"; a date as RFC 3339, "2006-01-02" or seconds since 1970; octets as
// "0x…".
//
// Refused are names that are not known, texts that do not fit, and attributes
// that the server sets itself or that belong in no Access-Accept.
func ParseReply(name, value string) (Attribute, error) {
	words, err := embedded()
	if err != nil {
		return Attribute{}, err
	}
	plain, tag, err := splitTag(name)
	if err != nil {
		return Attribute{}, err
	}
	entry, ok := words.find(plain)
	if !ok {
		return Attribute{}, fmt.Errorf("%s is no known attribute%s", quoteShort(plain), words.hint(plain))
	}
	if why := unsettable(entry); why != "" {
		return Attribute{}, fmt.Errorf("%s is not set by hand: %s", entry.Name, why)
	}
	if tag >= 0 && !entry.HasTag() {
		return Attribute{}, fmt.Errorf("%s has no tag; write it without %q", entry.Name, ":"+strconv.Itoa(tag))
	}
	raw, err := words.encode(entry, value)
	if err != nil {
		return Attribute{}, fmt.Errorf("%s: %w", entry.Name, err)
	}
	raw, err = putTag(entry, tag, raw)
	if err != nil {
		return Attribute{}, fmt.Errorf("%s: %w", entry.Name, err)
	}
	return entry.attribute(tag, raw)
}

// attribute frames raw, in a Vendor-Specific where the entry is a vendor's
// (RFC 2865, section 5.26).
func (e entry) attribute(tag int, raw []byte) (Attribute, error) {
	limit := maxValue
	if e.vendor != 0 {
		limit -= 6
	}
	if len(raw) > limit {
		return Attribute{}, fmt.Errorf("%s: the value has %d octets; at most %d fit", e.Name, len(raw), limit)
	}
	a := Attribute{name: e.Name, id: attributeID{vendor: e.vendor, kind: e.kind, tag: byte(max(tag, 0))}}
	if tag >= 0 {
		a.name += ":" + strconv.Itoa(tag)
	}
	if e.vendor != 0 {
		v := e.vendor
		a.wire = append(a.wire, attrVendorSpecific, byte(8+len(raw)), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	a.wire = append(a.wire, e.kind, byte(2+len(raw)))
	a.wire = append(a.wire, raw...)
	return a, nil
}

// splitTag takes ":1" off a name; the tag is -1 where there is none.
func splitTag(name string) (plain string, tag int, err error) {
	plain, text, ok := strings.Cut(name, ":")
	if !ok {
		return name, -1, nil
	}
	tag, err = strconv.Atoi(text)
	if err != nil || tag < 0 || tag > maxTag {
		return "", 0, fmt.Errorf("%s: a tag is a number from 0 to %d", quoteShort(name), maxTag)
	}
	return plain, tag, nil
}

// putTag puts the tag into raw. A number gives its first octet to it, always;
// a text gets one in front only where one was asked for (RFC 2868, sections
// 3.1 and 3.6).
func putTag(e entry, tag int, raw []byte) ([]byte, error) {
	switch {
	case !e.HasTag():
		return raw, nil
	case e.Type == dictionary.AttributeInteger:
		if raw[0] != 0 {
			return nil, fmt.Errorf("the number does not fit beside a tag; at most %d does", 1<<24-1)
		}
		raw[0] = byte(max(tag, 0))
		return raw, nil
	case tag >= 0:
		return append([]byte{byte(tag)}, raw...), nil
	case raw[0] <= maxTag:
		return nil, fmt.Errorf("the value begins with an octet that would be taken for a tag")
	}
	return raw, nil
}

// unsettable says why an attribute is not for the configuration, or "".
func unsettable(e entry) string {
	if e.FlagEncrypt.Valid {
		return "it would have to be encrypted for each reply"
	}
	if e.vendor == vendorMicrosoft && strings.HasPrefix(e.Name, "MS-CHAP") {
		return "it is part of MS-CHAP"
	}
	if e.vendor != 0 {
		return ""
	}
	switch e.kind {
	case attrMessageAuthenticator, attrProxyState:
		return "the server sets it in every reply"
	case attrState, attrEAPMessage, attrErrorCause:
		return "it is part of the protocol"
	case attrUserName, attrCHAPPassword, attrNASIPAddress, attrNASPort, attrCalledStationID, attrCallingStationID, attrNASIdentifier,
		attrCHAPChallenge, attrNASPortType, attrEventTimestamp, attrARAPPassword, attrConnectInfo, attrNASPortID, attrNASIPv6Address:
		return "it belongs in a request, not in an Access-Accept (RFC 2865, section 5.44)"
	}
	if attrAcctStatusType <= e.kind && e.kind <= attrAcctOutputGigawords {
		return "it belongs in accounting (RFC 2866)"
	}
	return ""
}

func quoteShort(s string) string { return `"` + cut(s, maxLogName) + `"` }
