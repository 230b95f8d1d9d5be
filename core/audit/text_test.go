package audit

import (
	"strings"
	"testing"
	"time"
)

// What stands in a line as it is, is found octet by octet.
func TestPlain(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := []byte(strings.Repeat("~", length))
				text[at] = byte(c)
				want := c >= ' ' && c <= '~' && c != '"' && c != '\\'
				if got := isPlain(string(text)); got != want {
					t.Fatalf("isPlain(%q) = %v", text, got)
				}
				if got := string(appendText(nil, string(text))); want != (got == string(text)+`"`) {
					t.Fatalf("%q is written as %s", text, got)
				}
			}
		}
	}
	if !isPlain("") {
		t.Error("the empty text is not plain")
	}
}

func TestDates(t *testing.T) {
	d := new(dates)
	first := time.Date(2026, 12, 31, 23, 59, 59, 999999999, time.UTC)
	for _, at := range []time.Time{
		first, first.Add(1), first, first.Add(1234567890), first.Add(-999999999), first.Add(time.Minute).In(time.FixedZone("", -3600)),
		time.Unix(-1, 5e6), time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Now(),
	} {
		if got, want := string(d.append([]byte("x"), at)), at.UTC().Format("x2006-01-02T15:04:05.000Z07:00"); got != want {
			t.Errorf("%v is written as %s, want %s", at, got, want)
		}
	}
}

// An event whose time no line can hold happened now.
func TestTimes(t *testing.T) {
	opt := testOptions(t)
	now := newClock().now()
	l := open(t, opt)
	for _, at := range []time.Time{
		{},
		time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 1)),
		time.Date(0, 12, 31, 23, 59, 59, 0, time.FixedZone("", 3600)),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -1)),
		time.Date(200000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		e := attempt("a")
		e.Time = at
		record(t, l, e)
	}
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	e := attempt("last")
	e.Time = last.In(time.FixedZone("", 3600))
	record(t, l, e)
	for _, e := range readAll(t, opt.Dir, Filter{}) {
		want := now
		if e.Account == "last" {
			want = last
		}
		if !e.Time.Equal(want) {
			t.Errorf("event %d happened at %v, want %v", e.Seq, e.Time, want)
		}
	}
}
