package audit

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keywicket/keywicket/core"
)

// Events of the log itself.
const (
	EventOpened  core.EventKind = "audit-opened"  // the first line of a file
	EventTorn    core.EventKind = "audit-torn"    // an unfinished line was cut off
	EventDeleted core.EventKind = "audit-deleted" // a file and all before it were removed, being too old
	EventDropped core.EventKind = "audit-dropped" // events were refused, because nothing could be written
)

const (
	// maxText is how many octets of a text a line keeps.
	maxText = 512

	// maxLine bounds a line without its end. The longest that is ever written
	// has 11 texts, of which every octet takes six, and is shorter.
	maxLine = 64 << 10

	timeFormat = "2006-01-02T15:04:05.000Z07:00"
	macField   = `,"mac":"`
	macEnd     = `"}`
	macTail    = len(macField) + 2*macSize + len(macEnd)
)

// appendBody appends the line of e up to the field seq.
func appendBody(dst []byte, e *core.Event, at time.Time) []byte {
	dst = append(dst, `{"time":"`...)
	dst = at.UTC().AppendFormat(dst, timeFormat)
	dst = append(dst, `","event":`...)
	dst = appendText(dst, string(e.Kind))
	dst = appendField(dst, "actor", e.Actor)
	dst = appendField(dst, "account", e.Account)
	if e.AppPassword != (core.Ref{}) {
		dst = append(dst, `,"app_password":{"id":`...)
		dst = appendText(dst, e.AppPassword.ID)
		dst = append(dst, `,"name":`...)
		dst = appendText(dst, e.AppPassword.Name)
		dst = append(dst, '}')
	}
	dst = appendField(dst, "service", e.Service)
	dst = appendField(dst, "source", e.Source)
	dst = appendField(dst, "device", e.Device)
	dst = appendField(dst, "method", string(e.Method))
	dst = appendField(dst, "result", e.Result())
	dst = appendField(dst, "reason", string(e.Reason))
	return appendField(dst, "detail", e.Detail)
}

// appendMark appends what an event of the log itself says about files.
func appendMark(dst []byte, m FileMark) []byte {
	dst = append(dst, `,"file":{"number":`...)
	dst = strconv.AppendUint(dst, m.Number, 10)
	if m.Version != 0 {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendInt(dst, int64(m.Version), 10)
	}
	dst = appendField(dst, "key", m.Key)
	if p := m.Previous; p != nil {
		dst = append(dst, `,"previous":{"number":`...)
		dst = strconv.AppendUint(dst, p.Number, 10)
		dst = appendField(dst, "mac", p.MAC)
		dst = append(dst, '}')
	}
	dst = appendField(dst, "broken", m.Broken)
	if m.Torn != 0 {
		dst = append(dst, `,"torn":`...)
		dst = strconv.AppendInt(dst, m.Torn, 10)
	}
	return append(dst, '}')
}

// appendEnd makes a line of a body: it appends seq, mac and the line end. line
// begins where dst[start:] does.
func appendEnd(dst []byte, start int, c *chain) []byte {
	c.seq++
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, c.seq, 10)
	c.last = c.key.sum(c.last, dst[start:])
	dst = append(dst, macField...)
	dst = hex.AppendEncode(dst, c.last[:])
	dst = append(dst, macEnd...)
	return append(dst, '\n')
}

// appendField appends a field, unless its text is empty.
func appendField(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendText(dst, text)
}

// appendText appends text as a JSON string of printable ASCII.
func appendText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	text = cut(text)
	if isPlain(text) {
		return append(append(dst, text...), '"')
	}
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
	return append(dst, '"')
}

// isPlain says whether text stands in a line as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
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
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end]) + "…[" + strconv.Itoa(len(text)) + " octets]"
}
