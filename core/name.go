package core

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"github.com/keywicket/keywicket/core/secret"
)

// maxAccountName is the longest normalised name of an account, in octets.
const maxAccountName = 256

// notInNames says which character of typed no name has, or what the profile says.
func notInNames(typed string, err error) string {
	for _, r := range typed {
		switch {
		case unicode.IsSpace(r):
			return "no name has a space"
		case r == utf8.RuneError:
			return "it is not UTF-8"
		}
		if _, err := precis.UsernameCaseMapped.String(string(r)); err != nil && !unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd) { // those follow a letter
			return fmt.Sprintf("no name has the character %U", r)
		}
	}
	return err.Error()
}

// NormalizeAccount returns the form under which accounts are compared and
// stored: PRECIS UsernameCaseMapped (RFC 8265, section 3.3).
func NormalizeAccount(typed string) (string, error) {
	if len(typed) > 4*maxAccountName {
		return "", invalid("account name", "a name of %d octets; at most %d are allowed", len(typed), maxAccountName)
	}
	name, ok := normalizeASCII(typed)
	if !ok {
		var err error
		if name, err = precis.UsernameCaseMapped.String(typed); err != nil {
			return "", invalid("account name", "%q is not a possible account name: %s", shown(typed), notInNames(typed, err))
		}
	}
	if name == "" || len(name) > maxAccountName {
		return "", invalid("account name", "a name of %d octets; 1 to %d are allowed", len(name), maxAccountName)
	}
	return name, nil
}

// normalizeASCII does what the profile does to visible ASCII: it only folds
// case. It says false for a name that needs the whole profile.
func normalizeASCII(typed string) (string, bool) {
	upper := false
	for i := range len(typed) {
		switch c := typed[i]; {
		case c <= ' ' || c > '~':
			return "", false
		case 'A' <= c && c <= 'Z':
			upper = true
		}
	}
	if upper {
		return strings.ToLower(typed), true
	}
	return typed, true
}

// appendASCII appends what normalizeASCII makes of typed, if that is a possible
// name.
func appendASCII(dst, typed []byte) (name []byte, ok bool) {
	if len(typed) == 0 || len(typed) > maxAccountName {
		return dst, false
	}
	for _, c := range typed {
		if c <= ' ' || c > '~' {
			return dst, false
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, true
}

// shown is how a name that somebody typed stands in an error, the log and the
// audit: a name that is shaped like an app password was typed into the wrong
// field, and is not repeated. Some devices end it with a NUL or a line feed.
func shown(typed string) string {
	visible := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, typed)
	if secret.Shaped(visible) {
		return "[app password]"
	}
	const most = 256
	if len(typed) > most {
		return strings.ToValidUTF8(typed[:most], "\uFFFD") + "…"
	}
	return strings.ToValidUTF8(typed, "\uFFFD")
}

// Shown returns name as it may stand in a log: unchanged, unless it is shaped
// like an app password, is too long or is not UTF-8.
func Shown(name string) string { return shown(name) }

// MaxName is the most characters that the name of an app password has.
const MaxName = 64

// cleanName returns the name of an app password as it is stored, or what is
// wrong with it (rule A2).
func cleanName(typed string) (string, error) {
	name := composed(typed)
	n := utf8.RuneCountInString(name)
	if n == 0 || n > MaxName {
		return "", invalid("name", "the name has %d characters; 1 to %d are allowed", n, MaxName)
	}
	if !utf8.ValidString(name) {
		return "", invalid("name", "the name is not UTF-8")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return "", invalid("name", "the name holds the character %U, which cannot be printed", r)
		}
	}
	if isText(name) {
		return "", invalid("name", "the name is shaped like an app password; give the device a name, the password is generated")
	}
	return name, nil
}

// composed returns a typed name in the form in which names are stored.
func composed(typed string) string { return strings.TrimSpace(norm.NFC.String(typed)) }

// isText says whether s is the text of an app password, right down to the
// check letter: somebody put it into the wrong field.
func isText(s string) bool {
	text, err := secret.Parse([]byte(s))
	text.Wipe()
	return err == nil
}

// sameName says whether two names of app passwords would be taken for one.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// invalid makes the error of a request that will never succeed.
func invalid(op, format string, args ...any) error {
	return &Error{Op: op, Kind: KindInvalid, Err: fmt.Errorf(format, args...)}
}
