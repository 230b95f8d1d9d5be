package audit

import (
	"encoding/hex"
	"strconv"
	"time"

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

	macField = `,"mac":"`
	macEnd   = `"}`
	macTail  = len(macField) + 2*macSize + len(macEnd)
)

// appendBody appends the line of e, which happened at that time, up to the
// field seq.
func appendBody(dst []byte, e *core.Event, at time.Time, d *dates) []byte {
	dst = append(dst, `{"time":"`...)
	dst = d.append(dst, at)
	dst = append(dst, `","event":"`...)
	dst = appendText(dst, string(e.Kind))
	dst = appendField(dst, `,"actor":"`, e.Actor)
	dst = appendField(dst, `,"account":"`, e.Account)
	if e.AppPassword != (core.Ref{}) {
		dst = append(dst, `,"app_password":{"id":"`...)
		dst = appendText(dst, e.AppPassword.ID)
		dst = append(dst, `,"name":"`...)
		dst = appendText(dst, e.AppPassword.Name)
		dst = append(dst, '}')
	}
	dst = appendField(dst, `,"service":"`, e.Service)
	dst = appendField(dst, `,"source":"`, e.Source)
	dst = appendField(dst, `,"device":"`, e.Device)
	dst = appendField(dst, `,"method":"`, string(e.Method))
	dst = appendField(dst, `,"result":"`, e.Result())
	dst = appendField(dst, `,"reason":"`, string(e.Reason))
	return appendField(dst, `,"detail":"`, e.Detail)
}

// appendMark appends what an event of the log itself says about files.
func appendMark(dst []byte, m FileMark) []byte {
	dst = append(dst, `,"file":{"number":`...)
	dst = strconv.AppendUint(dst, m.Number, 10)
	if m.Version != 0 {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendInt(dst, int64(m.Version), 10)
	}
	dst = appendField(dst, `,"key":"`, m.Key)
	if p := m.Previous; p != nil {
		dst = append(dst, `,"previous":{"number":`...)
		dst = strconv.AppendUint(dst, p.Number, 10)
		dst = appendField(dst, macField, p.MAC)
		dst = append(dst, '}')
	}
	dst = appendField(dst, `,"broken":"`, m.Broken)
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
