package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("", 3600))

func fresh(t testing.TB) *Keyring {
	t.Helper()
	k, err := New(noon)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewIsRandom(t *testing.T) {
	seen := make(map[KeyID]bool)
	for range 100 {
		k := fresh(t)
		if len(k.IDs()) != 1 || k.IDs()[0] != k.Newest() || seen[k.Newest()] {
			t.Fatalf("ids %v", k.IDs())
		}
		seen[k.Newest()] = true
	}
}

func TestRotateAndRetire(t *testing.T) {
	old := fresh(t)
	sealed := old.Seal("kind", "key", []byte("old"))
	tag, _ := old.Tag(old.Newest(), []byte("inner"))

	both, err := old.Rotate(noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(old.IDs()) != 1 {
		t.Error("Rotate changed its receiver")
	}
	if ids := both.IDs(); len(ids) != 2 || ids[0] != old.Newest() || ids[1] != both.Newest() {
		t.Fatalf("ids %v", ids)
	}
	if got, err := both.Open("kind", "key", sealed); err != nil || string(got) != "old" {
		t.Errorf("what was sealed before: %q, %v", got, err)
	}
	if got, ok := both.Tag(old.Newest(), []byte("inner")); !ok || got != tag {
		t.Error("the old key tags otherwise")
	}
	if got, _ := both.Tag(both.Newest(), []byte("inner")); got == tag {
		t.Error("both keys tag alike")
	}
	if both.Jitter("a") != old.Jitter("a") || !bytes.Equal(both.AuditKey(), old.AuditKey()) {
		t.Error("jitter or audit key changed with the rotation")
	}
	if _, err := old.Open("kind", "key", both.Seal("kind", "key", nil)); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), both.Newest().String()) {
		t.Errorf("sealed with the new key, opened with the old: %v", err)
	}

	if _, err := both.Retire(both.Newest()); err == nil {
		t.Error("the newest key was retired")
	}
	if _, err := both.Retire(KeyID{1}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a foreign key was retired: %v", err)
	}
	left, err := both.Retire(old.Newest())
	if err != nil || len(left.IDs()) != 1 || left.Newest() != both.Newest() || len(both.IDs()) != 2 {
		t.Fatalf("retired: %v, %v", left, err)
	}
	if _, err := left.Open("kind", "key", sealed); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("sealed with the retired key: %v", err)
	}
	if _, ok := left.Tag(old.Newest(), []byte("inner")); ok {
		t.Error("the retired key still tags")
	}
}

