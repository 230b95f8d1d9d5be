package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// sanitize makes text from outside safe for a terminal: control, bidi and other
// characters that do not print are escaped; line ends stay.
func sanitize(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// line is sanitize for text that is part of one line.
func line(text string) string { return strings.ReplaceAll(sanitize(text), "\n", `\n`) }

// word is line for the last argument of a command that is there to be copied into a
// shell.
func word(text string) string {
	quoted := "'" + strings.ReplaceAll(line(text), "'", `'\''`) + "'"
	switch {
	case strings.HasPrefix(text, "-"): // which is no flag
		return "-- " + quoted
	case text != "" && strings.Trim(text, bareKey+"@%+=:,./") == "":
		return text
	}
	return quoted
}

// printJSON prints v as other programs read it.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// A keptWriter keeps its first error: much of what is printed is printed
// without a look at it.
type keptWriter struct {
	io.Writer
	err error
}

// Write writes, and keeps what went wrong.
func (w *keptWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// printf prints to standard output.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// table prints rows in columns. Every cell is made safe for the terminal.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = line(cell)
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return t.Flush()
}

// The JSON that other programs read. Fields are added, never renamed.
type (
	refJSON struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}

	useJSON struct {
		Time    time.Time `json:"time"`
		Service string    `json:"service"`
		Source  string    `json:"source"`
		Device  string    `json:"device"`
		Method  string    `json:"method"`
	}

	appPasswordJSON struct {
		ID       string     `json:"id"`
		Name     string     `json:"name"`
		Profile  string     `json:"profile"`
		Password string     `json:"password,omitempty"`
		Letters  uint32     `json:"letters"`
		Services []string   `json:"services"`
		Methods  []string   `json:"methods"`
		Created  time.Time  `json:"created"`
		Rotated  *time.Time `json:"rotated"`
		Expires  *time.Time `json:"expires"`
		Pinned   bool       `json:"pinned"`
		Pin      *string    `json:"pin"`
		Status   string     `json:"status"`
		LastUse  *useJSON   `json:"last_use"`
		Uses     uint64     `json:"uses"`

		Reply []nameValueJSON `json:"reply"`
	}

	attemptJSON struct {
		Time        time.Time `json:"time"`
		Service     string    `json:"service"`
		Source      string    `json:"source"`
		Device      string    `json:"device"`
		Method      string    `json:"method"`
		Result      string    `json:"result"`
		Reason      string    `json:"reason"`
		Sentence    string    `json:"sentence,omitempty"`
		AppPassword *refJSON  `json:"app_password"`
	}

	accountJSON struct {
		Name         string     `json:"name"`
		Enabled      bool       `json:"enabled"`
		Groups       []string   `json:"groups"`
		TwoStep      bool       `json:"two_step"`
		TwoStepSince *time.Time `json:"two_step_since"`
		Recovery     uint32     `json:"recovery_codes"`
		AppPasswords uint32     `json:"app_passwords"`
		Allowed      bool       `json:"app_passwords_allowed"`

		Sessions []endingJSON `json:"sessions,omitempty"` // that were to be ended by this change
	}
)

func toAppPasswordJSON(p *controlv1.AppPassword, password string) appPasswordJSON {
	j := appPasswordJSON{
		ID: p.GetId(), Name: p.GetName(), Profile: p.GetProfile(), Password: password, Letters: p.GetLetters(),
		Services: notNil(p.GetServices()), Methods: notNil(p.GetMethods()), Created: p.GetCreated().AsTime(),
		Rotated: timeOrNil(p.GetRotated()), Expires: timeOrNil(p.GetExpires()), Pinned: p.GetPinDevice(),
		Status: p.GetStatus(), Uses: p.GetUses(), Reply: toNameValues(p.GetReply()),
	}
	if p.GetPin() != "" {
		j.Pin = &p.Pin
	}
	if u := p.GetLastUse(); u != nil {
		j.LastUse = &useJSON{Time: u.GetTime().AsTime(), Service: u.GetService(), Source: u.GetSource(), Device: u.GetDevice(), Method: u.GetMethod()}
	}
	return j
}

func toAttemptJSON(a *controlv1.Attempt) attemptJSON {
	return attemptJSON{
		Time: a.GetTime().AsTime(), Service: a.GetService(), Source: a.GetSource(), Device: a.GetDevice(), Method: a.GetMethod(),
		Result: resultOf(a.GetReason()), Reason: a.GetReason(), Sentence: a.GetSentence(), AppPassword: toRefJSON(a.GetAppPassword()),
	}
}

func resultOf(reason string) string {
	if reason == "" {
		return "granted"
	}
	return "refused"
}

func toRefJSON(r *controlv1.AppPasswordRef) *refJSON {
	if r == nil {
		return nil
	}
	return &refJSON{ID: r.GetId(), Name: r.GetName()}
}

func toAccountJSON(a *controlv1.Account) accountJSON {
	return accountJSON{
		Name: a.GetName(), Enabled: a.GetEnabled(), Groups: notNil(a.GetGroups()), TwoStep: a.GetTwoStep(),
		TwoStepSince: timeOrNil(a.GetTwoStepSince()), Recovery: a.GetRecoveryCodes(), AppPasswords: a.GetAppPasswords(),
		Allowed: a.GetAppPasswordsAllowed(),
	}
}

// notNil makes an empty list [] in JSON and not null.
func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func timeOrNil(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

// ago says how long ago t was, roughly, for people.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}

// shownTime is how a time stands in tables.
func shownTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// grouped shows a password the way it is easiest to type: in fours.
func grouped(password string) string {
	var b strings.Builder
	for i, r := range password {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}
