package audit

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// The times that a line can hold: those of the years 1 to 9999.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	endOfTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// dates make the texts of times, of which most are of the second of the last
// one. They are for many goroutines.
type dates struct{ last atomic.Pointer[date] }

// A date is the text of a time up to its second.
type date struct {
	second int64
	text   [len("2006-01-02T15:04:05")]byte
}

// append appends the text of at: its date, and the milliseconds.
func (d *dates) append(dst []byte, at time.Time) []byte {
	of := d.last.Load()
	if of == nil || of.second != at.Unix() {
		of = &date{second: at.Unix()}
		at.UTC().AppendFormat(of.text[:0], "2006-01-02T15:04:05")
		d.last.Store(of)
	}
	ms := at.Nanosecond() / 1e6
	dst = append(dst, of.text[:]...)
	return append(dst, '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// appendField appends a field, unless its text is empty. name has the comma,
// the quotes and the colon around it, and the quote after them.
func appendField(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return appendText(append(dst, name...), text)
}

// appendText appends text as a JSON string of printable ASCII, without the
// quote that begins it.
func appendText(dst []byte, text string) []byte {
	text = cut(text)
	if !isPlain(text) {
		return append(appendEscaped(dst, text), '"')
	}
	return append(append(dst, text...), '"')
}

// each is one in each of eight octets.
const each = 0x0101010101010101

// isPlain says whether text stands in a line as it is. It looks at eight octets
// at a time, the last of which are looked at twice.
func isPlain(text string) bool {
	n := len(text)
	if n < 8 {
		return isShortPlain(text)
	}
	odd := oddOctets(eightOctets(text[n-8:]))
	for ; len(text) > 8; text = text[8:] {
		odd |= oddOctets(eightOctets(text))
	}
	return odd&(0x80*each) == 0
}

func isShortPlain(text string) bool {
	eight := uint64(' ' * each)
	for i := range len(text) {
		eight = eight<<8 | uint64(text[i])
	}
	return oddOctets(eight)&(0x80*each) == 0
}

// oddOctets returns the highest bit of each of eight octets set if it was
// set, or if the octet is no printable one, a quote or a backslash.
func oddOctets(eight uint64) uint64 {
	return eight | (eight - ' '*each) | (eight + each) | (eight ^ '"'*each - each) | (eight ^ '\\'*each - each)
}

func eightOctets(t string) uint64 {
	_ = t[7]
	return uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 | uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
}

func appendEscaped(dst []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case ' ' <= r && r <= '~':
			dst = append(dst, byte(r))
		case r >= 0x10000: // a surrogate pair (RFC 8259, section 7)
			r -= 0x10000
			dst = appendUnit(dst, 0xd800+r>>10)
			dst = appendUnit(dst, 0xdc00+r&0x3ff)
		default: // U+FFFD for every octet that is not UTF-8
			dst = appendUnit(dst, r)
		}
	}
	return dst
}

func appendUnit(dst []byte, u rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}

// cut returns text as far as a line keeps it.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return shorten(text)
}

// shorten stands by itself so that cut, which seldom cuts, is inlined.
func shorten(text string) string {
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end]) + "…[" + strconv.Itoa(len(text)) + " octets]"
}
