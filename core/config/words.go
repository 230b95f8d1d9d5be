package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// LongestDuration bounds every duration; it is far below an overflow.
const LongestDuration = 100 * 365 * day

var errDuration = errors.New("not a duration")

// ParseDuration reads a duration as time.ParseDuration does, with d (24 hours)
// and w (7 days) as further units and without a sign. One that is too long is more
// than LongestDuration.
func ParseDuration(s string) (time.Duration, error) {
	var total time.Duration
	rest := s
	for rest != "" {
		n := strings.IndexFunc(rest, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
		if n <= 0 {
			return 0, errDuration // no number, or no unit
		}
		unit := strings.IndexFunc(rest[n:], func(c rune) bool { return c == '.' || c >= '0' && c <= '9' })
		if unit < 0 {
			unit = len(rest) - n
		}
		part, err := parsePart(rest[:n], rest[n:n+unit])
		if err != nil {
			return 0, err
		}
		total += part
		if part > LongestDuration || total > LongestDuration {
			return LongestDuration + 1, nil
		}
		rest = rest[n+unit:]
	}
	if s == "" {
		return 0, errDuration
	}
	return total, nil
}

func parsePart(number, unit string) (time.Duration, error) {
	var size time.Duration
	switch unit {
	case "d":
		size = day
	case "w":
		size = week
	default:
		d, err := time.ParseDuration(number + unit)
		if err != nil && strings.Trim(number, ".0123456789") == "" && isGoUnit(unit) && number != "." {
			return LongestDuration + 1, nil // it only was too long
		}
		return d, err
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, err
	case f > float64(LongestDuration/size):
		return LongestDuration + 1, nil
	}
	return time.Duration(f * float64(size)), nil
}

func isGoUnit(unit string) bool {
	_, err := time.ParseDuration("1" + unit)
	return err == nil
}

// formatDuration writes d with its largest whole unit.
func formatDuration(d time.Duration) string {
	units := []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for _, unit := range units {
		if d >= unit.size && d%unit.size == 0 {
			return fmt.Sprintf("\"%d%s\"", d/unit.size, unit.name)
		}
	}
	return strconv.Quote(d.String())
}

// quoted shows a value of the file in a fault: escaped, cut where it is long, and
// with the number of a character that looks like a plain one and is none.
func quoted(s string) string {
	const most = 60
	end := ""
	if utf8.RuneCountInString(s) > most {
		s, end = string([]rune(s)[:most]), "…"
	}
	if strings.ContainsFunc(s, looksPlain) {
		return strconv.QuoteToASCII(s) + end
	}
	return strconv.Quote(s) + end
}

// alternatives writes words as a choice: "a", "b" or "c".
func alternatives(words []string) string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = strconv.Quote(word)
	}
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// nameMax bounds the names of clients, profiles and plugins.
const nameMax = 64

// checkName says what is wrong with the name of a client, profile or plugin, or
// with a service. A slash or a star would change what a pattern over services
// means.
func checkName(name string) string {
	good := name != "" && len(name) <= nameMax && isLetterOrDigit(name[0])
	for _, c := range []byte(name) {
		good = good && (isLetterOrDigit(c) || strings.IndexByte("._-", c) >= 0)
	}
	if good {
		return ""
	}
	return fmt.Sprintf("%s can't be a name; take up to %d letters, digits, dots, hyphens and underscores, and a letter or digit first", quoted(name), nameMax)
}

// groupMax bounds the name of a group, in bytes. Directories have long ones.
const groupMax = 256

// checkGroup says what is wrong with the name of a group. The directory chose
// it: "Domain Admins" is one.
func checkGroup(name string) string {
	if name == "" || len(name) > groupMax || strings.TrimSpace(name) != name || !isPrintable(name) {
		return fmt.Sprintf("%s can't be the name of a group; take up to %d bytes, without control characters and without spaces at its ends", quoted(name), groupMax)
	}
	return ""
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// checkPattern says what is wrong with a pattern over services.
func checkPattern(pattern string) string {
	good := len(pattern) <= 2*nameMax
	for _, c := range []byte(pattern) {
		good = good && (isLetterOrDigit(c) || strings.IndexByte("._-/*", c) >= 0)
	}
	bridge, name, ok := strings.Cut(pattern, "/")
	switch {
	case !good || strings.Contains(name, "/"):
		return fmt.Sprintf("%s can't be a pattern over services; take letters, digits, dots, hyphens, underscores, one slash and the wildcard *, like \"radius/vpn*\"", quoted(pattern))
	case strings.Contains(pattern, "*"):
		return ""
	case !ok || bridge == "" || name == "":
		return fmt.Sprintf("%s matches no service; write a bridge and a name, like \"radius/vpn1\", or use the wildcard *", quoted(pattern))
	}
	return ""
}

// Nearest returns the word that a mistyped one probably means: the one at most
// two edits away, or nothing.
func Nearest(word string, words []string) string {
	best, found := 3, ""
	for _, each := range words {
		if d := distance(word, each); d < best && d < len(each) {
			best, found = d, each
		}
	}
	return found
}

// distance is the Levenshtein distance of two short texts. Of long ones it only
// says that they are far apart.
func distance(a, b string) int {
	const far = 1 << 10
	if len(a) > nameMax || len(b) > nameMax {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
