package table_test

import (
	"math/rand/v2"
	"testing"

	"github.com/keywicket/keywicket/core/internal/table"
)

// It holds what a map would, also where many have their place in the same corner and
// the row goes round the end.
func TestTable(t *testing.T) {
	var all table.Table[int]
	known := map[uint64]int{}
	hashes := make([]uint64, 300)
	for i := range hashes {
		hashes[i] = rand.Uint64()
		if i%2 == 0 { // the last corner
			hashes[i] |= 0xffff << 48
		}
	}
	for i := range 100_000 {
		hash := hashes[rand.IntN(len(hashes))]
		if rand.IntN(2) == 0 {
			all.Put(hash, i+1)
			known[hash] = i + 1
		} else {
			all.Remove(hash)
			delete(known, hash)
		}
		asked := hashes[rand.IntN(len(hashes))]
		all.Fetch(asked)
		if got := all.Get(asked); got != known[asked] {
			t.Fatalf("%x: got %d, want %d", asked, got, known[asked])
		}
	}
	if all.Len() != len(known) {
		t.Errorf("%d are counted, want %d", all.Len(), len(known))
	}
	for _, hash := range hashes {
		if got := all.Get(hash); got != known[hash] {
			t.Errorf("%x at the end: got %d, want %d", hash, got, known[hash])
		}
	}
}

// Nothing is in an empty one, and nothing can be taken out of it.
func TestEmpty(t *testing.T) {
	var all table.Table[int]
	all.Fetch(1)
	all.Remove(1)
	if got := all.Get(1); got != 0 || all.Len() != 0 {
		t.Errorf("got %d of %d", got, all.Len())
	}
}
