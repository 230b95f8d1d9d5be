package radius

import (
	"embed"
	"fmt"
	"math"
	"strings"
	"sync"
)

//go:embed dictionary
var dictionaryFiles embed.FS

// A Dictionary knows attributes by their names. It never changes; its methods
// may be called from many goroutines.
type Dictionary struct {
	entries map[string]entry      // by name in lower case
	numbers map[attributeID]entry // the first of each number; their tags are 0
}

// BuiltinDictionary returns what is known without a file of the administrator.
var BuiltinDictionary = sync.OnceValue(func() *Dictionary {
	d, faults := NewDictionary(nil, nil)
	if len(faults) > 0 {
		panic("radius: embedded dictionary: " + faults[0].Error()) // a test reads it
	}
	return d
})

// NewDictionary returns what is built in, and what files add, in the format of
// FreeRADIUS 3. read returns the text of a file. What the format does not know
// is a fault. What it knows and cannot be set by this server is in the
// dictionary, and is refused with its place when somebody sets it.
func NewDictionary(files []string, read func(path string) ([]byte, error)) (*Dictionary, []DictionaryFault) {
	p := newDictionaryParser(func(path string) ([]byte, error) { return dictionaryFiles.ReadFile("dictionary/" + path) })
	p.file("dictionary", origin{})
	p.read = read
	for _, path := range files {
		p.file(path, origin{})
	}
	return p.finish()
}

// A valueType is how the octets of an attribute are to be read.
type valueType uint8

const (
	typeOther valueType = iota // known, and not to be set or told
	typeString
	typeOctets
	typeInteger
	typeDate
	typeIPv4
	typeIPv6
	typeIPv6Prefix
	typeIPv4Prefix
	typeInterfaceID
	typeEther
	typeByte
	typeShort
	typeSigned
	typeInteger64
	typeCombo // an IPv4 or an IPv6 address
)

// largest returns the largest number of a type of numbers, or 0.
func (t valueType) largest() uint64 {
	switch t {
	case typeByte:
		return math.MaxUint8
	case typeShort:
		return math.MaxUint16
	case typeInteger, typeSigned, typeDate:
		return math.MaxUint32
	case typeInteger64:
		return math.MaxUint64
	}
	return 0
}

// An entry is an attribute of the dictionary.
type entry struct {
	name    string
	vendor  vendor
	number  uint32
	kind    valueType
	size    int // octets that the value must have; 0: any number
	tagged  bool
	encrypt int
	secret  bool   // not shown, whatever its name
	cannot  string // why it can't be set; empty: it can
	inner   bool   // it stands inside another attribute
	values  []namedNumber
	at      origin
}

func (e entry) id() attributeID { return attributeID{vendor: e.vendor.number, number: e.number} }

// A vendor is 0 for the attributes of the RFCs, and says how its own are framed
// (RFC 2865, section 5.26, and what others do instead).
type vendor struct {
	number       uint32
	typeOctets   int // 1, 2 or 4
	lengthOctets int // 0, 1 or 2
	continued    bool
}

type namedNumber struct {
	name   string
	number uint64
}

// An origin is where something stands.
type origin struct {
	file string
	line int
}

func (o origin) String() string { return fmt.Sprintf("%s:%d", o.file, o.line) }

// A DictionaryFault is one thing wrong with a dictionary.
type DictionaryFault struct {
	File string
	Line int // 0: the file itself
	Text string
}

func (f DictionaryFault) Error() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

func (d *Dictionary) find(name string) (entry, bool) {
	e, ok := d.entries[strings.ToLower(name)]
	return e, ok
}

// numbered returns the attribute of a number.
func (d *Dictionary) numbered(vendor, number uint32) (entry, bool) {
	e, ok := d.numbers[attributeID{vendor: vendor, number: number}]
	return e, ok
}

// hint names the one known name that is nearest to name, if any is near.
func (d *Dictionary) hint(name string) string {
	const near = 3
	if len(name) > 2*maxNameOctet {
		return ""
	}
	best, at := near+1, ""
	name = strings.ToLower(name)
	for known, e := range d.entries {
		if n := distance(name, known, near); n < best || n == best && e.name < at {
			best, at = n, e.name
		}
	}
	if best > near {
		return ""
	}
	return "; is " + at + " meant?"
}

// distance is the edit distance of a and b, or more than most.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// misprint says whether v is a number that FreeRADIUS's own dictionaries have and
// RFC 2548, section 2.4.5, does not: bit S, for 128 bits, is 4 and bit L is 2.
// What is built in stays, so that nobody has to cut those files down.
func misprint(e entry, v pendingValue) bool {
	if e.name != "MS-MPPE-Encryption-Types" {
		return false
	}
	return strings.EqualFold(v.name, "RC4-40bit-Allowed") && v.number == 1 || strings.EqualFold(v.name, "RC4-128bit-Allowed") && v.number == 2
}
