package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A reader turns one parsed text into a File and collects what is wrong.
//
// It walks go-toml's generic tree instead of decoding into structs, because a
// decoder stops at its first wrong type and would hide every fault after it.
type reader struct {
	file      string
	dir       string // what relative paths start from
	positions positions
	faults    Faults

	top []string // the keys above every table

	// asked holds every key that the schema was asked for, with NAME for the
	// names that the administrator chose. Tests compare it with the example.
	asked map[string]bool
}

func (r *reader) fault(key []string, format string, args ...any) {
	r.faults = append(r.faults, Fault{
		File: r.file, Line: r.positions.line(key), Key: dotted(key), Text: fmt.Sprintf(format, args...),
	})
}

// A table is one table of the file. Asking it for a key makes the key known;
// close reports the keys that nobody asked for. A getter that finds a fault
// reports it and returns the default, so that reading goes on.
type table struct {
	r       *reader
	path    []string
	pattern string // path with NAME for chosen names, and a dot after it
	values  map[string]any
	known   map[string]bool
}

func (r *reader) table(path []string, pattern string, values map[string]any) *table {
	return &table{r: r, path: path, pattern: pattern, values: values, known: map[string]bool{}}
}

// key returns the whole path of a key of t.
func (t *table) key(name ...string) []string { return append(slices.Clone(t.path), name...) }

func (t *table) fault(name, format string, args ...any) {
	t.r.fault(t.key(name), format, args...)
}

// get makes a key known and returns its value.
func (t *table) get(name string) (value any, ok bool) {
	t.known[name] = true
	t.r.asked[t.pattern+name] = true
	value, ok = t.values[name]
	return value, ok
}

// has reports whether the file has the key, whatever its value.
func (t *table) has(name string) bool {
	_, ok := t.values[name]
	return ok
}

// close reports every key that nobody asked for.
func (t *table) close() {
	known := slices.Sorted(maps.Keys(t.known))
	for _, name := range slices.Sorted(maps.Keys(t.values)) {
		if t.known[name] {
			continue
		}
		if len(t.path) > 0 && slices.Contains(t.r.top, name) {
			t.fault(name, "this belongs to the top of the file, above every [table]; move it there")
			continue
		}
		if near := Nearest(name, known); near != "" {
			t.fault(name, "there is no such key; did you mean %s?", near)
			continue
		}
		if home := t.r.homeOf(name); len(t.path) == 0 && home != "" {
			t.fault(name, "this belongs to [%s]: write it there, as %[1]s.%s", home, name)
			continue
		}
		quotes := ""
		if _, isTable := t.values[name].(map[string]any); isTable {
			quotes = "; a name that has a dot in it stands in quotes"
		}
		t.fault(name, "there is no such key; the keys here are %s%s", strings.Join(known, ", "), quotes)
	}
}

// homeOf returns the one section that was read and has the key of that name, or "".
func (r *reader) homeOf(name string) (home string) {
	for key := range r.asked {
		section, of := strings.CutSuffix(key, "."+name)
		if !of || strings.Contains(key, "NAME") {
			continue
		}
		if home != "" {
			return "" // who knows which
		}
		home = section
	}
	return home
}

// wrongType reports a value of another type, without showing it: it may be a
// secret that went to the wrong place.
func (t *table) wrongType(name string, value any, want, example string) {
	t.fault(name, "this is %s and must be %s; write it like %s = %s", typeName(value), want, name, example)
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "text"
	case bool:
		return "a truth value"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or a time"
}

// text returns a string, or def where the key is left out.
func (t *table) text(name, def, example string) string {
	value, ok := t.get(name)
	if !ok {
		return def
	}
	s, ok := value.(string)
	if !ok {
		t.wrongType(name, value, "text", example)
		return def
	}
	return s
}

func (t *table) flag(name string, def bool) bool {
	value, ok := t.get(name)
	if !ok {
		return def
	}
	b, ok := value.(bool)
	if !ok {
		t.wrongType(name, value, "true or false", strconv.FormatBool(def))
		return def
	}
	return b
}

func (t *table) number(name string, def, low, high int) int {
	value, ok := t.get(name)
	if !ok {
		return def
	}
	n, ok := value.(int64)
	if !ok {
		t.wrongType(name, value, "a whole number", strconv.Itoa(def))
		return def
	}
	if n < int64(low) || n > int64(high) {
		t.fault(name, "%d is out of range; take %d to %d", n, low, high)
		return def
	}
	return int(n)
}

