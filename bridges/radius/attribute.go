package radius

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
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
	number uint32
	tag    byte
}

// Octets returns how long the attribute is on the wire.
func (a Attribute) Octets() int { return len(a.wire) }

// MaxReply is how many octets of attributes an Access-Accept has room for beside
// what the server puts into each: Message-Authenticator and Class. Those of a
// request, such as Proxy-State, come on top.
const MaxReply = maxPacket - headerLen - (2 + digestLen) - (2 + maxValue)

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
func (d *Dictionary) ParseReply(name, value string) (Attribute, error) {
	plain, tag, err := splitTag(name)
	if err != nil {
		return Attribute{}, err
	}
	entry, ok := d.find(plain)
	if !ok {
		return Attribute{}, fmt.Errorf("%s is no known attribute%s", quoteShort(plain), d.hint(plain))
	}
	if why := unsettable(entry); why != "" {
		return Attribute{}, fmt.Errorf("%s is not set by hand: %s", entry.name, why)
	}
	if tag >= 0 && !entry.tagged {
		return Attribute{}, fmt.Errorf("%s has no tag; write it without %q", entry.name, ":"+strconv.Itoa(tag))
	}
	raw, err := entry.encode(value)
	if err != nil {
		return Attribute{}, fmt.Errorf("%s: %w", entry.name, err)
	}
	raw, err = putTag(entry, tag, raw)
	if err != nil {
		return Attribute{}, fmt.Errorf("%s: %w", entry.name, err)
	}
	return entry.attribute(tag, raw)
}

// attribute frames raw, in a Vendor-Specific where the entry is a vendor's
// (RFC 2865, section 5.26), which may have numbers and lengths of other sizes.
func (e entry) attribute(tag int, raw []byte) (Attribute, error) {
	v, limit := e.vendor, maxValue
	if v.number != 0 {
		limit -= 4 + v.typeOctets + v.lengthOctets
	}
	if len(raw) > limit {
		return Attribute{}, fmt.Errorf("%s: the value has %d octets; at most %d fit", e.name, len(raw), limit)
	}
	a := Attribute{name: e.name, id: attributeID{vendor: v.number, number: e.number, tag: byte(max(tag, 0))}}
	if tag >= 0 {
		a.name += ":" + strconv.Itoa(tag)
	}
	if v.number == 0 {
		a.wire = append([]byte{byte(e.number), byte(2 + len(raw))}, raw...)
		return a, nil
	}
	a.wire = binary.BigEndian.AppendUint32([]byte{attrVendorSpecific, 0}, v.number)
	a.wire = appendBytes(a.wire, e.number, v.typeOctets)
	a.wire = appendBytes(a.wire, uint32(v.typeOctets+v.lengthOctets+len(raw)), v.lengthOctets)
	a.wire = append(a.wire, raw...)
	a.wire[1] = byte(len(a.wire))
	return a, nil
}

// appendBytes appends the last size octets of n.
func appendBytes(to []byte, n uint32, size int) []byte {
	var all [4]byte
	binary.BigEndian.PutUint32(all[:], n)
	return append(to, all[len(all)-size:]...)
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
	case !e.tagged:
		return raw, nil
	case e.kind == typeInteger:
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
	switch {
	case e.encrypt != 0:
		return "it would have to be encrypted for each reply, and is a secret that stands in the clear here"
	case e.vendor.number == vendorMicrosoft && strings.HasPrefix(e.name, "MS-CHAP"):
		return "it is part of MS-CHAP"
	case e.vendor.number == 0 && !e.inner && belongsElsewhere(e.number) != "":
		return belongsElsewhere(e.number)
	case e.cannot != "":
		return fmt.Sprintf("%s (%v)", e.cannot, e.at)
	}
	return ""
}

// belongsElsewhere says why an attribute of the RFCs is none that somebody
// puts into an Access-Accept, or "".
func belongsElsewhere(number uint32) string {
	switch number {
	case attrMessageAuthenticator, attrProxyState:
		return "the server sets it in every reply"
	case attrState, attrEAPMessage, attrErrorCause:
		return "it is part of the protocol"
	case attrUserName, attrCHAPPassword, attrNASIPAddress, attrNASPort, attrCalledStationID, attrCallingStationID, attrNASIdentifier,
		attrCHAPChallenge, attrNASPortType, attrEventTimestamp, attrARAPPassword, attrConnectInfo, attrNASPortID, attrNASIPv6Address:
		return "it belongs in a request, not in an Access-Accept (RFC 2865, section 5.44)"
	}
	if attrAcctStatusType <= number && number <= attrAcctOutputGigawords {
		return "it belongs in accounting (RFC 2866)"
	}
	return ""
}

func quoteShort(s string) string { return `"` + cut(s, maxLogName) + `"` }
