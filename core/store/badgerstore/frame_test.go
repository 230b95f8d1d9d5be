package badgerstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

func TestFrame(t *testing.T) {
	for _, value := range []string{"", "\x00", "value", strings.Repeat("v", store.MaxValue)} {
		framed := frame([]byte("key"), 7, []byte(value))
		e, err := parseFrame("key", []byte("key"), framed)
		if err != nil || e.Key != "key" || string(e.Value) != value || e.Revision != 7 {
			t.Fatalf("%d octets: %d octets at %d, error %v", len(value), len(e.Value), e.Revision, err)
		}
		if _, err := parseFrame("kez", []byte("kez"), framed); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("at another key: %v", err)
		}
		for at := 0; at < len(framed); at += 1 + len(framed)/100 {
			framed[at] ^= 1
			if _, err := parseFrame("key", []byte("key"), framed); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("octet %d of %d flipped: %v", at, len(framed), err)
			}
			framed[at] ^= 1
		}
		if _, err := parseFrame("key", []byte("key"), framed[:len(framed)-1]); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("one octet cut off: %v", err)
		}
	}
}

// What is taken for a value is one that frame makes of it, to the octet.
func FuzzParseFrame(f *testing.F) {
	f.Add("key", frame([]byte("key"), 1, []byte("value")))
	f.Add("key", frame([]byte("key"), 1<<63, nil))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, key string, framed []byte) {
		e, err := parseFrame(key, []byte(key), framed)
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			t.Error(err)
		case err == nil && !bytes.Equal(frame([]byte(e.Key), e.Revision, e.Value), framed):
			t.Errorf("%x is taken for %+v", framed, e)
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
