package radius

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDictionaryFiles  = 1000
	maxDictionaryDepth  = 20
	maxDictionaryFaults = 100
)

// A dictionaryParser reads dictionaries one after the other into one.
type dictionaryParser struct {
	read    func(path string) ([]byte, error)
	entries map[string]entry
	order   []string // keys of entries as they came, so that the first of a number is known
	vendors map[string]vendorEntry
	values  []pendingValue
	faults  []DictionaryFault
	files   int
	open    []string // files that are being read, each included by the one before
}

type vendorEntry struct {
	vendor
	at origin
}

// A pendingValue waits until every attribute is known: it may stand before its
// attribute.
type pendingValue struct {
	attribute string
	namedNumber
	at origin
}

// A block is what the lines of a file stand in.
type block struct {
	vendor vendor
	name   string   // of the vendor; empty: none
	cannot string   // why nothing in it can be set
	tlvs   []string // that are open
	at     origin
}

func newDictionaryParser(read func(string) ([]byte, error)) *dictionaryParser {
	return &dictionaryParser{read: read, entries: map[string]entry{}, vendors: map[string]vendorEntry{}}
}

func (p *dictionaryParser) fault(at origin, format string, args ...any) {
	if len(p.faults) < maxDictionaryFaults {
		p.faults = append(p.faults, DictionaryFault{at.file, at.line, fmt.Sprintf(format, args...)})
	}
}

// file reads one file, which stands in another at from, or nowhere.
func (p *dictionaryParser) file(name string, from origin) {
	at := from
	if at.file == "" {
		at = origin{file: name}
	}
	p.files++
	switch {
	case slices.Contains(p.open, name):
		p.fault(at, "%s includes itself", name)
		return
	case len(p.open) >= maxDictionaryDepth || p.files > maxDictionaryFiles:
		p.fault(at, "there are too many files, or they are in each other too deeply; at most %d and %d", maxDictionaryFiles, maxDictionaryDepth)
		return
	}
	text, err := p.read(name)
	if err != nil {
		p.fault(at, "%v", err)
		return
	}
	p.open = append(p.open, name)
	defer func() { p.open = p.open[:len(p.open)-1] }()
	var in block
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 0 {
			p.line(&in, fields, origin{name, number})
		}
	}
	if in.name != "" {
		p.fault(in.at, "BEGIN-VENDOR %s has no END-VENDOR in this file", quoteShort(in.name))
	}
	if len(in.tlvs) > 0 {
		p.fault(in.at, "BEGIN-TLV %s has no END-TLV in this file", quoteShort(in.tlvs[0]))
	}
}

func (p *dictionaryParser) line(in *block, fields []string, at origin) {
	word, rest := strings.ToUpper(fields[0]), fields[1:]
	forms := map[string]string{ // what follows; the last may be left out where it is in brackets
		"ATTRIBUTE": "NAME NUMBER TYPE [FLAGS]", "VALUE": "ATTRIBUTE NAME NUMBER", "VENDOR": "NAME NUMBER [format=…]", "BEGIN-VENDOR": "NAME [parent=…]",
		"END-VENDOR": "NAME", "BEGIN-TLV": "NAME", "END-TLV": "NAME", "$INCLUDE": "FILE",
	}
	form, known := forms[word]
	most := len(strings.Fields(form))
	switch {
	case !known:
		p.fault(at, "%s begins no line of a dictionary; there are %s", quoteShort(fields[0]), strings.Join(slices.Sorted(maps.Keys(forms)), ", "))
		return
	case len(rest) > most || len(rest) < most-strings.Count(form, "["):
		p.fault(at, "%s has %d words after it; write it as %s %s", word, len(rest), word, form)
		return
	}
	switch word {
	case "ATTRIBUTE":
		p.attribute(in, rest, at)
	case "VALUE":
		p.value(rest, at)
	case "VENDOR":
		p.vendor(rest, at)
	case "BEGIN-VENDOR":
		p.begin(in, rest, at)
	case "END-VENDOR":
		if in.name != rest[0] || len(in.tlvs) > 0 {
			p.fault(at, "END-VENDOR %s ends no BEGIN-VENDOR", quoteShort(rest[0]))
		}
		*in = block{}
	case "BEGIN-TLV":
		in.tlvs = append(in.tlvs, rest[0])
		if len(in.tlvs) == 1 && in.name == "" {
			in.at = at
		}
	case "END-TLV":
		if n := len(in.tlvs); n == 0 || in.tlvs[n-1] != rest[0] {
			p.fault(at, "END-TLV %s ends no BEGIN-TLV", quoteShort(rest[0]))
		} else {
			in.tlvs = in.tlvs[:n-1]
		}
	case "$INCLUDE":
		if in.name != "" {
			p.fault(at, "$INCLUDE stands between BEGIN-VENDOR and END-VENDOR")
			return
		}
		name := rest[0]
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(at.file), name)
		}
		p.file(name, at)
	}
}

