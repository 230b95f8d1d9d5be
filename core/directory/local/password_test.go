package local

import (
	"errors"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// goldenPHC is of "Correct horse, 1". It may not change: stores have such ones.
const goldenPHC = "$argon2id$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$HzRL3ft+bZTuUtmCFNwPhfeI4gKpchDgosGkgrQl0qA"

const (
	salt22 = "AAECAwQFBgcICQoLDA0ODw"
	hash43 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
)

func TestGoldenPHC(t *testing.T) {
	h, err := parsePHC(goldenPHC)
	if err != nil {
		t.Fatal(err)
	}
	d := New(memstore.New(), ring(t), Options{Cost: quick})
	for p, want := range map[string]bool{password: true, password + "x": false, "": false} {
		if got, err := d.matches(t.Context(), h, []byte(p)); got != want || err != nil {
			t.Errorf("%q: %v, %v", p, got, err)
		}
	}
	if h.String() != goldenPHC {
		t.Errorf("written as %s", h)
	}
}

func TestParsePHCRefuses(t *testing.T) {
	good := "$argon2id$v=19$m=65536,t=3,p=4$" + salt22 + "$" + hash43
	if h, err := parsePHC(good); err != nil || h.cost != DefaultCost() {
		t.Fatalf("%+v, %v", h, err)
	}
	for what, change := range map[string][2]string{
		"argon2i":            {"argon2id", "argon2i"},
		"version":            {"v=19", "v=16"},
		"before it":          {"$argon2id", "x$argon2id"},
		"order":              {"m=65536,t=3", "t=3,m=65536"},
		"missing":            {",p=4", ""},
		"a fourth":           {"p=4", "p=4,x=1"},
		"no digits":          {"t=3", "t="},
		"negative":           {"t=3", "t=-3"},
		"no time":            {"t=3", "t=0"},
		"no memory":          {"m=65536", "m=0"},
		"no lane":            {"p=4", "p=0"},
		"too much memory":    {"m=65536", "m=1048577"},
		"too much time":      {"t=3", "t=17"},
		"too many lanes":     {"p=4", "p=17"},
		"lanes beyond octet": {"p=4", "p=260"},
		"beyond 32 bits":     {"m=65536", "m=4295032832"},
		"leading zero":       {"t=3", "t=03"},
		"sign":               {"t=3", "t=+3"},
		"short salt":         {salt22, salt22[:20]},
		"long salt":          {salt22, hash43},
		"short hash":         {hash43, salt22},
		"empty hash":         {hash43, ""},
		"padded":             {hash43, hash43 + "="},
		"loose":              {hash43, hash43[:42] + "9"},
		"line break":         {salt22, salt22[:4] + "\n" + salt22[4:]},
		"a field more":       {hash43, hash43 + "$"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if h, err := parsePHC(text); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %q gives %+v, %v", what, text, h, err)
		} else if strings.Contains(err.Error(), hash43[:20]) {
			t.Errorf("%s: the error holds the hash: %v", what, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(goldenPHC)
	f.Add("$argon2id$v=19$m=1048576,t=16,p=16$" + salt22 + "$" + hash43)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePHC(text)
		if err != nil {
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if !h.cost.bounded() || h.String() != text {
			t.Fatalf("%q is written as %q", text, h)
		}
	})
}
