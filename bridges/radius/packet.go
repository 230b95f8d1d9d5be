package radius

import "encoding/binary"

// RFC 2865, section 3.
const (
	headerLen     = 20
	maxPacket     = 4096
	maxAttributes = 200 // what others allow too; 2,038 would fit
)

// Attributes of RFC 2865, section 5, RFC 2869 and RFC 3579 that mean
// something here.
const (
	attrUserName             = 1
	attrUserPassword         = 2
	attrCHAPPassword         = 3
	attrServiceType          = 6
	attrClass                = 25
	attrVendorSpecific       = 26
	attrCallingStationID     = 31
	attrProxyState           = 33
	attrCHAPChallenge        = 60
	attrEAPMessage           = 79
	attrMessageAuthenticator = 80
)

// A packet is a view of a datagram: where each attribute is, and nothing
// decoded. It holds no memory but the datagram's.
type packet struct {
	view
	at [maxAttributes]uint16 // room for where in raw the n attributes are
}

// A view is what parse makes whole.
type view struct {
	raw   []byte    // from Code to what Length says; what follows is padding
	n     int       // attributes
	kinds [4]uint64 // a bit for each type of attribute that there is

	signatures int // how many Message-Authenticator
	signature  int // where the last one is
}

// parse makes p a view of datagram. It allocates nothing and reads nothing
// behind Length (RFC 2865, section 3).
func (p *packet) parse(datagram []byte) drop {
	p.view = view{}
	if len(datagram) < headerLen {
		return dropLength
	}
	length := int(binary.BigEndian.Uint16(datagram[2:]))
	if length < headerLen || length > maxPacket || length > len(datagram) {
		return dropLength
	}
	p.raw = datagram[:length:length]
	for at := headerLen; at < length; {
		if length-at < 2 {
			return dropAttributes
		}
		size := int(p.raw[at+1])
		if size < 2 || size > length-at {
			return dropAttributes
		}
		if p.n == maxAttributes {
			return dropTooManyAttributes
		}
		p.at[p.n] = uint16(at)
		p.n++
		kind := p.raw[at]
		p.kinds[kind/64] |= 1 << (kind % 64)
		if kind == attrMessageAuthenticator {
			p.signatures++
			p.signature = at
		}
		at += size
	}
	return dropNone
}

// copy makes p the same as from, with its octets in room.
func (p *packet) copy(from *packet, room []byte) {
	*p = *from
	p.raw = room[:copy(room, from.raw)]
}

func (p *packet) code() byte            { return p.raw[0] }
func (p *packet) id() byte              { return p.raw[1] }
func (p *packet) authenticator() []byte { return p.raw[4:headerLen] }

// attribute returns the whole attribute i: type, length, value.
func (p *packet) attribute(i int) []byte {
	at := int(p.at[i])
	return p.raw[at : at+int(p.raw[at+1])]
}

// signed says whether p is a request that a Message-Authenticator proves.
func (p *packet) signed() bool {
	return p.signatures == 1 && p.raw[p.signature+1] == 2+digestLen && p.code() != codeAccountingRequest
}

// signedAnyway says whether p must have a Message-Authenticator by its kind (RFC 5997,
// section 3; RFC 3579, section 3.1). So where it has one, that does not say that its
// sender signs what need not be.
func (p *packet) signedAnyway() bool { return p.code() == codeStatusServer || p.has(attrEAPMessage) }

// hiddenPassword returns the only User-Password in p if it is whole blocks, and
// false if it is not (RFC 2865, section 5.2).
func (p *packet) hiddenPassword() (hidden []byte, ok bool) {
	hidden, count := p.find(attrUserPassword)
	n := len(hidden)
	if count != 1 || n < digestLen || n > maxPassword || n%digestLen != 0 {
		return nil, false
	}
	return hidden, true
}

// find returns the value of the first attribute of kind, and how many there are.
func (p *packet) find(kind byte) (value []byte, count int) {
	if !p.has(kind) {
		return nil, 0
	}
	for i := range p.n {
		if a := p.attribute(i); a[0] == kind {
			if count == 0 {
				value = a[2:]
			}
			count++
		}
	}
	return value, count
}

// has says whether there is an attribute of kind.
func (p *packet) has(kind byte) bool { return p.kinds[kind/64]&(1<<(kind%64)) != 0 }

// vendor returns the value of the first attribute kind of one vendor, and how
// many there are, in the usual form of RFC 2865, section 5.26. A malformed
// Vendor-Specific has none.
func (p *packet) vendor(vendor uint32, kind byte) (value []byte, count int) {
	if !p.has(attrVendorSpecific) {
		return nil, 0
	}
	for i := range p.n {
		a := p.attribute(i)
		if a[0] != attrVendorSpecific || len(a) < 6 || binary.BigEndian.Uint32(a[2:]) != vendor {
			continue
		}
		first, n := findVendor(a[6:], kind)
		if count == 0 {
			value = first
		}
		count += n
	}
	return value, count
}

func findVendor(sub []byte, kind byte) (value []byte, count int) {
	for len(sub) > 0 {
		if len(sub) < 2 || sub[1] < 2 || int(sub[1]) > len(sub) {
			return nil, 0
		}
		if sub[0] == kind {
			if count == 0 {
				value = sub[2:sub[1]]
			}
			count++
		}
		sub = sub[sub[1]:]
	}
	return value, count
}
