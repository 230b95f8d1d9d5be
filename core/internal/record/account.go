package record

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A Reader reads Accounts and Locals as proto.Unmarshal does, in a fraction of the time and
// with few allocations: a sign-in at an account that is not in memory waits for
// it, and an account with 40 app passwords has hundreds of parts, which proto makes
// one by one.
//
// It knows the fields of this version as this version writes them. Where it
// finds anything else, proto decides.
type Reader struct {
	account   Account
	local     Local
	passwords []AppPassword
	pointers  []*AppPassword
	tags      []Tag
	texts     []string
}

// Account reads b. The octets of what it returns, but for material, are views of
// b, and the rest is the reader's: it holds until the next call.
func (r *Reader) Account(b []byte) (*Account, error) {
	m := &r.account
	r.Clear()
	r.makeRoom(b)
	if r.read(b, m) {
		return m, nil
	}
	if err := proto.Unmarshal(b, m); err != nil { // it empties m first
		return nil, err
	}
	return m, nil
}

// Local is Account for a Local.
func (r *Reader) Local(b []byte) (*Local, error) {
	m := &r.local
	r.Clear()
	if readLocal(b, m) {
		return m, nil
	}
	if err := proto.Unmarshal(b, m); err != nil { // it empties m first
		return nil, err
	}
	return m, nil
}

func readLocal(b []byte, m *Local) bool {
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | bytes:
			m.Id = f.octets
		case 2<<3 | varint:
			m.Enabled = f.number != 0
		case 3<<3 | bytes:
			m.Groups = append(m.Groups, f.text(""))
		case 4<<3 | bytes:
			m.Password = f.text("")
		case 5<<3 | varint:
			m.Created = int64(f.number)
		default:
			f.wrong = true
		}
	}
	return !f.wrong
}

// Clear forgets what was read, and keeps the memory.
func (r *Reader) Clear() {
	r.account.Reset()
	r.local.Reset()
	clear(r.passwords)
	clear(r.tags)
	clear(r.texts)
	clear(r.pointers)
}

// makeRoom makes sure that what there are many of in b is made in one piece.
func (r *Reader) makeRoom(b []byte) {
	passwords, tags := 0, 0
	for f := (fields{rest: b}); f.next(); {
		switch f.key {
		case 7<<3 | bytes:
			passwords++
			tags++
		case 8<<3 | bytes:
			tags++
		}
	}
	r.passwords = slices.Grow(r.passwords[:0], passwords)
	r.pointers = slices.Grow(r.pointers[:0], passwords)
	r.texts = slices.Grow(r.texts[:0], 2*passwords)
	r.tags = slices.Grow(r.tags[:0], tags)
}

const (
	varint = uint64(protowire.VarintType)
	bytes  = uint64(protowire.BytesType)
)

// fields are those of a message, one after the other.
type fields struct {
	rest   []byte // what was not read yet
	key    uint64 // of the one that was read last: number and type, as they are written
	number uint64 // its value, of a varint
	octets []byte // its value, of everything else; a view
	wrong  bool   // something is not as it is read here
}

// next reads the next field; false if there is none.
func (f *fields) next() bool {
	if f.wrong || len(f.rest) == 0 {
		return false
	}
	f.key = f.varint()
	switch f.key & 7 {
	case varint:
		f.number = f.varint()
	case bytes:
		n := f.varint()
		if n > uint64(len(f.rest)) {
			f.wrong = true
			return false
		}
		f.octets, f.rest = f.rest[:n:n], f.rest[n:]
	default:
		f.wrong = true
	}
	return !f.wrong
}

// varint takes a number from the beginning of rest.
func (f *fields) varint() uint64 {
	if len(f.rest) > 0 && f.rest[0] < 1<<7 { // as most are
		n := uint64(f.rest[0])
		f.rest = f.rest[1:]
		return n
	}
	v, n := protowire.ConsumeVarint(f.rest)
	if n < 0 {
		f.wrong = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// text returns the value as text, in the memory of known where it is that.
func (f *fields) text(known string) string {
	if string(f.octets) == known {
		return known
	}
	f.demand(utf8.Valid(f.octets))
	return string(f.octets)
}

// demand makes f wrong unless ok.
func (f *fields) demand(ok bool) { f.wrong = f.wrong || !ok }

func (r *Reader) read(b []byte, m *Account) bool {
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | varint:
			m.Generation = f.number
		case 2<<3 | bytes:
			m.Id = f.octets
		case 3<<3 | bytes:
			m.DirectoryId = f.text("")
		case 4<<3 | varint:
			m.Created = int64(f.number)
		case 5<<3 | varint:
			m.Removed = f.number != 0
		case 6<<3 | bytes:
			f.demand(m.TwoStep == nil)
			m.TwoStep = &TwoStep{}
			f.demand(r.twoStep(f.octets, m.TwoStep))
		case 7<<3 | bytes:
			r.passwords = append(r.passwords, AppPassword{})
			f.demand(r.password(f.octets))
		case 8<<3 | bytes:
			d := &Remembered{}
			m.Remembered = append(m.Remembered, d)
			f.demand(r.remembered(f.octets, d))
		case 9<<3 | varint:
			m.TwoStepThere = f.number != 0
		default:
			f.wrong = true
		}
	}
	for i := range r.passwords {
		r.pointers = append(r.pointers, &r.passwords[i])
	}
	m.AppPasswords = r.pointers
	return !f.wrong
}