// oneOf returns one of the words, or def where the key is left out.
func (t *table) oneOf(name, def string, words ...string) string {
	s := t.text(name, def, strconv.Quote(words[0]))
	if s != def && !slices.Contains(words, s) {
		t.fault(name, "%s is not known; take %s", quoted(s), alternatives(words))
		return def
	}
	return s
}

// allow reads the app_passwords key.
func (t *table) allow(name string) bool { return t.oneOf(name, "allow", "allow", "deny") == "allow" }

// duration returns a duration from low to high, or def where the key is left out.
func (t *table) duration(name string, def, low, high time.Duration) time.Duration {
	value, ok := t.get(name)
	if !ok {
		return def
	}
	example := `"365d"`
	if def > 0 {
		example = formatDuration(def)
	}
	s, ok := value.(string)
	if !ok {
		t.wrongType(name, value, "text with a unit", example)
		return def
	}
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		t.fault(name, "%s is not a duration; write a number and a unit (s, m, h, d or w), like %s", quoted(s), example)
	case d < low:
		t.fault(name, "%s is too short; take at least %s", quoted(s), formatDuration(low))
	case d > high:
		t.fault(name, "%s is too long; take at most %s", quoted(s), formatDuration(high))
	default:
		return d
	}
	return def
}

// span is a duration that may be left out, and that "never" switches off.
func (t *table) span(name string, def time.Duration) time.Duration {
	if s, ok := t.values[name].(string); ok && s == "never" {
		t.get(name)
		return 0
	}
	return t.duration(name, def, time.Second, LongestDuration)
}

// An item is one text of a list, with its own place in the file.
type item struct {
	text string
	key  []string
}

// list returns the texts of a list. An item that stands there twice is a fault.
func (t *table) list(name, example string) []item {
	value, ok := t.get(name)
	if !ok {
		return nil
	}
	values, ok := value.([]any)
	if !ok {
		t.wrongType(name, value, "a list", example)
		return nil
	}
	var items []item
	seen := map[string]bool{}
	for i, value := range values {
		key := t.key(name, strconv.Itoa(i))
		s, ok := value.(string)
		switch {
		case !ok:
			t.r.faultAt(key, t.key(name), "item %d is %s and must be text; write it like %s = %s", i+1, typeName(value), name, example)
		case seen[s]:
			t.r.faultAt(key, t.key(name), "%s stands there twice; leave one out", quoted(s))
		default:
			seen[s] = true
			items = append(items, item{text: s, key: key})
		}
	}
	return items
}

// faultAt reports a fault at the line of place under the name of key: lists
// have lines of their own, but nobody writes listen.0.
func (r *reader) faultAt(place, key []string, format string, args ...any) {
	r.fault(key, format, args...)
	r.faults[len(r.faults)-1].Line = r.positions.line(place)
}

// itemFault reports a fault of one item of a list of t.
func (t *table) itemFault(name string, it item, format string, args ...any) {
	t.r.faultAt(it.key, t.key(name), format, args...)
}

// section returns the table under a key. Where it is left out or is no table,
// the result is an empty one and ok is false.
func (t *table) section(name string) (section *table, ok bool) {
	value, ok := t.get(name)
	values, isTable := value.(map[string]any)
	if ok && !isTable {
		t.fault(name, "this is %s and must be a table; write it as [%s]", typeName(value), dotted(t.key(name)))
	}
	return t.r.table(t.key(name), t.pattern+name+".", values), ok && isTable
}

// named returns the tables under a key by their names, sorted: [group.NAME].
// check says what is wrong with a name, or nothing.
func (t *table) named(name string, check func(string) string) []*table {
	all, _ := t.section(name)
	var tables []*table
	for _, each := range slices.Sorted(maps.Keys(all.values)) {
		values, ok := all.values[each].(map[string]any)
		if !ok {
			all.fault(each, "this is %s, and what stands under %s is a table with a name; write [%[2]s.NAME], and its keys below that line", typeName(all.values[each]), dotted(all.path))
			continue
		}
		if wrong := check(each); wrong != "" {
			all.fault(each, "%s", wrong)
		}
		tables = append(tables, t.r.table(all.key(each), all.pattern+"NAME.", values))
	}
	return tables
}

// name returns the last part of the path of t.
func (t *table) name() string { return t.path[len(t.path)-1] }
