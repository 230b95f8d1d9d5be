package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keywicket/keywicket/core"
)

// fullEvent has every field that an event can have.
func fullEvent() core.Event {
	return core.Event{
		Time: time.Date(2026, 1, 2, 4, 4, 5, 678999999, time.FixedZone("CET", 3600)), Kind: core.EventAttempt, Actor: "root",
		Account: "alain@contoso.com", AppPassword: core.Ref{ID: "0a1b", Name: `Alain's "console"`}, Service: "radius/vpn1",
		Source: "192.0.2.10", Device: "00-11-22-33-44-55", Method: "mschapv2", Reason: core.ReasonOutOfScope, Detail: `a\b`,
	}
}

// The macs of the golden lines were computed by another program:
//
//	hmac.new(bytes([1])*32, previous + line[:line.index(b',"mac":')], "sha256")
func TestGoldenLines(t *testing.T) {
	c := chain{key: newSigner(testKey(1))}
	if c.key.id != goldenKeyID {
		t.Errorf("the key is %s, want %s", c.key.id, goldenKeyID)
	}
	for i, want := range goldenLines() {
		e := []core.Event{fullEvent(), {Kind: core.EventDeleted, Account: "é\u202e😀\xff\n\u2028"}}[i]
		line := appendEnd(appendBody(nil, &e, fullEvent().Time, new(dates)), 0, &c)
		if string(line) != want+"\n" {
			t.Errorf("line %d is\n%swant\n%s", i+1, line, want)
		}
	}
}

// TestEveryField fails for a field of an event that does not reach the line.
func TestEveryField(t *testing.T) {
	line := func(e core.Event) string { return string(appendBody(nil, &e, e.Time, new(dates))) }
	var walk func(t *testing.T, e *core.Event, v reflect.Value, name string)
	walk = func(t *testing.T, e *core.Event, v reflect.Value, name string) {
		before := line(*e)
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(time.Date(1999, 12, 31, 23, 59, 59, 1e6, time.UTC)))
		case v.Kind() == reflect.String:
			v.SetString("value-of-" + name)
			if !strings.Contains(line(*e), "value-of-"+name) {
				t.Errorf("the field %s is not in the line", name)
			}
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(t, e, v.Field(i), name+"."+v.Type().Field(i).Name)
			}
			return
		default:
			t.Fatalf("the field %s has the type %v, which this test does not know", name, v.Type())
		}
		if line(*e) == before {
			t.Errorf("the field %s changes nothing in the line", name)
		}
	}
	e := fullEvent()
	for i := range reflect.TypeFor[core.Event]().NumField() {
		walk(t, &e, reflect.ValueOf(&e).Elem().Field(i), reflect.TypeFor[core.Event]().Field(i).Name)
	}
}

func TestFieldOrder(t *testing.T) {
	e := fullEvent()
	line := appendEnd(appendBody(nil, &e, e.Time, new(dates)), 0, &chain{key: newSigner(testKey(1))})
	dec := json.NewDecoder(bytes.NewReader(line))
	var names []string
	depth, key := 0, true
	for {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch delim, _ := token.(json.Delim); {
		case delim == '{':
			depth, key = depth+1, true
		case delim == '}':
			depth, key = depth-1, true
		default:
			if key {
				names = append(names, token.(string))
			}
			key = !key
		}
	}
	want := "time event actor account app_password id name service source device method result reason detail seq mac"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the fields are %s, want %s", got, want)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{strings.Repeat("a", 512), strings.Repeat("a", 512)},
		{strings.Repeat("a", 513), strings.Repeat("a", 512) + "…[513 octets]"},
		{"a" + strings.Repeat("é", 256), "a" + strings.Repeat("é", 255) + "…[513 octets]"},
		{strings.Repeat("a", 509) + "😀", strings.Repeat("a", 509) + "…[513 octets]"},
		{strings.Repeat("\x80", 600), strings.Repeat("\x80", 508) + "…[600 octets]"},
	} {
		if got := cut(tt.text); got != tt.want {
			t.Errorf("cut(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// The longest line fits into what is read.
func TestLongestLine(t *testing.T) {
	long := strings.Repeat("\x00", 10*maxText)
	e := core.Event{
		Kind: core.EventKind(long), Actor: long, Account: long, AppPassword: core.Ref{ID: long, Name: long}, Service: long,
		Source: long, Device: long, Method: "x", Reason: core.Reason(long), Detail: long,
	}
	line := appendEnd(appendBody(nil, &e, time.Now(), new(dates)), 0, &chain{key: newSigner(testKey(1)), seq: 1 << 63})
	if len(line) > maxLine*3/4 {
		t.Errorf("a line of %d octets; at most %d are read", len(line), maxLine)
	}
}

// oneText is what a text is after it was written and read.
func oneText(text string) string {
	var b strings.Builder
	for _, r := range cut(text) { // as strings.ToValidUTF8, but one for every octet
		b.WriteRune(r)
	}
	return b.String()
}

// FuzzLine: threat R27.
func FuzzLine(f *testing.F) {
	f.Add("alain@contoso.com", "radius/vpn1", "00-11-22-33-44-55", "pad")
	f.Add("a\nb\r\x1b[31m\x00\x7f", "\u202e\u2066\u2028\u2029\u0085\ufeff", "\xff\xc3\xed\xa0\x80\xf0\x9f", "😀\\\"</script>\ufffd")
	f.Add(strings.Repeat("é", 300), strings.Repeat("\xff", 600), strings.Repeat("a", 511)+"é", `\u0000`)
	f.Fuzz(func(t *testing.T, account, service, device, rest string) {
		e := core.Event{
			Kind: core.EventKind(rest), Actor: device, Account: account, AppPassword: core.Ref{ID: rest, Name: service},
			Service: service, Source: rest, Device: device, Method: "chap", Reason: core.Reason(account), Detail: rest,
		}
		c := &chain{key: newSigner(testKey(1))}
		line, ok := bytes.CutSuffix(appendEnd(appendBody(nil, &e, fullEvent().Time, new(dates)), 0, c), []byte("\n"))
		if !ok || len(line) > maxLine {
			t.Fatalf("%q is no line", line)
		}
		for _, b := range line {
			if b < ' ' || b > '~' {
				t.Fatalf("the octet %#x is in %q", b, line)
			}
		}
		got, err := parseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		want := Entry{
			Time: fullEvent().Time.UTC().Truncate(time.Millisecond), Event: core.EventKind(oneText(rest)), Actor: oneText(device),
			Account: oneText(account), AppPassword: core.Ref{ID: oneText(rest), Name: oneText(service)}, Service: oneText(service),
			Source: oneText(rest), Device: oneText(device), Method: "chap", Result: e.Result(), Reason: core.Reason(oneText(account)), Detail: oneText(rest),
			Seq: 1, MAC: c.last.String(),
		}
		if got != want {
			t.Errorf("read back\n%+v, want\n%+v", got, want)
		}
		if utf8.ValidString(account) && len(account) <= maxText && got.Account != account {
			t.Errorf("the account %q came back as %q", account, got.Account)
		}
	})
}
