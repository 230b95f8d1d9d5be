package core

import "math/bits"

// A cacheTable finds accounts by the hash of their names. It is a table with
// linear probing (Knuth, The Art of Computer Programming, volume 3, section 6.4):
// what is looked for is nearly always in one line of the processor's cache, where
// a map would take two or three.
type cacheTable struct {
	slots []cacheSlot // a power of two of them, at most three quarters taken; none at first
	n     int         // taken
}

type cacheSlot struct {
	hash    nameHash
	account *account // nil: free
}

const leastSlots = 8

// home is where hash is looked for first. The last bits of it chose the shard.
func (t *cacheTable) home(hash nameHash) int {
	hi, _ := bits.Mul64(uint64(hash), uint64(len(t.slots)))
	return int(hi)
}

// find returns where hash is, or the free slot where it would go. There are slots.
func (t *cacheTable) find(hash nameHash) int {
	i := t.home(hash)
	for t.slots[i].account != nil && t.slots[i].hash != hash {
		i = t.next(i)
	}
	return i
}

func (t *cacheTable) next(i int) int { return (i + 1) & (len(t.slots) - 1) }

// get returns the account with hash, or nil.
func (t *cacheTable) get(hash nameHash) *account {
	if t.n == 0 {
		return nil
	}
	return t.slots[t.find(hash)].account
}

// put takes a in. None with its hash is there.
func (t *cacheTable) put(hash nameHash, a *account) {
	if 4*(t.n+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]cacheSlot, max(leastSlots, 2*len(old)))
		for _, s := range old {
			if s.account != nil {
				t.slots[t.find(s.hash)] = s
			}
		}
	}
	t.slots[t.find(hash)] = cacheSlot{hash, a}
	t.n++
}

// remove takes out what has hash, and moves up what stands behind it because its
// own place was taken.
func (t *cacheTable) remove(hash nameHash) {
	free := t.find(hash)
	for i := t.next(free); t.slots[i].account != nil; i = t.next(i) {
		home := t.home(t.slots[i].hash)
		if mask := len(t.slots) - 1; (i-home)&mask >= (i-free)&mask { // its way from home leads past free
			t.slots[free], free = t.slots[i], i
		}
	}
	t.slots[free] = cacheSlot{}
	t.n--
}