func TestRotateIsBounded(t *testing.T) {
	k := fresh(t)
	for range maxKeys - 1 {
		var err error
		if k, err = k.Rotate(noon); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Parse(k.Marshal()); err != nil {
		t.Errorf("a full keyring: %v", err)
	}
	if _, err := k.Rotate(noon); err == nil {
		t.Error("more keys than Parse takes")
	}
}

func TestOpenRefuses(t *testing.T) {
	k := fresh(t)
	sealed := k.Seal("kind", "key", []byte("plain"))
	if got, err := k.Open("kind", "key", sealed); err != nil || string(got) != "plain" {
		t.Fatalf("%q, %v", got, err)
	}
	for name, place := range map[string][2]string{
		"other kind": {"kine", "key"}, "other key": {"kind", "kez"}, "swapped": {"key", "kind"},
		"moved octet": {"kindk", "ey"}, "moved back": {"kin", "dkey"}, "no kind": {"", "key"}, "no key": {"kind", ""},
	} {
		if got, err := k.Open(place[0], place[1], sealed); !errors.Is(err, ErrTampered) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for i := range sealed {
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1 << bit
			want := ErrTampered
			switch {
			case i == 0 && changed[0] != 0:
				want = ErrVersion
			case 0 < i && i < headerSize:
				want = ErrUnknownKey
			}
			if got, err := k.Open("kind", "key", changed); !errors.Is(err, want) || got != nil {
				t.Errorf("octet %d, bit %d: %q, %v; want %v", i, bit, got, err, want)
			}
		}
		if got, err := k.Open("kind", "key", sealed[:i]); !errors.Is(err, ErrTampered) || got != nil {
			t.Errorf("cut to %d octets: %q, %v", i, got, err)
		}
	}
	if _, err := k.Open("kind", "key", append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrTampered) {
		t.Errorf("an octet more: %v", err)
	}
	if _, err := k.Open("kind", "key", []byte{2}); !errors.Is(err, ErrVersion) {
		t.Errorf("a short envelope of version 2: %v", err)
	}
}

func TestSealIsFresh(t *testing.T) {
	k := fresh(t)
	if bytes.Equal(k.Seal("a", "b", nil), k.Seal("a", "b", nil)) {
		t.Error("sealed alike twice")
	}
	if got, err := k.Open("a", "b", k.Seal("a", "b", nil)); err != nil || len(got) != 0 {
		t.Errorf("nothing: %q, %v", got, err)
	}
}

func TestTagOfUnknownKey(t *testing.T) {
	k := fresh(t)
	if tag, ok := k.Tag(KeyID{1}, []byte("inner")); ok || tag != [16]byte{} {
		t.Errorf("%x, %v", tag, ok)
	}
}

func TestManyGoroutines(t *testing.T) {
	k := goldenRing(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				tag, _ := k.Tag(k.IDs()[0], []byte("inner hash"))
				plain, err := k.Open("a", "b", k.Seal("a", "b", tag[:]))
				if hex.EncodeToString(tag[:]) != golden[0].tag || err != nil || !bytes.Equal(plain, tag[:]) || k.Jitter("x") == k.Jitter("y") {
					t.Errorf("tag %x, %x, %v", tag, plain, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// leaks reports whether s holds a root or derived key of the golden keyring in
// a form that a print could have.
func leaks(s string) bool {
	k, err := Parse([]byte(heading + "\n2026-01-02T03:04:05Z AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 17b1c475d0aad20c\n"))
	if err != nil {
		panic(err)
	}
	r := k.current.Load().keys[0]
	for _, key := range [][]byte{r.root[:], r.audit[:], r.tags.key[:], r.jitter.key[:]} {
		for _, form := range []string{string(key[:6]), hex.EncodeToString(key[:6]), base64.StdEncoding.EncodeToString(key[:6]), strings.Trim(fmt.Sprint(key[:6]), "[]")} {
			if strings.Contains(strings.ToLower(s), strings.ToLower(form)) {
				return true
			}
		}
	}
	return false
}

func TestNeverPrinted(t *testing.T) {
	k := goldenRing(t)
	type exported struct{ Keyring *Keyring }
	type hidden struct{ keyring *Keyring }
	type inner struct{ ring ring }
	now := k.current.Load()
	for verb := rune('A'); verb <= 'z'; verb++ {
		for _, flags := range []string{"", "+", "#"} {
			format := "%" + flags + string(verb)
			letter := 'a' <= verb|' ' && verb|' ' <= 'z' && !strings.ContainsRune("Tpw", verb)
			if got := fmt.Sprintf(format, k) + fmt.Sprintf(format, now.keys[0]); letter && got != printed+printed {
				t.Errorf("%s gives %s", format, got)
			}
			for _, v := range []any{k, now, *now, now.keys[0], now.retired, exported{k}, &exported{k}, hidden{k}, &hidden{k}, inner{*now}, []*Keyring{k}, now.keys} {
				if got := fmt.Sprintf(format, v); leaks(got) {
					t.Fatalf("%s of %T gives %.200s", format, v, got)
				}
			}
		}
	}
	if !leaks(fmt.Sprint(*now.keys[0].root)) || !leaks(string(k.Marshal())) {
		t.Error("leaks finds nothing at all")
	}
}

func TestNeverLogged(t *testing.T) {
	k := goldenRing(t)
	b, err := json.Marshal(map[string]any{"a": k, "b": k.current.Load(), "c": k.current.Load().keys})
	if want := `{"a":"[keyring]","b":"[keyring]","c":["[keyring]","[keyring]"]}`; err != nil || string(b) != want {
		t.Errorf("JSON is %s, %v", b, err)
	}
	if b, err := k.MarshalText(); err != nil || string(b) != printed {
		t.Errorf("text is %s, %v", b, err)
	}
	if v := k.LogValue(); v.String() != printed {
		t.Errorf("slog value is %s", v)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k, "v", k.current.Load(), "key", k.current.Load().keys[0])
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k, "v", k.current.Load(), "key", k.current.Load().keys[0])
	if leaks(out.String()) || strings.Count(out.String(), printed) != 6 {
		t.Errorf("logged: %s", out.String())
	}
}

func FuzzOpen(f *testing.F) {
	k := goldenRing(f)
	for _, g := range golden {
		f.Add(goldenKind, goldenKey, unhex(f, g.sealed))
	}
	f.Add("", "", []byte{})
	f.Add("a", "b", []byte{2})
	f.Fuzz(func(t *testing.T, kind, key string, sealed []byte) {
		plain, err := k.Open(kind, key, sealed)
		if err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrVersion) {
			t.Fatalf("a fourth error: %v", err)
		}
		if err == nil && (kind != goldenKind || key != goldenKey || string(plain) != goldenPlain) {
			t.Fatalf("forged: %q for %q %q", plain, kind, key)
		}
		if got, err := k.Open(kind, key, k.Seal(kind, key, sealed)); err != nil || !bytes.Equal(got, sealed) {
			t.Fatalf("sealed %q, opened %q, %v", sealed, got, err)
		}
	})
}

func BenchmarkTag(b *testing.B) {
	k, inner := goldenRing(b), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		k.Tag(k.Newest(), inner)
	}
}

func BenchmarkSeal(b *testing.B) {
	k, plain := goldenRing(b), make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(goldenKind, goldenKey, plain)
	}
}

// BenchmarkAppendSeal seals what a sign-in does.
func BenchmarkAppendSeal(b *testing.B) {
	k, now, plain, space := goldenRing(b), time.Now(), make([]byte, 80), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		k.AppendSeal(space, now, "session", "192.0.2.10", plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := goldenRing(b)
	sealed := k.Seal(goldenKind, goldenKey, make([]byte, 2048))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(goldenKind, goldenKey, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
