package keyring_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
)

// AppendSeal is Seal behind what is there, and allocates nothing where there is
// room.
func TestAppendSeal(t *testing.T) {
	k, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 10, 100, 500} {
		before := append(make([]byte, 0, room+6), "before"...)
		got := k.AppendSeal(before, time.Now(), "session", "vpn1", []byte("plain"))
		if string(got[:6]) != "before" || len(got) != 6+keyring.Overhead+5 {
			t.Fatalf("%d octets of room: %q", room, got)
		}
		plain, err := k.Open("session", "vpn1", got[6:])
		if err != nil || string(plain) != "plain" {
			t.Errorf("%d octets of room: %q, %v", room, plain, err)
		}
		if _, err := k.Open("session", "vpn2", got[6:]); err == nil {
			t.Error("it opens in another place")
		}
	}
}

// AppendOpen is Open behind what is there, also where there is no room, and
// leaves nothing of what it does not open.
func TestAppendOpen(t *testing.T) {
	k, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sealed := k.Seal("session", "vpn1", []byte("plain"))
	for _, room := range []int{0, 3, 5, 10, 500} {
		before := append(make([]byte, 0, room+6), "before"...)
		got, err := k.AppendOpen(before, "session", "vpn1", sealed)
		if err != nil || string(got) != "beforeplain" {
			t.Errorf("%d octets of room: %q, %v", room, got, err)
		}
		clear(before[:cap(before)][6:])
		got, err = k.AppendOpen(before, "session", "vpn2", sealed)
		if !errors.Is(err, keyring.ErrTampered) || string(got) != "before" {
			t.Errorf("%d octets of room, in another place: %q, %v", room, got, err)
		}
		if all := before[:cap(before)]; bytes.Contains(all, []byte("pl")) {
			t.Errorf("%d octets of room: %q is left", room, all)
		}
	}
}
