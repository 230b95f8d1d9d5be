package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	line1 = "2026-01-02T03:04:05Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 17b1c475d0aad20c\n"
	line2 = "2026-07-01T00:00:00Z gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaXmJmam5ydnp8= 5531041059c41db9\n"
)

func TestMarshalThenParse(t *testing.T) {
	want := heading + "\n" + line1 + line2
	if got := string(goldenRing(t).Marshal()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	k := fresh(t)
	again, err := Parse(k.Marshal())
	if err != nil || !bytes.Equal(again.Marshal(), k.Marshal()) {
		t.Errorf("%v", err)
	}
	if !bytes.HasPrefix(k.Marshal(), []byte(heading+"\n2026-03-01T11:00:00Z ")) {
		t.Errorf("not in UTC: %.60s", k.Marshal())
	}
}

func TestParseTakes(t *testing.T) {
	for name, text := range map[string]string{
		"no newline at the end": heading + "\n" + line1 + strings.TrimSpace(line2),
		"comments, empty lines": heading + "\n\n# old\n" + line1 + "  # new\n\t\n" + line2 + "#",
		"CRLF":                  strings.ReplaceAll(heading+"\n"+line1+line2, "\n", "\r\n"),
		"tabs":                  heading + "\n" + strings.ReplaceAll(line1, " ", "\t") + line2,
	} {
		k, err := Parse([]byte(text))
		if err != nil || len(k.IDs()) != 2 || k.Newest().String() != golden[1].id {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseOrderIsThatOfTheFile(t *testing.T) {
	k, err := Parse([]byte(heading + "\n" + line2 + line1)) // the clock was set back between the two
	if err != nil || k.Newest().String() != golden[0].id {
		t.Errorf("newest is %v, %v", k, err)
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(old, new string) string { return heading + "\n" + strings.Replace(line1, old, new, 1) }
	many := heading + "\n"
	for i := range maxKeys + 1 {
		r, err := newRootKey(&[rootSize]byte{byte(i), 1}, noon)
		if err != nil {
			t.Fatal(err)
		}
		many += strings.SplitAfterN(string(newKeyring(&ring{keys: []*rootKey{r}}).Marshal()), "\n", 2)[1]
	}
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":         {"", "line 1: empty"},
		"no heading":      {line1, "line 1: no keyring"},
		"newer":           {"keywicket-keyring 2\n" + line1, "line 1: a keyring of another version"},
		"longer heading":  {heading + "0\n" + line1, "line 1: a keyring of another version"},
		"comment first":   {"# x\n" + heading + "\n" + line1, "line 1: no keyring"},
		"no key":          {heading + "\n# none\n", "line 2: the text ends without a key"},
		"only a heading":  {heading, "line 1: the text ends without a key"},
		"twice":           {heading + "\n" + line1 + line2 + line1, "line 4: the key 17b1c475d0aad20c stands here a second time"},
		"no time":         {change("2026-01-02T03:04:05Z", "yesterday"), "line 2: the first field is no time"},
		"order of fields": {change("2026-01-02T03:04:05Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-02T03:04:05Z"), "line 2: the first field is no time"},
		"no id":           {change(" 17b1c475d0aad20c", ""), "line 2: 2 fields"},
		"a field more":    {change("\n", " x\n"), "line 2: 4 fields"},
		"other digit":     {change("AAEC", "BAEC"), "line 2: key and key id do not belong together"},
		"other id":        {change("17b1", "17b2"), "line 2: key and key id do not belong together"},
		"upper-case id":   {change("17b1c", "17B1C"), "line 2: key and key id do not belong together"},
		"short key":       {change("AAEC", ""), "line 2: a key of 40 base64 digits"},
		"no base64":       {change("AAEC", "A!EC"), "line 2: the key is not the base64"},
		"loose base64":    {change("Hh8=", "Hh9="), "line 2: the key is not the base64"},
		"unpadded base64": {change("Hh8=", "Hh8A"), "line 2: the key is not the base64"},
		"damaged second":  {heading + "\n#\n" + line1 + "\n" + line2[:50], "line 5: 2 fields"},
		"too many":        {many, fmt.Sprintf("line %d: more than %d keys", maxKeys+2, maxKeys)},
		"too long":        {heading + "\n" + line1 + strings.Repeat("#\n", maxText/2), "at most 65536 are read"},
	} {
		k, err := Parse([]byte(tt.text))
		if k != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
		if err != nil && (leaks(err.Error()) || strings.Contains(err.Error(), "AECA")) {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
}

// TestParseNoticesEveryCut cuts the text anywhere within a line.
func TestParseNoticesEveryCut(t *testing.T) {
	text := heading + "\n" + line1
	for i := range len(text) - 1 { // without the last newline it is whole
		if _, err := Parse([]byte(text[:i])); err == nil {
			t.Errorf("cut to %d octets: no error", i)
		}
	}
}

// TestParseNoticesEveryWrongOctet changes each octet of key and id.
func TestParseNoticesEveryWrongOctet(t *testing.T) {
	text := []byte(heading + "\n" + line1)
	for i := len(heading) + len("\n2026-01-02T03:04:05Z "); i < len(text)-1; i++ {
		for _, c := range []byte("AZaz09+/=! \x00\xff") {
			changed := bytes.Clone(text)
			changed[i] = c
			if _, err := Parse(changed); c != text[i] && err == nil {
				t.Errorf("octet %d is %q: no error", i, c)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goldenText(f))
	f.Add([]byte(heading + "\n" + line1))
	f.Add([]byte(heading + "\r\n# x\r\n" + line2))
	f.Add([]byte("keywicket-keyring 2\n"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := Parse(text)
		if err != nil {
			if k != nil || leaks(err.Error()) {
				t.Fatalf("%v, %v", k, err)
			}
			return
		}
		marshalled := k.Marshal()
		again, err := Parse(marshalled)
		if err != nil || !bytes.Equal(again.Marshal(), marshalled) {
			t.Fatalf("%v", err)
		}
		if _, err := again.Open("a", "b", k.Seal("a", "b", nil)); err != nil || errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
	})
}
