package keyring

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	k, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k2, err := Parse(k.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	p, err := k2.Open("a", "b", k.Seal("a", "b", []byte("x")))
	if err != nil || string(p) != "x" {
		t.Fatal(err)
	}
	if _, err := k2.Open("ab", "", k.Seal("a", "b", []byte("x"))); !errors.Is(err, ErrTampered) {
		t.Fatal(err)
	}
	f := t.TempDir() + "/k"
	if err := k.WriteFile(f); err != nil {
		t.Fatal(err)
	}
	if err := k.WriteFile(f); !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	if _, err := ReadFile(f); err != nil {
		t.Fatal(err)
	}
	in := []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	if n := testing.AllocsPerRun(100, func() { k.Tag(k.Newest(), in) }); n != 0 {
		t.Fatal(n)
	}
}
