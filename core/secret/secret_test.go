package secret

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// vector is the one of the design: 19 letters and their check letter.
const vector = "kfmwtbrqhjaxpdnesgcy"

func parse(t testing.TB, typed string) Text {
	t.Helper()
	text, err := Parse([]byte(typed))
	if err != nil {
		t.Fatalf("Parse(%q): %v", typed, err)
	}
	return text
}

// seeded is a source of octets that is the same in every run.
func seeded(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

func TestVector(t *testing.T) {
	text := parse(t, vector)
	if text.Canonical() != vector || text.Letters() != Standard {
		t.Errorf("got %q with %d letters", text.Canonical(), text.Letters())
	}
	if got, want := text.Grouped(), "kfmw-tbrq-hjax-pdne-sgcy"; got != want {
		t.Errorf("Grouped() = %q, want %q", got, want)
	}
	if got := string(text.AppendTo([]byte("id:"))); got != "id:"+vector {
		t.Errorf("AppendTo gave %q", got)
	}
	for _, last := range alphabet {
		_, err := Parse([]byte(vector[:Standard-1] + string(last)))
		if want := last == 'y'; (err == nil) != want || err != nil && !errors.Is(err, ErrCheck) {
			t.Errorf("check letter %c: %v", last, err)
		}
	}
}

// TestChecksumIsTheFormula holds Horner's rule against the sum as it is
// written in the design.
func TestChecksumIsTheFormula(t *testing.T) {
	for _, letters := range []int{Tiny, Standard, Long} {
		for i := range 100 {
			text, err := Generate(seeded(byte(i)), letters)
			if err != nil {
				t.Fatal(err)
			}
			sum, power := 0, 1
			for _, c := range text.Canonical() {
				power = power * 5 % 23
				sum += strings.IndexRune("abcdefghjkmnpqrstuvwxyz", c) * power
			}
			if sum%23 != 0 {
				t.Fatalf("%s: the sum is %d modulo 23", text.Canonical(), sum%23)
			}
		}
	}
}

func TestEverySingleErrorIsFound(t *testing.T) {
	for _, letters := range []int{Tiny, Standard, Long} {
		for n := range 50 {
			text, err := Generate(seeded(byte(n)), letters)
			if err != nil {
				t.Fatal(err)
			}
			right := text.Canonical()
			for i := range right {
				for _, c := range []byte(alphabet) {
					wrong := []byte(right)
					wrong[i] = c
					if _, err := Parse(wrong); c != right[i] && !errors.Is(err, ErrCheck) {
						t.Fatalf("%s for %s: %v", wrong, right, err)
					}
				}
				if i == 0 {
					continue
				}
				wrong := []byte(right)
				wrong[i-1], wrong[i] = wrong[i], wrong[i-1]
				if _, err := Parse(wrong); right[i-1] != right[i] && !errors.Is(err, ErrCheck) {
					t.Fatalf("%s for %s: %v", wrong, right, err)
				}
			}
		}
	}
}

func TestParseCanonicalForm(t *testing.T) {
	spread := func(sep string) string { return strings.Join(strings.Split(vector, ""), sep) }
	for name, typed := range map[string]string{
		"upper case":           strings.ToUpper(vector),
		"grouped":              "kfmw-tbrq-hjax-pdne-sgcy",
		"spaces":               " kfmw tbrq  hjax\tpdne sgcy \r\n",
		"no-break space":       spread("\u00a0"),
		"narrow no-break":      spread("\u202f"),
		"ideographic space":    spread("\u3000"),
		"zero width space":     spread("\u200b"),
		"byte order mark":      "\ufeff" + vector,
		"soft hyphen":          spread("\u00ad"),
		"hyphen U+2010":        spread("\u2010"),
		"no-break hyphen":      spread("\u2011"),
		"en dash":              spread("\u2013"),
		"em dash":              spread("\u2014"),
		"horizontal bar":       spread("\u2015"),
		"minus sign":           spread("\u2212"),
		"full-width hyphen":    spread("\uff0d"),
		"as long as may be":    vector + strings.Repeat(" ", maxTyped-Standard),
		"separators at an end": "--" + vector + "--",
	} {
		if got, err := Parse([]byte(typed)); err != nil || got.Canonical() != vector {
			t.Errorf("%s: got %q, %v", name, got.Canonical(), err)
		}
		if !Shaped(typed) {
			t.Errorf("%s: not Shaped", name)
		}
	}
}

// Every octet is a letter, left out or refused, and every rune left out or refused.
func TestParseEveryRune(t *testing.T) {
	letters := alphabet + strings.ToUpper(alphabet)
	for c := range 256 {
		_, err := Parse(append([]byte{byte(c)}, vector[1:]...))
		if isLetter := strings.IndexByte(letters, byte(c)) >= 0; isLetter == errors.Is(err, ErrShape) {
			t.Errorf("the octet %#x in the place of a letter: %v", c, err)
		}
		_, err = Parse(append([]byte(vector), byte(c)))
		if leftOut := strings.IndexByte("\t\n\v\f\r -", byte(c)) >= 0; leftOut == errors.Is(err, ErrShape) {
			t.Errorf("the octet %#x behind the letters: %v", c, err)
		}
	}
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		leftOut := unicode.In(r, unicode.White_Space, unicode.Pd) || strings.ContainsRune("\u00ad\u2212\u200b\u2060\ufeff", r)
		if _, err := Parse(append([]byte(vector), string(r)...)); leftOut != (err == nil) {
			t.Fatalf("%U behind the letters: %v", r, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		typed string
		want  error
	}{
		"nothing":               {"", ErrShape},
		"separators":            {" - - ", ErrShape},
		"a letter less":         {vector[:Standard-1], ErrShape},
		"a letter more":         {vector + "a", ErrShape},
		"29 letters":            {strings.Repeat("a", Long+1), ErrShape},
		"i":                     {"i" + vector[1:], ErrShape},
		"l":                     {"l" + vector[1:], ErrShape},
		"o":                     {"o" + vector[1:], ErrShape},
		"digit":                 {"1" + vector[1:], ErrShape},
		"NUL at the end":        {vector + "\x00", ErrShape},
		"Kelvin sign for k":     {"\u212a" + vector[1:], ErrShape},
		"invalid UTF-8":         {vector + "\xff", ErrShape},
		"Latin-1 no-break":      {vector[:4] + "\xa0" + vector[4:], ErrShape},
		"a rune past a letter":  {"\u0161" + vector[1:], ErrShape}, // its low octet is an a
		"an octet too long":     {vector + strings.Repeat(" ", maxTyped-Standard+1), ErrShape},
		"mistyped":              {"a" + vector[1:], ErrCheck},
		"mistyped, upper, dash": {"A" + strings.ToUpper(vector[1:4]) + "-" + vector[4:], ErrCheck},
	} {
		got, err := Parse([]byte(tt.typed))
		if !errors.Is(err, tt.want) || got.Letters() != 0 {
			t.Errorf("%s: %d letters, %v; want %v", name, got.Letters(), err, tt.want)
		}
		if Shaped(tt.typed) != errors.Is(tt.want, ErrCheck) {
			t.Errorf("%s: Shaped is %v", name, Shaped(tt.typed))
		}
	}
}

func TestGenerateRejects(t *testing.T) {
	// 253, 254 and 255 are thrown away; 252 is the last z, 23 the second a.
	source := []byte{255, 22, 254, 253, 252, 23, 0, 1}
	source = append(source, bytes.Repeat([]byte{2}, Tiny)...)
	text, err := Generate(bytes.NewReader(source), Tiny)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text.Canonical()[:Tiny-1], "zzaab"+strings.Repeat("c", 10); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := Parse([]byte(text.Canonical())); err != nil {
		t.Error(err)
	}
}

// stuck is a source that repeats one octet for ever.
type stuck byte

func (s stuck) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s)
	}
	return len(p), nil
}

