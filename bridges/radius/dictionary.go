package radius

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"layeh.com/radius/dictionary"
)

//go:embed dictionary
var dictionaryFiles embed.FS

// embedded returns the dictionary of this package, parsed once.
var embedded = sync.OnceValues(func() (*words, error) { return loadWords(dictionaryFiles, "dictionary") })

// An entry is an attribute of the dictionary.
type entry struct {
	*dictionary.Attribute
	vendor uint32
	kind   byte
	values []*dictionary.Value
}

// words has every entry by its name in lower case.
type words struct {
	entries map[string]entry
}

func (w *words) find(name string) (entry, bool) {
	e, ok := w.entries[strings.ToLower(name)]
	return e, ok
}

// hint names the one known name that is nearest to name, if any is near.
func (w *words) hint(name string) string {
	const near = 3
	if len(name) > 2*maxNameOctet {
		return ""
	}
	best, at := near+1, ""
	for known, e := range w.entries {
		if d := distance(strings.ToLower(name), known, near); d < best || d == best && e.Name < at {
			best, at = d, e.Name
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

// loadWords reads dictionary/dictionary and what it includes.
func loadWords(files fs.FS, dir string) (*words, error) {
	p := dictionary.Parser{Opener: opener{files, dir}}
	d, err := p.ParseFile("dictionary")
	if err != nil {
		return nil, fmt.Errorf("radius: embedded dictionary: %w", err)
	}
	w := &words{entries: map[string]entry{}}
	if err := w.add(d.Attributes, d.Values, 0); err != nil {
		return nil, err
	}
	for _, v := range d.Vendors {
		if v.GetTypeOctets() != 1 || v.GetLengthOctets() != 1 {
			return nil, fmt.Errorf("radius: embedded dictionary: vendor %s has a format of its own", v.Name)
		}
		if err := w.add(v.Attributes, v.Values, uint32(v.Number)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *words) add(attributes []*dictionary.Attribute, values []*dictionary.Value, vendor uint32) error {
	for _, a := range attributes {
		name := strings.ToLower(a.Name)
		if len(a.OID) != 1 || a.OID[0] < 1 || a.OID[0] > 255 {
			return fmt.Errorf("radius: embedded dictionary: %s has the number %v", a.Name, a.OID)
		}
		if _, twice := w.entries[name]; twice {
			return fmt.Errorf("radius: embedded dictionary: %s stands there twice", a.Name)
		}
		w.entries[name] = entry{a, vendor, byte(a.OID[0]), dictionary.ValuesByAttribute(values, a.Name)}
	}
	return nil
}

// An opener gives the parser files of an fs.FS; the parser also wants a name.
type opener struct {
	files fs.FS
	dir   string
}

func (o opener) OpenFile(name string) (dictionary.File, error) {
	f, err := o.files.Open(o.dir + "/" + name)
	if err != nil {
		return nil, err
	}
	return namedFile{f, name}, nil
}

type namedFile struct {
	io.ReadCloser
	name string
}

func (f namedFile) Name() string { return f.name }
