//go:build !race

package keyring

import (
	"testing"
	"time"
)

// Under the race detector sync.Pool drops states at random.
func TestTagAllocatesNothing(t *testing.T) {
	k := fresh(t)
	if n := testing.AllocsPerRun(1000, func() {
		var inner [32]byte
		if _, ok := k.Tag(k.Newest(), inner[:]); !ok {
			t.Error("no tag")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendOpenAllocatesNothing(t *testing.T) {
	k := fresh(t)
	sealed, room := k.Seal("kind", "key", []byte("plain")), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := k.AppendOpen(room, "kind", "key", sealed); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendSealAllocatesNothing(t *testing.T) {
	k := fresh(t)
	now, room, plain := time.Now(), make([]byte, 0, 500), []byte("plain")
	if n := testing.AllocsPerRun(1000, func() { k.AppendSeal(room, now, "kind", "key", plain) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
