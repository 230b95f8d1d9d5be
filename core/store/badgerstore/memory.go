package badgerstore

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/keywicket/keywicket/core/internal/table"
	"github.com/keywicket/keywicket/core/store"
)

// A memory holds entries in memory too, so that they are read without waiting for a
// disk, and knows of which keys there are none.
//
// The committer writes to it what it has written to the database, and shows both
// to readers at the same time. Beside that it is filled from the database, page by
// page, but for what was written since a page was read.
//
// The entries are in few large pieces without a pointer, into which the
// collector of garbage does not look.
type memory struct {
	held  []string // entries whose keys begin so are held
	known []string // of keys that begin so it is only known whether there are any
	limit int      // octets
	hash  func(key string) uint64

	mu       sync.RWMutex
	places   [tables]table.Table[place] // by the hash of the key
	n        int                        // places
	entries  int                        // that are held
	pages    [][]byte
	end      int                 // of what is used of the last page
	free     [sizes][]place      // by size
	written  map[uint64]struct{} // hashes of keys that were written while it is filled; nil afterwards
	complete bool                // of a key that has no place there is no entry
	short    bool                // something is not held for want of room
	full     bool                // there was no room even for a place: it is never complete again
}

// tables is how many parts the places have, so that none takes long to grow.
const tables = 1 << 8

// A place is where an entry stands: a page, where in it, and one. Or it is
// elsewhere: there may be an entry, perhaps at another key with the same hash, and it
// is not held. That does not change any more.
type place uint64

const elsewhere = ^place(0)

func placeOf(page, at int) place { return place(page)<<32 | place(at) + 1 }

func (p place) at() (page, at int) { return int(p >> 32), int(uint32(p) - 1) }

// An entry stands behind its revision (8 octets) and the lengths of key and value (2
// octets each), in room of one of these sizes.
const (
	entryHead = 8 + 2 + 2
	pageSize  = 256 << 10

	smallStep, smallSizes = 64, 16  // 64 to 1024 octets
	largeStep, largeSizes = 512, 14 // 1536 to 8192; what is larger is not held
	sizes                 = smallSizes + largeSizes

	largest = smallStep*smallSizes + largeStep*largeSizes

	placeCost = 32 // octets, about
)

// sizeOf returns which size an entry of n octets has, and how many octets that is.
func sizeOf(n int) (size, octets int) {
	if n <= smallStep*smallSizes {
		size = (n - 1) / smallStep
		return size, (size + 1) * smallStep
	}
	size = (n - smallStep*smallSizes - 1) / largeStep
	return smallSizes + size, smallStep*smallSizes + (size+1)*largeStep
}

// newMemory makes a memory of up to limit octets, which is to be filled.
func newMemory(limit int64, held, known []string) *memory {
	seed := maphash.MakeSeed()
	return &memory{
		held: held, known: known, limit: int(limit), written: make(map[uint64]struct{}),
		hash: func(key string) uint64 { return maphash.String(seed, key) },
	}
}

func (m *memory) table(hash uint64) *table.Table[place] { return &m.places[hash%tables] }

func begins(key string, with []string) bool {
	return slices.ContainsFunc(with, func(p string) bool { return strings.HasPrefix(key, p) })
}

// covers says whether anything is known of key.
func (m *memory) covers(key string) bool { return begins(key, m.held) || begins(key, m.known) }

// What a memory knows of a key.
type knowledge uint8

const (
	unsure knowledge = iota
	isHeld
	isAbsent
)

// An entryView is an entry where it stands.
type entryView []byte

func (v entryView) revision() store.Revision { return store.Revision(binary.BigEndian.Uint64(v)) }

// ends returns where the key and the value end.
func (v entryView) ends() (key, value int) {
	key = entryHead + int(binary.BigEndian.Uint16(v[8:]))
	return key, key + int(binary.BigEndian.Uint16(v[10:]))
}

// find returns the entry at key where it stands; nil if it is not held.
func (m *memory) find(hash uint64, key string) (entryView, place) {
	p := m.table(hash).Get(hash)
	if p == 0 || p == elsewhere {
		return nil, p
	}
	page, at := p.at()
	v := entryView(m.pages[page][at:])
	if end, _ := v.ends(); string(v[entryHead:end]) != key {
		return nil, p
	}
	return v, p
}

