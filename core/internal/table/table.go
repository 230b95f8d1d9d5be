package table

import (
	"math/bits"

	"github.com/keywicket/keywicket/core/prefetch"
)

// A Table maps hashes to values, none of which is the zero V. The hashes are
// keyed and evenly spread, and whoever has several tables chooses one by the last
// bits. The zero Table is empty.
//
// It is a table with linear probing (Knuth, The Art of Computer Programming,
// volume 3, section 6.4): what is looked for is nearly always in one line of the
// processor's cache, where a map would take two or three.
type Table[V comparable] struct {
	slots []slot[V] // a power of two of them, at most three quarters taken; none at first
	n     int       // taken
}

type slot[V comparable] struct {
	hash  uint64
	value V // zero: free
}

const leastSlots = 8

// home is where hash is looked for first.
func (t *Table[V]) home(hash uint64) int {
	hi, _ := bits.Mul64(hash, uint64(len(t.slots)))
	return int(hi)
}

// find returns where hash is, or the free slot where it would go. There are slots.
func (t *Table[V]) find(hash uint64) int {
	var free V
	i := t.home(hash)
	for t.slots[i].value != free && t.slots[i].hash != hash {
		i = t.next(i)
	}
	return i
}

func (t *Table[V]) next(i int) int { return (i + 1) & (len(t.slots) - 1) }

// Len returns how many values there are.
func (t *Table[V]) Len() int { return t.n }

// Fetch has fetched where hash is looked for.
func (t *Table[V]) Fetch(hash uint64) {
	if t.n > 0 {
		prefetch.Value(&t.slots[t.home(hash)])
	}
}

// Get returns the value of hash, or the zero V.
func (t *Table[V]) Get(hash uint64) (v V) {
	if t.n == 0 {
		return v
	}
	return t.slots[t.find(hash)].value
}

// Put makes v, which is not zero, the value of hash.
func (t *Table[V]) Put(hash uint64, v V) {
	var free V
	if 4*(t.n+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]slot[V], max(leastSlots, 2*len(old)))
		for _, s := range old {
			if s.value != free {
				t.slots[t.find(s.hash)] = s
			}
		}
	}
	s := &t.slots[t.find(hash)]
	if s.value == free {
		t.n++
	}
	*s = slot[V]{hash, v}
}

// Remove takes the value of hash out, and moves up what stands behind it because its
// own place was taken. Where there is none, nothing happens.
func (t *Table[V]) Remove(hash uint64) {
	var none V
	if t.Get(hash) == none {
		return
	}
	free := t.find(hash)
	for i := t.next(free); t.slots[i].value != none; i = t.next(i) {
		home := t.home(t.slots[i].hash)
		if mask := len(t.slots) - 1; (i-home)&mask >= (i-free)&mask { // its way from home leads past free
			t.slots[free], free = t.slots[i], i
		}
	}
	t.slots[free] = slot[V]{}
	t.n--
}
