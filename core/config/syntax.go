package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

// maxOdd bounds how many lines are told of at once.
const maxOdd = 20

// syntaxFaults explains why text is not TOML: what was mistyped where, and what
// belongs there. Nothing of a value is repeated, nor any number: it may be a secret.
func syntaxFaults(name string, text []byte, err error) error {
	fault := func(line int, format string, args ...any) Fault {
		return Fault{File: name, Line: line, Text: "this is not TOML: " + fmt.Sprintf(format, args...)}
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return Faults{fault(1, "the file is UTF-16; save it as UTF-8")}
	}
	if n := invalidUTF8(text); n >= 0 {
		return Faults{fault(1+bytes.Count(text[:n], []byte("\n")), "there is an octet that is not UTF-8; save the file as UTF-8")}
	}
	row := 1
	var at *toml.DecodeError
	if errors.As(err, &at) {
		row, _ = at.Position()
	}
	masked, open := mask(text)
	lines := strings.Split(masked, "\n")
	row = min(max(row, 1), len(lines))
	var faults Faults
	told := false
	for i, line := range lines {
		if odd := oddCharacter(line); odd != "" && len(faults) < maxOdd {
			faults = append(faults, fault(i+1, "%s", odd))
			told = told || i+1 == row
		}
	}
	if !told {
		faults = append(faults, fault(row, "%s", explain(lines, row, open[row-1], err)))
	}
	return faults.Err()
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// mask returns text with an x for each character of a text in quotes, and without
// comments. Of a text whose quote is not closed on its line typographic quotes stay,
// as the one at its end may be one of them; open has these lines.
func mask(text []byte) (masked string, open map[int]bool) {
	open = map[int]bool{}
	var out strings.Builder
	for line, rest := 0, text; len(rest) > 0; {
		quote, n := rest[:1], 0
		if triple := rest[:min(3, len(rest))]; string(triple) == `"""` || string(triple) == "'''" {
			quote = triple
		}
		switch rest[0] {
		case '"', '\'':
			n = quoteEnd(rest, quote)
			if n < 0 {
				n, open[line] = lineEnd(rest), true
			}
			for _, r := range string(rest[:n]) {
				switch {
				case r == '\n':
					out.WriteRune(r)
					line++
				case open[line] && isQuote(r):
					out.WriteRune(r)
				default:
					out.WriteString("x")
				}
			}
		case '#':
			n = lineEnd(rest)
		default:
			n = 1
			out.WriteByte(rest[0])
			if rest[0] == '\n' {
				line++
			}
		}
		rest = rest[n:]
	}
	return out.String(), open
}

func lineEnd(text []byte) int {
	if n := bytes.IndexByte(text, '\n'); n >= 0 {
		return n
	}
	return len(text)
}

// quoteEnd returns where a text that begins with quote is over, or -1.
func quoteEnd(text, quote []byte) int {
	for i := len(quote); i < len(text); i++ {
		switch {
		case bytes.HasPrefix(text[i:], quote):
			return i + len(quote)
		case text[i] == '\n' && len(quote) == 1:
			return -1
		case text[i] == '\\' && quote[0] == '"' && !bytes.HasPrefix(text[i+1:], []byte("\n")):
			i++
		}
	}
	return -1
}

// oddCharacter tells of the first character of a line that TOML takes in quotes
// alone. Most often it came with a copy from a web page or a document.
func oddCharacter(line string) string {
	column := 0
	for _, r := range line {
		column++
		switch {
		case r < utf8.RuneSelf:
		case isQuote(r):
			return fmt.Sprintf("%c (U+%04X) is a typographic quote; type plain ones, as in key = \"value\"", r, r)
		case isDash(r):
			return fmt.Sprintf("%c (U+%04X) is a typographic dash; type a plain -", r, r)
		case unicode.IsSpace(r), !unicode.IsPrint(r):
			return fmt.Sprintf("column %d has a character that looks like a space, or like nothing (U+%04X); delete it, and type a plain space if there shall be one", column, r)
		case r >= '！' && r <= '～': // the wide forms of ASCII
			return fmt.Sprintf("%c (U+%04X) is a wide character; type a plain %c", r, r, r-'！'+'!')
		default:
			return fmt.Sprintf("column %d has a character that is taken in quotes alone; put the name or the value with it into quotes", column)
		}
	}
	return ""
}

func isQuote(r rune) bool {
	return strings.ContainsRune("“”„‟‘’‚‛«»‹›″′´", r)
}

func isDash(r rune) bool { return r != '-' && unicode.Is(unicode.Pd, r) || r == '−' }

// looksPlain says whether r is easily taken for a character of ASCII.
func looksPlain(r rune) bool { return isQuote(r) || isDash(r) }

// explain says what is wrong with a line of masked text. open says that a quote
// in it is not closed.
func explain(lines []string, row int, open bool, err error) string {
	line := strings.TrimSpace(lines[row-1])
	said := strings.TrimPrefix(err.Error(), "toml: ")
	key := regexp.MustCompile(`^[A-Za-z0-9_.-]*`).FindString(line)
	switch {
	case strings.HasPrefix(line, "<<<<<<<"), strings.HasPrefix(line, "======="), strings.HasPrefix(line, ">>>>>>>"):
		return "a merge was left here undone; keep one of the two, and delete this line"
	case strings.HasPrefix(line, "```"):
		return "this line is of Markdown; delete it"
	case strings.HasPrefix(line, "//"), strings.HasPrefix(line, ";"), strings.HasPrefix(line, "/*"), strings.HasPrefix(line, "--"):
		return "a comment begins with #"
	case strings.Contains(strings.TrimSuffix(lines[row-1], "\r"), "\r"):
		return "lines end with a carriage return alone; save the file with line ends of Unix"
	case open:
		return "a quote is opened here and not closed on this line; type it at the end of the text too"
	case key != "" && strings.Contains(said, "already defined"):
		return twice(key, "leave one out", firstOf(lines, row, key))
	}
	before, value, is := strings.Cut(line, "=")
	value = strings.TrimSpace(value)
	switch {
	case strings.Contains(said, "array"), key != "" && strings.HasPrefix(value, "[") && !strings.Contains(said, "newline"):
		return "a list is written like [\"one\", \"two\"]: here, or above, a comma, a quote or the ] is missing"
	case strings.HasPrefix(line, "["):
		return explainTable(lines, row)
	case key == "":
		return said + "; a line begins with a key, with [ or with #"
	case !is && strings.HasPrefix(strings.TrimSpace(line[len(key):]), ":"):
		return "a colon follows the key; write = there"
	case !is, strings.TrimSpace(before) != key: // what stands there may be no key
		return "there is no = after the key; write it like key = \"value\""
	case !regexp.MustCompile(`^[a-z_.]+$`).MatchString(key):
		key = "the key"
	}
	return explainValue(key, value, said)
}

func explainTable(lines []string, row int) string {
	line := strings.TrimSpace(lines[row-1])
	name := regexp.MustCompile(`^\[\s*([A-Za-z0-9_.-]+)\s*\]`).FindStringSubmatch(line)
	switch {
	case !strings.Contains(line, "]"):
		return "the ] at the end of the line is missing"
	case name == nil:
		return "the name of a table has letters, digits, - and _; one with anything else stands in quotes, as in [group.\"Domain Admins\"]"
	}
	for i, before := range lines[:row-1] {
		if strings.ReplaceAll(strings.TrimSpace(before), " ", "") == "["+name[1]+"]" {
			return twice("["+name[1]+"]", "put both into one", i+1)
		}
	}
	return twice("["+name[1]+"]", "put both into one", 0)
}

func twice(what, mend string, first int) string {
	if first == 0 {
		return what + " stands there twice; " + mend
	}
	return fmt.Sprintf("%s stands there twice, first at line %d; %s", what, first, mend)
}

// firstOf returns the line where key stands before row in the same table, or 0.
func firstOf(lines []string, row int, key string) int {
	for i := row - 2; i >= 0 && !strings.HasPrefix(strings.TrimSpace(lines[i]), "["); i-- {
		if before, _, is := strings.Cut(lines[i], "="); is && strings.TrimSpace(before) == key {
			return i + 1
		}
	}
	return 0
}

func explainValue(key, value, said string) string {
	switch {
	case value == "":
		return fmt.Sprintf("there is no value after %s =; write it on the same line", key)
	case value[0] == '=':
		return fmt.Sprintf("one = after %s is enough", key)
	case slices.Contains([]string{"true", "false", "yes", "no", "on", "off"}, strings.ToLower(value)):
		return fmt.Sprintf("write %s = true or %[1]s = false, in small letters", key)
	case strings.Contains(said, "leading zero"):
		return fmt.Sprintf("the number after %s begins with 0; write it without", key)
	case strings.Contains(said, "escape"):
		return fmt.Sprintf("a \\ in the text after %s begins an escape; write \\\\, or put the text between ' and '", key)
	case strings.Contains(said, "newline") && strings.ContainsRune(",;", rune(value[len(value)-1])):
		return fmt.Sprintf("take off the %c at the end of the line: each key has a line of its own", value[len(value)-1])
	case value[0] == 'x' && strings.Contains(said, "newline"):
		return fmt.Sprintf("something follows the value of %s; each key has a line of its own, and a comment begins with #", key)
	case value[0] == '{':
		return "a table in one line is written like { \"Name\" = \"value\", \"Other\" = \"value\" }"
	}
	return fmt.Sprintf("the value of %s is neither a number nor true or false; put it into quotes: %[1]s = \"value\"", key)
}