// look calls found with the entry at key where it is held, and says what is known.
func (m *memory) look(key string, found func(entryView)) knowledge {
	if m == nil || !m.covers(key) {
		return unsure
	}
	hash := m.hash(key)
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, p := m.find(hash, key)
	switch {
	case v != nil:
		found(v)
		return isHeld
	case m.complete && p != elsewhere: // another's place is none
		return isAbsent
	}
	return unsure
}

// read appends to room the value at key if that is held.
func (m *memory) read(room []byte, key string) (value []byte, r store.Revision, k knowledge) {
	k = m.look(key, func(v entryView) {
		start, end := v.ends()
		room, r = append(room, v[start:end]...), v.revision()
	})
	return room, r, k
}

// revision returns which revision wrote what is held at key.
func (m *memory) revision(key string) (r store.Revision, k knowledge) {
	k = m.look(key, func(v entryView) { r = v.revision() })
	return r, k
}

// write brings in what was written to the database, and has readers see that, which
// show does, no earlier and no later.
func (m *memory) write(events []store.Event, show func()) {
	if m == nil {
		show()
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	show()
	for _, e := range events {
		if !m.covers(e.Entry.Key) {
			continue
		}
		hash := m.hash(e.Entry.Key)
		if m.written != nil {
			m.written[hash] = struct{}{}
		}
		m.remove(hash, e.Entry.Key)
		if !e.Deleted {
			m.add(hash, e.Entry)
		}
	}
}

// remove takes the entry at key out, if it is held.
func (m *memory) remove(hash uint64, key string) {
	if v, p := m.find(hash, key); v != nil {
		m.release(p, v)
		m.table(hash).Remove(hash)
		m.n--
	}
}

// release makes the room of v at p free.
func (m *memory) release(p place, v entryView) {
	_, n := v.ends()
	size, _ := sizeOf(n)
	m.free[size] = append(m.free[size], p)
	m.entries--
}

// add holds e, of which nothing is held, or notes that it is elsewhere.
func (m *memory) add(hash uint64, e store.Entry) {
	n := entryHead + len(e.Key) + len(e.Value)
	taken := m.table(hash).Get(hash) != 0 // else of another key
	if taken || !begins(e.Key, m.held) || n > largest || !m.hasRoom(placeCost) {
		m.note(hash, e.Key)
		return
	}
	p, ok := m.room(n)
	if !ok {
		m.note(hash, e.Key)
		return
	}
	page, at := p.at()
	v := m.pages[page][at:]
	binary.BigEndian.PutUint64(v, uint64(e.Revision))
	binary.BigEndian.PutUint16(v[8:], uint16(len(e.Key)))
	binary.BigEndian.PutUint16(v[10:], uint16(len(e.Value)))
	copy(v[entryHead+copy(v[entryHead:], e.Key):], e.Value)
	m.table(hash).Put(hash, p)
	m.n++
	m.entries++
}

// note notes that there is an entry at key, which is elsewhere unless it is held.
func (m *memory) note(hash uint64, key string) {
	v, p := m.find(hash, key)
	switch {
	case v != nil || p == elsewhere:
		return
	case p != 0: // another's
		page, at := p.at()
		m.release(p, m.pages[page][at:])
	case !m.hasRoom(placeCost):
		m.short, m.full, m.complete = true, true, false
		return
	default:
		m.n++
	}
	m.table(hash).Put(hash, elsewhere)
}

func (m *memory) hasRoom(octets int) bool {
	return len(m.pages)*pageSize+m.n*placeCost+octets <= m.limit
}

// room finds a place for n octets of an entry that has none yet.
func (m *memory) room(n int) (p place, ok bool) {
	size, octets := sizeOf(n)
	if last := len(m.free[size]) - 1; last >= 0 {
		p, m.free[size] = m.free[size][last], m.free[size][:last]
		return p, true
	}
	if len(m.pages) == 0 || m.end+octets > pageSize {
		if !m.hasRoom(pageSize + placeCost) {
			m.short = true
			return p, false
		}
		m.pages, m.end = append(m.pages, make([]byte, pageSize)), 0
	}
	p = placeOf(len(m.pages)-1, m.end)
	m.end += octets
	return p, true
}
