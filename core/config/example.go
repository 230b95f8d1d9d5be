package config

import (
	_ "embed" // example.toml
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
)

//go:embed example.toml
var example string // never changed

// Example returns the commented configuration for a folder of its own: data,
// keyring and sockets are in dir, and RADIUS listens on 127.0.0.1 for clients
// that are still to be written. It parses as it is, once it stands in dir.
//
// A dir that is not absolute is left out, and the paths start from the folder
// of the file.
func Example(dir string) []byte {
	prefix := ""
	if filepath.IsAbs(dir) {
		prefix = strings.TrimSuffix(inQuotes(filepath.Clean(dir)), "/") + "/"
	}
	return []byte(strings.ReplaceAll(example, "@DIR@/", prefix))
}

// inQuotes escapes s for a basic string of TOML.
func inQuotes(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case unicode.IsControl(c):
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