// vendor reads NAME NUMBER [format=TYPE,LENGTH[,c]].
func (p *dictionaryParser) vendor(words []string, at origin) {
	number, err := parseNumber(words[1], 1<<24-1)
	if err != nil || number == 0 {
		p.fault(at, "%s is no number of a vendor, 1 to %d", quoteShort(words[1]), 1<<24-1)
		return
	}
	v := vendor{number: uint32(number), typeOctets: 1, lengthOctets: 1}
	if len(words) == 3 {
		format, ok := strings.CutPrefix(words[2], "format=")
		parts := strings.Split(format, ",")
		good := ok && (len(parts) == 2 || len(parts) == 3 && parts[2] == "c") && slices.Contains([]string{"1", "2", "4"}, parts[0]) && slices.Contains([]string{"0", "1", "2"}, parts[1])
		if !good {
			p.fault(at, "%s is no format of a vendor, such as format=1,1", quoteShort(words[2]))
			return
		}
		v.typeOctets, v.lengthOctets, v.continued = int(parts[0][0]-'0'), int(parts[1][0]-'0'), len(parts) == 3
	}
	name := strings.ToLower(words[0])
	if known, ok := p.vendors[name]; ok && known.vendor != v {
		p.fault(at, "the vendor %s is another one at %v", quoteShort(words[0]), known.at)
		return
	}
	p.vendors[name] = vendorEntry{v, at}
}

func (p *dictionaryParser) begin(in *block, words []string, at origin) {
	known, ok := p.vendors[strings.ToLower(words[0])]
	switch {
	case in.name != "":
		p.fault(at, "BEGIN-VENDOR stands before the END-VENDOR of %s", quoteShort(in.name))
		return
	case !ok:
		p.fault(at, "no VENDOR %s stands before this", quoteShort(words[0]))
		return
	}
	*in = block{vendor: known.vendor, name: words[0], at: at}
	switch {
	case len(words) == 2 && (strings.HasPrefix(words[1], "format=Extended-Vendor-Specific-") || strings.HasPrefix(words[1], "parent=Extended-Vendor-Specific-")):
		in.cannot = "it stands in an extended attribute (RFC 6929)"
	case len(words) == 2:
		p.fault(at, "%s is not known after BEGIN-VENDOR", quoteShort(words[1]))
	case known.continued:
		in.cannot = "its vendor frames attributes in a way of its own"
	}
}

// attribute reads NAME NUMBER TYPE [FLAGS].
func (p *dictionaryParser) attribute(in *block, words []string, at origin) {
	e := entry{name: words[0], vendor: in.vendor, cannot: in.cannot, at: at}
	e.inner = in.cannot != "" || len(in.tlvs) > 0
	if len(in.tlvs) > 0 {
		e.cannot = "it stands inside another attribute"
	}
	if !p.number(&e, words[1]) || !p.kind(&e, words[2]) {
		return
	}
	if len(words) == 4 && !p.flags(&e, words[3]) {
		return
	}
	if !p.sound(e) {
		return
	}
	name := strings.ToLower(e.name)
	if known, ok := p.entries[name]; ok {
		same := known
		same.at, same.name = e.at, e.name
		if !same.equal(e) {
			p.fault(at, "the attribute %s is another one at %v; a name means one attribute", quoteShort(e.name), known.at)
		}
		return
	}
	p.entries[name] = e
	p.order = append(p.order, name)
}

func (e entry) equal(o entry) bool {
	return e.vendor == o.vendor && e.number == o.number && e.kind == o.kind && (e.size == o.size || e.size == 0 || o.size == 0) && e.tagged == o.tagged && e.encrypt == o.encrypt && e.inner == o.inner
}

// sound reports what cannot be true of e.
func (p *dictionaryParser) sound(e entry) bool {
	switch {
	case e.name == "" || !isName(e.name):
		p.fault(e.at, "%s is no name of an attribute: letters, digits and -_./ make one, and at most 128 of them", quoteShort(e.name))
	case e.tagged && e.kind != typeString && e.kind != typeInteger && e.kind != typeOctets:
		p.fault(e.at, "has_tag is for string, octets and integer")
	default:
		return true
	}
	return false
}

func isName(s string) bool {
	return len(s) <= 2*maxNameOctet && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	})
}

// number reads the number of an attribute. Those that have a dot stand inside
// another one.
func (p *dictionaryParser) number(e *entry, text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		limit := uint64(255)
		if e.vendor.typeOctets > 1 {
			limit = 1<<(8*e.vendor.typeOctets) - 1
		}
		if e.vendor.number == 0 && e.cannot == "" {
			limit = 1<<16 - 1
		}
		n, err := parseNumber(part, limit)
		if err != nil {
			p.fault(e.at, "%s is no number of an attribute, up to %d", quoteShort(text), limit)
			return false
		}
		e.number = uint32(n)
	}
	switch {
	case strings.Contains(text, "."):
		e.cannot, e.inner = "it stands inside another attribute", true
	case e.vendor.number == 0 && e.number > 255:
		e.cannot = "its number is above 255, which only a server uses for itself"
	case e.number == 0 && e.vendor.number == 0 && e.cannot == "":
		p.fault(e.at, "0 is no number of an attribute")
		return false
	}
	return true
}