func TestGenerateFails(t *testing.T) {
	for _, letters := range []int{-1, 0, 1, 15, 17, 19, 21, 29, 276} {
		if text, err := Generate(seeded(1), letters); err == nil || text.Letters() != 0 {
			t.Errorf("%d letters were made", letters)
		}
	}
	text, err := Generate(bytes.NewReader(make([]byte, Standard-2)), Standard)
	if !errors.Is(err, io.EOF) || text.Letters() != 0 {
		t.Errorf("a source of 18 octets gave %d letters, %v", text.Letters(), err)
	}
	if text, err := Generate(stuck(255), Standard); err == nil || text.Letters() != 0 {
		t.Errorf("a source of nothing but 255 gave %d letters", text.Letters())
	}
}

// TestLettersAreEven counts letters at each place. With 22 degrees of freedom
// chi-square is below 60 but once in 50,000; the seed is fixed besides.
func TestLettersAreEven(t *testing.T) {
	const texts = 20000
	r := seeded(7)
	var seen [Standard][base]int
	for range texts {
		text, err := Generate(r, Standard)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []byte(text.Canonical()) {
			seen[i][strings.IndexByte(alphabet, c)]++
		}
	}
	const want = float64(texts) / float64(base)
	for i := range seen {
		chi := 0.0
		for _, n := range seen[i] {
			chi += (float64(n) - want) * (float64(n) - want) / want
		}
		if chi > 60 {
			t.Errorf("place %d: chi-square is %.1f: %v", i, chi, seen[i])
		}
	}
}

