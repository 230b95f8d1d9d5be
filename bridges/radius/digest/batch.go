package digest

import (
	"crypto/md5" //nolint:gosec // RADIUS knows nothing else
	"encoding/binary"
	"math"
	"slices"
)

const (
	// Size is the octets of a sum.
	Size = 16

	block = 64 // octets that MD5 takes at a time
	lanes = 8  // texts that are worked on at the same time
)

// A state is MD5 after some blocks.
type state [4]uint32

// A Key is what HMAC of a secret begins and ends with (RFC 2104).
type Key struct{ inner, outer state }

// NewKey makes a Key of a secret.
func NewKey(secret []byte) *Key {
	var padded [block]byte
	if len(secret) > block {
		sum := md5.Sum(secret) //nolint:gosec // see above
		secret = sum[:]
	}
	copy(padded[:], secret)
	b := NewBatch()
	for i := range padded {
		padded[i] ^= 0x36
	}
	k := &Key{inner: b.after(begin(), &padded)}
	for i := range padded {
		padded[i] ^= 0x36 ^ 0x5c
	}
	k.outer = b.after(begin(), &padded)
	return k
}

// A text is what a sum is made of.
type text struct {
	key  *Key // nil: MD5 alone
	at   int  // in room, and then its padding
	size int
	sum  *[Size]byte // where it goes
}

// A Batch makes sums. It is for one goroutine.
type Batch struct {
	wide      bool // the processor can
	constants [64]uint32

	texts []text
	room  []byte
	used  int // of room, since it was wiped
	next  int // text

	lanes  [lanes]lane
	states [4][lanes]uint32
	words  [block / 4][lanes]uint32 // of the blocks at hand
}

// A lane works on a text.
type lane struct {
	text  int // -1: on none
	rest  []byte
	outer bool // of HMAC
}

// NewBatch makes an empty Batch.
func NewBatch() *Batch {
	b := &Batch{wide: wide()}
	for i := range b.constants { // RFC 1321, section 3.4
		b.constants[i] = uint32(math.Abs(math.Sin(float64(i+1))) * (1 << 32))
	}
	return b
}

// Reset makes b empty. What was in it stands there until Wipe.
func (b *Batch) Reset() {
	b.used = max(b.used, len(b.room))
	b.texts, b.room = b.texts[:0], b.room[:0]
}

// Wipe is Reset that leaves nothing of any text since the last one, and of no sum.
func (b *Batch) Wipe() {
	b.Reset()
	clear(b.room[:b.used])
	clear(b.states[:])
	clear(b.words[:])
	b.used = 0
}

// Text adds a text of so many octets, and returns where to write them before
// anything else is added. Make writes its sum to sum, which nobody reads before:
// with a key its HMAC, else its MD5.
func (b *Batch) Text(k *Key, size int, sum *[Size]byte) []byte {
	at := len(b.room)
	whole := (size + 8 + block) / block * block
	b.room = slices.Grow(b.room, whole)[:at+whole]
	b.texts = append(b.texts, text{key: k, at: at, size: size, sum: sum})
	return b.room[at : at+size : at+size]
}

// Make makes the sums of all texts since Reset.
func (b *Batch) Make() {
	b.next = 0
	for i := range b.lanes {
		b.take(i)
	}
	for {
		busy := 0
		for i := range b.lanes {
			l := &b.lanes[i]
			if len(l.rest) == 0 {
				if l.text < 0 {
					continue
				}
				b.end(i)
				if l.text < 0 {
					continue
				}
			}
			b.load(i, (*[block]byte)(l.rest))
			l.rest = l.rest[block:]
			busy++
		}
		if busy == 0 {
			return
		}
		b.step()
	}
}

// take gives the next text to a lane, if there is one.
func (b *Batch) take(lane int) {
	l := &b.lanes[lane]
	l.text, l.outer = -1, false
	if b.next == len(b.texts) {
		return
	}
	t := &b.texts[b.next]
	l.text = b.next
	b.next++
	from, before := begin(), 0
	if t.key != nil {
		from, before = t.key.inner, block
	}
	b.begin(lane, from, before, b.room[t.at:], t.size)
}

// begin has a lane begin with size octets, which have room for their end behind
// them (RFC 1321, sections 3.1 and 3.2).
func (b *Batch) begin(lane int, from state, before int, octets []byte, size int) {
	octets = octets[:(size+8+block)/block*block]
	clear(octets[size:])
	octets[size] = 0x80
	binary.LittleEndian.PutUint64(octets[len(octets)-8:], uint64(before+size)*8)
	b.lanes[lane].rest = octets
	for i, word := range from {
		b.states[i][lane] = word
	}
}

// end takes what a lane made, and gives it what is next.
func (b *Batch) end(lane int) {
	l := &b.lanes[lane]
	t := &b.texts[l.text]
	for i := range b.states {
		binary.LittleEndian.PutUint32(t.sum[4*i:], b.states[i][lane])
	}
	if t.key == nil || l.outer {
		b.take(lane)
		return
	}
	l.outer = true
	octets := b.room[t.at:]
	copy(octets, t.sum[:])
	b.begin(lane, t.key.outer, block, octets, Size)
}

// load puts a block into a lane.
func (b *Batch) load(lane int, octets *[block]byte) {
	for i := range b.words {
		b.words[i][lane] = binary.LittleEndian.Uint32(octets[4*i:])
	}
}

// step takes the loaded blocks into the states.
func (b *Batch) step() {
	if b.wide {
		blocks(&b.states, &b.words, &b.constants)
		return
	}
	for i := range b.lanes {
		if b.lanes[i].text >= 0 {
			b.one(i)
		}
	}
}
