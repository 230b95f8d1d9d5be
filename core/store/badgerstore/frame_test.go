package badgerstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

// frame is the stored form of value at key.
func frame(key string, r store.Revision, value []byte) []byte {
	framed := frameOf(value)
	finish(framed, []byte(key), r)
	return framed
}

func TestFrame(t *testing.T) {
	for _, value := range []string{"", "\x00", "value", strings.Repeat("v", store.MaxValue)} {
		framed := frame("key", 7, []byte(value))
		r, got, err := parseFrame(framed, []byte("key"))
		if err != nil || string(got) != value || r != 7 {
			t.Fatalf("%d octets: %d octets at %d, error %v", len(value), len(got), r, err)
		}
		if _, _, err := parseFrame(framed, []byte("kez")); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("at another key: %v", err)
		}
		for at := 0; at < len(framed); at += 1 + len(framed)/100 {
			framed[at] ^= 1
			if _, _, err := parseFrame(framed, []byte("key")); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("octet %d of %d flipped: %v", at, len(framed), err)
			}
			framed[at] ^= 1
		}
		if _, _, err := parseFrame(framed[:len(framed)-1], []byte("key")); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("one octet cut off: %v", err)
		}
	}
}

// What is taken for a value is one that frame makes of it, to the octet.
func FuzzParseFrame(f *testing.F) {
	f.Add("key", frame("key", 1, []byte("value")))
	f.Add("key", frame("key", 1<<63, nil))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, key string, framed []byte) {
		r, value, err := parseFrame(framed, []byte(key))
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			t.Error(err)
		case err == nil && !bytes.Equal(frame(key, r, value), framed):
			t.Errorf("%x is taken for %q at %d", framed, value, r)
		}
	})
}

// No log makes the reader panic or go on for ever, and no revision comes
// without its link.
func FuzzReadLog(f *testing.F) {
	f.Add(make([]byte, logHead))
	f.Add(append(make([]byte, logHead), txnRecord, 0, 1, 0, 0, 'k', 0, 0, 0, 0))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = readLog(data, func(before, own store.Revision) error {
			if before >= own {
				panic("a link goes backwards")
			}
			return nil
		})
	})
}