// password reads the last of r.passwords.
func (r *Reader) password(b []byte) bool {
	last := len(r.passwords) - 1
	m := &r.passwords[last]
	before := m // which is empty
	if last > 0 {
		before = &r.passwords[last-1]
	}
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | bytes:
			m.Id = f.octets
		case 2<<3 | bytes:
			m.Name = f.text("")
		case 3<<3 | bytes:
			m.Profile = f.text(before.Profile)
		case 4<<3 | varint:
			m.Letters = uint32(f.number)
		case 5<<3 | bytes:
			f.demand(r.tag(&m.Tag, f.octets))
		case 6<<3 | bytes:
			f.demand(r.tag(&m.Previous, f.octets))
		case 7<<3 | varint:
			m.PreviousUntil = int64(f.number)
		case 8<<3 | bytes:
			m.Services = r.list(&f, m.Services, before.Services)
		case 9<<3 | bytes:
			m.Methods = r.list(&f, m.Methods, before.Methods)
		case 10<<3 | bytes:
			f.demand(material(&m.Material, f.octets))
		case 11<<3 | varint:
			m.PinDevice = f.number != 0
		case 12<<3 | bytes:
			m.Pin = f.text("")
		case 13<<3 | varint:
			m.Suspended = f.number != 0
		case 14<<3 | varint:
			m.Created = int64(f.number)
		case 15<<3 | varint:
			m.Expires = int64(f.number)
		case 16<<3 | varint:
			m.Rotated = int64(f.number)
		case 17<<3 | varint:
			m.Used = int64(f.number)
		case 18<<3 | bytes:
			f.demand(material(&m.PreviousMaterial, f.octets))
		case 19<<3 | bytes:
			p := &Reply{}
			m.Reply = append(m.Reply, p)
			f.demand(proto.Unmarshal(f.octets, p) == nil)
		default:
			f.wrong = true
		}
	}
	return !f.wrong
}

func (r *Reader) twoStep(b []byte, m *TwoStep) bool {
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | varint:
			m.On = f.number != 0
		case 2<<3 | varint:
			m.Since = int64(f.number)
		case 3<<3 | bytes:
			m.Secret = f.octets
		case 4<<3 | varint:
			m.LastStep = int64(f.number)
		case 5<<3 | bytes:
			var t *Tag
			f.demand(r.tag(&t, f.octets))
			m.Recovery = append(m.Recovery, t)
		case 6<<3 | bytes:
			m.Pending = f.octets
		case 7<<3 | varint:
			m.PendingSince = int64(f.number)
		default:
			f.wrong = true
		}
	}
	return !f.wrong
}

func (r *Reader) remembered(b []byte, m *Remembered) bool {
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | bytes:
			m.Id = f.octets
		case 2<<3 | bytes:
			m.Name = f.text("")
		case 3<<3 | bytes:
			f.demand(r.tag(&m.Tag, f.octets))
		case 4<<3 | varint:
			m.Deleted = int64(f.number)
		default:
			f.wrong = true
		}
	}
	return !f.wrong
}

// tag reads a Tag into *p, where none was.
func (r *Reader) tag(p **Tag, b []byte) bool {
	if *p != nil {
		return false
	}
	if len(r.tags) == cap(r.tags) {
		r.tags = make([]Tag, 0, 16)
	}
	r.tags = r.tags[:len(r.tags)+1]
	m := &r.tags[len(r.tags)-1]
	*p = m
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | bytes:
			m.Key = f.octets
		case 2<<3 | bytes:
			m.Tag = f.octets
		case 3<<3 | bytes:
			m.Inner = f.octets
		default:
			f.wrong = true
		}
	}
	return !f.wrong
}

// list appends a text to all. Most lists have only one, and the same as before.
func (r *Reader) list(f *fields, all, before []string) []string {
	known := ""
	if i := len(all); i < len(before) {
		known = before[i]
	}
	if start := len(r.texts); all == nil && start < cap(r.texts) {
		r.texts = append(r.texts, f.text(known))
		return r.texts[start : start+1 : start+1]
	}
	return append(all, f.text(known))
}

// material reads an entry into *all. Its octets stand alone: they are kept for
// longer than the record.
func material(all *map[string][]byte, b []byte) bool {
	method, octets := "", []byte{}
	f := fields{rest: b}
	for f.next() {
		switch f.key {
		case 1<<3 | bytes:
			method = f.text("")
		case 2<<3 | bytes:
			octets = append([]byte{}, f.octets...)
		default:
			f.wrong = true
		}
	}
	if *all == nil {
		*all = make(map[string][]byte)
	}
	(*all)[method] = octets
	return !f.wrong
}