func TestWipe(t *testing.T) {
	text := parse(t, vector)
	other := text
	text.Wipe()
	if text.Letters() != 0 || text.Canonical() != "" || text.masked != [Long]byte{} {
		t.Error("letters are left")
	}
	if other.Canonical() != vector {
		t.Error("a copy was wiped with it")
	}
}

func TestNothingAllocates(t *testing.T) {
	typed := []byte("KFMW-tbrq-hjax-pdne-sgcy")
	long := vector + strings.Repeat("\u00a0", 50)
	if n := testing.AllocsPerRun(100, func() {
		text, err := Parse(typed)
		var b [64]byte
		if err != nil || len(text.AppendTo(b[:0])) != Standard || !Shaped(long) {
			t.Error("not parsed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// leaks reports whether s holds letters of the vector in a form that a print
// could have: as they are, in hex, or as decimal octets.
func leaks(s string) bool {
	s = strings.ToLower(s)
	return strings.Contains(s, vector[:4]) || strings.Contains(s, hex.EncodeToString([]byte(vector[:3]))) ||
		strings.Contains(s, "107 102 109") || strings.Contains(s, "0x6b, 0x66") || strings.Contains(s, "6b 66")
}

func TestNeverPrinted(t *testing.T) {
	text := parse(t, vector)
	type exported struct{ Text Text }
	type hidden struct{ text Text }
	for verb := rune('A'); verb <= 'z'; verb++ {
		for _, flags := range []string{"", "+", "#", " ", "0", "-30", "30.2", "# "} {
			format := "%" + flags + string(verb)
			got := fmt.Sprintf(format, text)
			if letter := 'a' <= verb|' ' && verb|' ' <= 'z'; letter && !strings.ContainsRune("Tpw", verb) && got != printed {
				t.Errorf("%s gives %s", format, got)
			}
			for _, v := range []any{text, &text, exported{text}, &exported{text}, []Text{text}, map[string]Text{"a": text}, hidden{text}, &hidden{text}, map[int]*hidden{1: {text}}} {
				if got := fmt.Sprintf(format, v); leaks(got) {
					t.Errorf("%s of %T gives %s", format, v, got)
				}
			}
		}
	}
	if got := fmt.Sprintf("%v %+v", exported{text}, &exported{text}); got != "{[app password]} &{Text:[app password]}" {
		t.Error(got)
	}
	if got := fmt.Errorf("wrong: %v", text).Error(); got != "wrong: [app password]" {
		t.Error(got)
	}
}

func TestNeverLogged(t *testing.T) {
	text := parse(t, vector)
	type holder struct {
		Text Text
		Ptr  *Text
		Map  map[string]Text
	}
	v := holder{text, &text, map[string]Text{"a": text}}
	b, err := json.Marshal(v)
	if want := `{"Text":"[app password]","Ptr":"[app password]","Map":{"a":"[app password]"}}`; err != nil || string(b) != want {
		t.Errorf("JSON is %s, %v", b, err)
	}
	if b, err := text.MarshalText(); err != nil || string(b) != printed {
		t.Errorf("text is %s, %v", b, err)
	}
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	} {
		var out strings.Builder
		slog.New(handler(&out)).Info("x", "a", text, "b", &text, "c", v, slog.Group("d", "e", text))
		if leaks(out.String()) || strings.Count(out.String(), printed) < 3 {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{vector, "KFMW tbrq-hjax\u00a0pdne\u2011sgcy", "aaaaaaaaaaaaaaaa", strings.Repeat("a", Long), "\xff", "a" + vector[1:], "\u00ad" + vector} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, typed []byte) {
		text, err := Parse(typed)
		if got := Shaped(string(typed)); got != (err == nil || errors.Is(err, ErrCheck)) {
			t.Fatalf("Shaped is %v, Parse says %v", got, err)
		}
		if err != nil {
			if text.Letters() != 0 || !errors.Is(err, ErrShape) && !errors.Is(err, ErrCheck) {
				t.Fatalf("%d letters, %v", text.Letters(), err)
			}
			return
		}
		want := text.Canonical()
		for _, again := range []string{want, strings.ToUpper(want), text.Grouped(), strings.ReplaceAll(text.Grouped(), "-", "\u00a0"), "\t" + want + "\u2014"} {
			if got, err := Parse([]byte(again)); err != nil || got.Canonical() != want {
				t.Fatalf("Parse(%q) = %q, %v; want %q", again, got.Canonical(), err, want)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	typed := []byte("KFMW-tbrq-hjax-pdne-sgcy")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(typed); err != nil {
			b.Fatal(err)
		}
	}
}
