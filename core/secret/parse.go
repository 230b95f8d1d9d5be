package secret

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTyped bounds what is looked at, in octets: 28 letters with four dashes or
// spaces of up to two octets between each still fit.
const maxTyped = 256

// Parse reads an app password as somebody typed or pasted it: letters in upper
// or lower case, with any spaces, hyphens and dashes between. What it returns
// is the canonical form. The error is ErrShape or ErrCheck itself; then the
// Text is the zero one.
//
// It allocates nothing and keeps nothing of typed. How long it takes depends
// on typed alone, which whoever typed it knows.
func Parse(typed []byte) (Text, error) {
	var t Text
	if len(typed) > maxTyped {
		return t, ErrShape
	}
	var sum checksum
	for len(typed) > 0 {
		value, size := int(octets[typed[0]]), 1
		if value == beyond {
			var r rune
			if r, size = utf8.DecodeRune(typed); separates(r) {
				value = separator
			}
		}
		typed = typed[size:]
		if value == separator {
			continue
		}
		if value < 0 || t.letters == Long {
			t.Wipe()
			return Text{}, ErrShape
		}
		sum.add(value)
		t.push(alphabet[value])
	}
	switch {
	case !isShape(t.Letters()):
		t.Wipe()
		return Text{}, ErrShape
	case sum != 0:
		t.Wipe()
		return Text{}, ErrCheck
	}
	return t, nil
}

// What an octet is, where it is no letter. A letter has its value, which is 0 or more.
const (
	none      = -1 - iota // is refused
	separator             // is left out
	beyond                // begins a rune that is not of ASCII
)

// octets says what each octet is.
var octets = func() (all [256]int8) {
	for c := range all {
		switch value := strings.IndexRune(alphabet, unicode.ToLower(rune(c))); {
		case c >= utf8.RuneSelf:
			all[c] = beyond
		case value >= 0:
			all[c] = int8(value)
		case separates(rune(c)):
			all[c] = separator
		default:
			all[c] = none
		}
	}
	return all
}()

// separates reports whether r is left out of the canonical form: white space,
// dashes, and what a web page or a word processor puts between letters without
// showing it. Only letters of ASCII count as letters: nobody is shown others.
func separates(r rune) bool {
	switch r {
	case ' ', '-':
		return true
	case '\u00ad', // soft hyphen
		'\u2212', // minus sign
		'\u200b', // zero width space
		'\u2060', // word joiner
		'\ufeff': // zero width no-break space
		return true
	}
	return r >= utf8.RuneSelf && unicode.Is(unicode.Pd, r) || unicode.IsSpace(r)
}

// Shaped reports whether s is an app password or a mistyped one, so that it
// must not stand in a log although it came in the place of a user name.
func Shaped(s string) bool {
	if len(s) > maxTyped {
		return false
	}
	var b [maxTyped]byte
	defer clear(b[:])
	t, err := Parse(b[:copy(b[:], s)])
	t.Wipe()
	return err == nil || errors.Is(err, ErrCheck)
}
