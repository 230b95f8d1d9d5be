package radius

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keywicket/keywicket/core"
)

const maxValue = 253 // octets of an attribute's value; RFC 2865, section 5

var (
	errReplyUnknown    = errors.New("reply attribute that is not known any more")
	errReplyTooLarge   = errors.New("reply larger than 4096 octets")
	errSessionTooLarge = fmt.Errorf("%w: the session of its grant has more than 253", errReplyTooLarge)
)

// A replyBuilder puts a reply together. Message-Authenticator is always there
// and always first (CVE-2024-3596), because begin alone makes the header.
type replyBuilder struct {
	buf []byte
}

func beginReply(code, id byte) replyBuilder { return beginReplyIn(make([]byte, 0, 128), code, id) }

// beginReplyIn is beginReply with room for what it makes.
func beginReplyIn(room []byte, code, id byte) replyBuilder {
	var empty [headerLen + 2 + digestLen]byte
	b := replyBuilder{buf: append(room[:0], empty[:]...)}
	b.buf[0], b.buf[1] = code, id
	b.buf[headerLen], b.buf[headerLen+1] = attrMessageAuthenticator, 2+digestLen
	return b
}

func (b *replyBuilder) add(kind byte, value []byte) {
	b.buf = append(b.buf, kind, byte(2+len(value)))
	b.buf = append(b.buf, value...)
}

// addVendor adds an attribute in a Vendor-Specific of its own (RFC 2865, section
// 5.26).
func (b *replyBuilder) addVendor(vendor uint32, kind byte, value []byte) {
	b.buf = append(b.buf, attrVendorSpecific, byte(8+len(value)))
	b.buf = binary.BigEndian.AppendUint32(b.buf, vendor)
	b.add(kind, value)
}

// echo copies every Proxy-State of p, in order (RFC 2865, section 5.33). It is
// all that a reply has of its request, but for the one octet that MS-CHAPv2
// knows its exchanges by.
func (b *replyBuilder) echo(p *packet) {
	for i := range p.n {
		if a := p.attribute(i); a[0] == attrProxyState {
			b.buf = append(b.buf, a...)
		}
	}
}

// end completes the reply, which is signed after.
func (b *replyBuilder) end() ([]byte, error) {
	if len(b.buf) > maxPacket {
		return nil, errReplyTooLarge
	}
	binary.BigEndian.PutUint16(b.buf[2:], uint16(len(b.buf)))
	return b.buf, nil
}

// seal completes and signs the reply.
func (b *replyBuilder) seal(k *key, p *packet) ([]byte, error) {
	reply, err := b.end()
	if err == nil {
		k.sign(reply, p.authenticator())
	}
	return reply, err
}

// reject makes the Access-Reject to r, in the room that r has for it, not yet signed.
func (r *request) reject() ([]byte, error) {
	b := r.beginReply(codeAccessReject)
	if r.mschap != nil {
		r.mschap.fail(&b)
	}
	b.echo(&r.packet)
	r.reply = b.buf
	return b.end()
}

// beginReply begins the reply to r, in the room that r has for it.
func (r *request) beginReply(code byte) replyBuilder {
	return beginReplyIn(r.reply, code, r.packet.id())
}

// alive answers a Status-Server, by the port that it came to (RFC 5997,
// section 3). It ignores what else is in it.
func (r *request) alive() ([]byte, error) {
	b := beginReply(codeAccessAccept, r.packet.id())
	if r.accounting {
		b.buf[0] = codeAccountingResponse
	}
	return b.seal(r.key, &r.packet)
}

// accept makes the Access-Accept to r, in the room that r has for it, not yet signed.
func (r *request) accept(g *core.Grant) ([]byte, error) {
	if len(g.Session) > maxValue {
		return nil, errSessionTooLarge
	}
	b := r.beginReply(codeAccessAccept)
	if len(g.Session) > 0 {
		b.add(attrClass, g.Session)
	}
	configured, err := r.table.attributes(r.client, g)
	if err != nil {
		return nil, err
	}
	if r.mschap != nil {
		r.mschap.succeed(&b, r.key, &r.packet, configured)
	}
	b.echo(&r.packet)
	for _, a := range configured {
		b.buf = append(b.buf, a.wire...)
	}
	r.reply = b.buf
	return b.end()
}

// attributes returns what the configuration says of g, the later instead of
// the earlier: client, groups, profile, app password. The error is about one of
// the app password, whose name or value was known when it was made, and is not
// any more: without it the device would get what it was not to have, such as
// another network.
func (t *table) attributes(c *client, g *core.Grant) ([]Attribute, error) {
	all := c.Reply
	var groups map[string]bool
	for _, name := range g.Groups {
		if len(t.config.Replies.Groups[name]) > 0 {
			if groups == nil {
				groups = map[string]bool{}
			}
			groups[name] = true
		}
	}
	if len(groups) > 0 {
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			all = override(all, t.config.Replies.Groups[name])
		}
	}
	if g.Profile != "" {
		all = override(all, t.config.Replies.Profiles[g.Profile])
	}
	own, err := t.ownReply(g)
	if err != nil || len(own) == 0 {
		return all, err
	}
	return override(all, own), nil
}

// Answerable says why there can be no Access-Accept to r that says g: then there is
// no grant either. That leaves room for the largest Session.
func (r *request) Answerable(g *core.Grant) error {
	room := MaxReply
	if r.mschap != nil {
		room -= succeedOctets
	}
	if len(g.Reply) == 0 && r.client.mostReply+len(r.packet.raw) <= room { // as ever
		return nil
	}
	configured, err := r.table.attributes(r.client, g)
	if err != nil {
		return err
	}
	for i := range r.packet.n {
		if a := r.packet.attribute(i); a[0] == attrProxyState {
			room -= len(a)
		}
	}
	if n := octetsOf(configured); n > room {
		return fmt.Errorf("%w: client, groups, profile and app password have %d octets of reply attributes, and here is room for %d; take some away", errReplyTooLarge, n, max(room, 0))
	}
	return nil
}

// most returns at least what r adds to an Access-Accept, in octets: that of an account
// in every group.
func (r *Replies) most() (octets int) {
	for _, all := range r.Profiles {
		octets = max(octets, octetsOf(all))
	}
	for _, all := range r.Groups {
		octets += octetsOf(all)
	}
	return octets
}

// octetsOf returns how long attributes are on the wire.
func octetsOf(all []Attribute) (octets int) {
	for _, a := range all {
		octets += a.Octets()
	}
	return octets
}

// ownReply returns the attributes that the grant itself has.
func (t *table) ownReply(g *core.Grant) ([]Attribute, error) {
	var own []Attribute
	for _, r := range g.Reply {
		a, err := t.config.dictionary().ParseReply(r.Name, r.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: app password %s: %w; add the dictionary that has it, or make a new app password", errReplyUnknown, g.AppPassword.ID, err)
		}
		own = append(own, a)
	}
	return own, nil
}

// override returns before without what after has too, then after.
func override(before, after []Attribute) []Attribute {
	if len(after) == 0 {
		return before
	}
	all := make([]Attribute, 0, len(before)+len(after))
	for _, a := range before {
		if !slices.ContainsFunc(after, func(b Attribute) bool { return a.id == b.id }) {
			all = append(all, a)
		}
	}
	return append(all, after...)
}
