package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Fault is one thing that is wrong with a configuration. Text says what is
// wrong and, after a semicolon, what to do. It never holds a secret.
type Fault struct {
	File string
	Line int    // from 1
	Key  string // dotted: radius.client.vpn1.address; empty for the file itself
	Text string
}

func (f Fault) Error() string {
	if f.Key == "" {
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Key, f.Text)
}

// Faults is everything that is wrong with a configuration, by line.
type Faults []Fault

// Error gives one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the faults in order, or nil if there is none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return sorted
}

// Fault returns a fault at key, for what only the caller can find out:
//
//	faults = append(faults, file.Fault("no such attribute; …", "profile", "vpn", "reply", "Clas"))
//	…
//	return faults.Err()
func (f *File) Fault(text string, key ...string) Fault {
	return Fault{File: f.Path, Line: f.Line(key...), Key: dotted(key), Text: text}
}

// Line returns the line where key stands. A key that was left out has the line
// of the table that it belongs to; one whose table was left out too has line 1.
func (f *File) Line(key ...string) int { return f.positions.line(key) }

// dotted writes a key as TOML does, with quotes where a part needs them.
func dotted(key []string) string {
	parts := make([]string, len(key))
	for i, part := range key {
		parts[i] = part
		if !isBare(part) {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

// isBare reports whether TOML takes a key part without quotes.
func isBare(part string) bool {
	for _, c := range []byte(part) {
		if !isLetterOrDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return part != ""
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