// kind reads the type of an attribute.
func (p *dictionaryParser) kind(e *entry, text string) bool {
	text = strings.ToLower(text)
	if digits, ok := strings.CutPrefix(text, "octets["); ok {
		n, err := parseNumber(strings.TrimSuffix(digits, "]"), maxValue)
		if err != nil || n == 0 || !strings.HasSuffix(text, "]") {
			p.fault(e.at, "%s is no type; write it like octets[16]", quoteShort(text))
			return false
		}
		e.kind, e.size = typeOctets, int(n)
		return true
	}
	kinds := map[string]valueType{
		"string": typeString, "octets": typeOctets, "integer": typeInteger, "uint32": typeInteger, "date": typeDate, "ipaddr": typeIPv4, "ipv4addr": typeIPv4,
		"ipv6addr": typeIPv6, "ipv6prefix": typeIPv6Prefix, "ipv4prefix": typeIPv4Prefix, "ifid": typeInterfaceID, "ether": typeEther,
		"byte": typeByte, "uint8": typeByte, "short": typeShort, "uint16": typeShort, "signed": typeSigned, "int32": typeSigned,
		"integer64": typeInteger64, "uint64": typeInteger64, "combo-ip": typeCombo,
		"tlv": typeOther, "vsa": typeOther, "evs": typeOther, "extended": typeOther, "long-extended": typeOther, "abinary": typeOther, "struct": typeOther,
	}
	kind, known := kinds[text]
	if !known {
		p.fault(e.at, "%s is no type; there are %s and octets[N]", quoteShort(text), strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		return false
	}
	if e.kind = kind; kind == typeOther && e.cannot == "" {
		e.cannot = "values of the type " + text + " cannot be set"
	}
	return true
}

// flags reads what stands behind the type.
func (p *dictionaryParser) flags(e *entry, text string) bool {
	cannot := map[string]string{
		"concat": "it would have to be divided", "array": "it holds several values in one attribute", "virtual": "only a server uses it for itself",
		"internal": "only a server uses it for itself",
	}
	for flag := range strings.SplitSeq(text, ",") {
		digits, encrypted := strings.CutPrefix(flag, "encrypt=")
		switch {
		case flag == "has_tag":
			e.tagged = true
		case flag == "secret":
			e.secret = true
		case encrypted && slices.Contains([]string{"1", "2", "3"}, digits):
			e.encrypt = int(digits[0] - '0')
		case cannot[flag] != "":
			if e.cannot == "" {
				e.cannot = cannot[flag]
			}
		default:
			p.fault(e.at, "%s is not known behind the type; there are has_tag, encrypt=1 to 3, secret, concat, array, virtual and internal", quoteShort(flag))
			return false
		}
	}
	return true
}

// value reads ATTRIBUTE NAME NUMBER.
func (p *dictionaryParser) value(words []string, at origin) {
	n, err := parseNumber(words[2], 1<<64-1)
	if err != nil {
		p.fault(at, "%s is no number", quoteShort(words[2]))
		return
	}
	p.values = append(p.values, pendingValue{words[0], namedNumber{words[1], n}, at})
}

// parseNumber reads a decimal or a hexadecimal number up to limit.
func parseNumber(text string, limit uint64) (uint64, error) {
	base := 10
	if rest, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		text, base = rest, 16
	}
	n, err := strconv.ParseUint(text, base, 64)
	if err == nil && n > limit {
		err = strconv.ErrRange
	}
	return n, err
}

// finish gives the values to their attributes.
func (p *dictionaryParser) finish() (*Dictionary, []DictionaryFault) {
	for _, v := range p.values {
		name := strings.ToLower(v.attribute)
		e, ok := p.entries[name]
		known := slices.IndexFunc(e.values, func(o namedNumber) bool { return strings.EqualFold(o.name, v.name) })
		switch limit := e.kind.largest(); {
		case !ok:
			p.fault(v.at, "no dictionary has the attribute %s", quoteShort(v.attribute))
		case limit == 0 && e.kind != typeOctets && e.cannot == "":
			p.fault(v.at, "%s has no numbers that could have names", e.name)
		case v.number > limit && limit > 0 && e.cannot == "":
			p.fault(v.at, "%d does not fit; values of %s go up to %d", v.number, e.name, limit)
		case known >= 0 && e.values[known].number != v.number && !misprint(e, v):
			p.fault(v.at, "the value %s of %s is %d already", quoteShort(v.name), e.name, e.values[known].number)
		case known < 0:
			e.values = append(e.values, v.namedNumber)
			p.entries[name] = e
		}
	}
	d := &Dictionary{entries: p.entries, numbers: map[attributeID]entry{}}
	for _, name := range p.order {
		e := p.entries[name]
		if _, taken := d.numbers[e.id()]; !taken && e.inPacket() {
			d.numbers[e.id()] = e
		}
	}
	return d, p.faults
}

// inPacket says whether an attribute in a packet can be e: it stands by itself,
// and is framed as usual.
func (e entry) inPacket() bool {
	return !e.inner && e.number <= 255 && (e.vendor.number == 0 || e.vendor.typeOctets == 1 && e.vendor.lengthOctets == 1)
}
