package audit

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core"
)

// An Entry is a line of the log, read back. Its texts are as the line keeps
// them: they may hold control characters, and whoever shows them escapes them.
type Entry struct {
	Time        time.Time      `json:"time"` // to the millisecond
	Event       core.EventKind `json:"event"`
	Actor       string         `json:"actor,omitempty"`
	Account     string         `json:"account,omitempty"`
	AppPassword core.Ref       `json:"app_password,omitzero"`
	Service     string         `json:"service,omitempty"`
	Source      string         `json:"source,omitempty"`
	Device      string         `json:"device,omitempty"`
	Method      string         `json:"method,omitempty"`
	Result      string         `json:"result,omitempty"` // of an attempt: "granted" or "refused"
	Reason      core.Reason    `json:"reason,omitempty"`
	Detail      string         `json:"detail,omitempty"`
	File        *FileMark      `json:"file,omitempty"` // of the events of the log itself
	Seq         uint64         `json:"seq"`
	MAC         string         `json:"mac"`
}

// A FileMark is what an event of the log itself says about a file.
type FileMark struct {
	Number   uint64 `json:"number"`             // of the file that was opened, torn or deleted
	Version  int    `json:"version,omitempty"`  // of the format; audit-opened only
	Key      string `json:"key,omitempty"`      // short id of the key of this file; audit-opened only
	Previous *Link  `json:"previous,omitempty"` // audit-opened only; none in the first file of a log
	Broken   string `json:"broken,omitempty"`   // audit-opened only: why the chain is broken before this file
	Torn     int64  `json:"torn,omitempty"`     // audit-torn only: octets that were cut off
}

// A Link names the last line of a file.
type Link struct {
	Number uint64 `json:"number"` // of the file
	MAC    string `json:"mac"`
}

// parseLine reads a line without its end. Fields that are not known are left
// to versions that know them.
func parseLine(line []byte) (Entry, error) {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return Entry{}, fmt.Errorf("a line of the audit log holds the octet %#02x", c)
		}
	}
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, fmt.Errorf("a line of the audit log: %w", err)
	}
	if e.Seq == 0 || e.Seq > maxSeq {
		return Entry{}, fmt.Errorf("a line of the audit log has seq %d", e.Seq)
	}
	return e, nil
}

// maxSeq is far beyond what is ever written. A line that somebody made up must
// not bring the numbers of those after it round to 0.
const maxSeq = 1 << 62

// splitLine parts a line from its mac.
func splitLine(line []byte) (body []byte, given mac, ok bool) {
	at := len(line) - macTail
	if at < 0 || string(line[at:at+len(macField)]) != macField || string(line[len(line)-len(macEnd):]) != macEnd {
		return nil, mac{}, false
	}
	given, ok = parseMAC(line[at+len(macField) : len(line)-len(macEnd)])
	return line[:at], given, ok
}
