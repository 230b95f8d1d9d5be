package badgerstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

// A model is what the database has.
type model map[string]store.Entry

func (m model) scan(_ context.Context, prefix, after string, limit int) (page []store.Entry, _ error) {
	for key, e := range m {
		if strings.HasPrefix(key, prefix) && key > after {
			page = append(page, e)
		}
	}
	sort.Slice(page, func(i, j int) bool { return page[i].Key < page[j].Key })
	return page[:min(limit, len(page))], nil
}

// compare wants of m what the database has, wherever m is sure.
func (db model) compare(t *testing.T, m *memory, key string) knowledge {
	t.Helper()
	e, there := db[key]
	value, r, k := m.read([]byte("room "), key)
	if k == isHeld && (!there || r != e.Revision || string(value) != "room "+string(e.Value)) || k == isAbsent && there || k != isHeld && string(value) != "room " {
		t.Fatalf("%q: %d, %q of %d; the database has %v, %q of %d", key, k, value, r, there, e.Value, e.Revision)
	}
	if again, same := m.revision(key); same != k || again != r {
		t.Fatalf("%q: revision %d, %d; read says %d, %d", key, again, same, r, k)
	}
	return k
}

// What a memory is sure of is what the database has, however much is written while it
// is filled, whatever has no room, and where keys have the same hash.
func TestMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		limit    int64
		hashes   uint64 // how many there are
		held     []string
		known    []string
		complete bool // it knows of each key whether there is something
		short    bool // not all is held
	}{
		"room for all":                 {64 << 20, 1 << 63, []string{"a/", "b/"}, []string{"c/"}, true, false},
		"everything":                   {64 << 20, 1 << 63, []string{""}, nil, true, false},
		"room for some":                {2 * pageSize, 1 << 63, []string{"a/", "b/"}, []string{"c/"}, true, true},
		"room for some, but no more":   {pageSize + 100*placeCost, 1 << 63, []string{"a/", "b/"}, []string{"c/"}, false, true},
		"no room":                      {1, 1 << 63, []string{""}, nil, false, true},
		"few hashes":                   {64 << 20, 20_000, []string{"a/", "b/"}, []string{"c/"}, true, false},
		"few hashes and room for some": {pageSize + pageSize/2, 4000, []string{"a/", "b/"}, []string{"c/"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			db, revision := model{}, store.Revision(0)
			var m *memory // there is none yet
			key := func() string { return fmt.Sprintf("%c/%d", "abcd"[rand.IntN(4)], rand.IntN(900)) }
			write := func() {
				revision++
				var events []store.Event
				for range 1 + rand.IntN(3) {
					e := store.Entry{Key: key(), Revision: revision}
					if rand.IntN(3) == 0 {
						events = append(events, store.Event{Deleted: true, Entry: e})
						continue
					}
					e.Value = make([]byte, rand.IntN(700))
					if rand.IntN(20) == 0 {
						e.Value = make([]byte, rand.IntN(2*largest))
					}
					for i := range e.Value {
						e.Value[i] = byte(rand.Uint32())
					}
					events = append(events, store.Event{Entry: e})
				}
				shown := false
				m.write(events, func() {
					shown = true
					if m != nil && m.mu.TryRLock() {
						t.Fatal("others read while a half of it is shown")
					}
					for _, e := range events {
						if e.Deleted {
							delete(db, e.Entry.Key)
						} else {
							db[e.Entry.Key] = e.Entry
						}
					}
				})
				if !shown {
					t.Fatal("nobody sees it")
				}
			}
			for range 2000 {
				write()
			}
			m = newMemory(tt.limit, tt.held, tt.known)
			full := m.hash
			m.hash = func(key string) uint64 { return full(key) % tt.hashes }
			scan := func(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
				page, err := db.scan(ctx, prefix, after, min(limit, fillPage))
				for range 300 {
					write() // after the page was read, before it is taken
					db.compare(t, m, key())
				}
				return page, err
			}
			if err := m.fill(t.Context(), scan); err != nil {
				t.Fatal(err)
			}
			counts := map[knowledge]int{}
			for range 5000 {
				write()
				counts[db.compare(t, m, key())]++
			}
			held := 0
			for key := range db {
				if _, _, k := m.read(nil, key); k == isHeld {
					held++
				}
			}
			if n, _, _ := m.holds(); n != held {
				t.Errorf("it says that it holds %d entries, and holds %d", n, held)
			}
			if m.complete != tt.complete || m.written != nil {
				t.Errorf("complete: %v, want %v; written: %v", m.complete, tt.complete, m.written != nil)
			}
			if _, _, short := m.holds(); short != tt.short {
				t.Errorf("not all is held: %v, want %v", short, tt.short)
			}
			if tt.complete && (counts[isHeld] == 0 || counts[isAbsent] == 0) {
				t.Errorf("it is sure of too little: %v", counts)
			}
			if !tt.complete && counts[isAbsent] > 0 {
				t.Errorf("it is not complete, and sure that something is not there: %v", counts)
			}
			if _, octets, _ := m.holds(); octets > tt.limit {
				t.Errorf("%d octets, of %d that it may have", octets, tt.limit)
			}
		})
	}
}

// A filling that fails leaves what was written meanwhile, and is sure of nothing else.
func TestFillingFails(t *testing.T) {
	m, db := newMemory(1<<20, []string{""}, nil), model{}
	m.write([]store.Event{{Entry: store.Entry{Key: "a", Value: []byte("1"), Revision: 1}}}, func() { db["a"] = store.Entry{Key: "a", Value: []byte("1"), Revision: 1} })
	if err := m.fill(t.Context(), func(context.Context, string, string, int) ([]store.Entry, error) { return nil, store.ErrDamaged }); err == nil {
		t.Error("no error")
	}
	if k := db.compare(t, m, "a"); k != isHeld {
		t.Errorf("what was written is %d", k)
	}
	if k := db.compare(t, m, "b"); k != unsure {
		t.Errorf("what was never seen is %d", k)
	}
}

// A memory that becomes full is not sure any more that something is not there.
func TestFullLater(t *testing.T) {
	m, db := newMemory(pageSize+10*placeCost, []string{"k"}, nil), model{}
	if err := m.fill(t.Context(), db.scan); err != nil {
		t.Fatal(err)
	}
	if k := db.compare(t, m, "k"); k != isAbsent {
		t.Fatalf("in an empty store a key is %d", k)
	}
	for i := range 2000 {
		e := store.Entry{Key: fmt.Sprint("k", i), Value: make([]byte, 200), Revision: store.Revision(i + 1)}
		m.write([]store.Event{{Entry: e}}, func() { db[e.Key] = e })
	}
	for key := range db {
		db.compare(t, m, key)
	}
	if k := db.compare(t, m, "k"); k != unsure {
		t.Errorf("a key of which nothing was ever heard is %d", k)
	}
	if m.filled(true); m.complete {
		t.Error("it became full while it was filled, and is complete")
	}
}

// It takes no more than it may, whatever came first.
func TestLimit(t *testing.T) {
	for keys := range 6 {
		m := newMemory(pageSize+3*placeCost, []string{"a"}, []string{"b"})
		for i := range keys {
			m.write([]store.Event{{Entry: store.Entry{Key: fmt.Sprint("b", i)}}}, func() {})
		}
		for _, key := range []string{"a", "aa"} {
			m.write([]store.Event{{Entry: store.Entry{Key: key}}}, func() {})
		}
		if _, octets, _ := m.holds(); octets > int64(m.limit) {
			t.Errorf("after %d keys: %d octets, of %d that it may have", keys, octets, m.limit)
		}
	}
}

// What is held of accounts is held of the same ones under each prefix, where there is
// no room for all.
func TestFillsTogether(t *testing.T) {
	m, db := newMemory(3*pageSize, []string{"a/", "b/"}, nil), model{}
	for i := range 4000 {
		for _, prefix := range m.held {
			key := fmt.Sprintf("%s%05d", prefix, i)
			db[key] = store.Entry{Key: key, Value: make([]byte, 300), Revision: 1}
		}
	}
	if err := m.fill(t.Context(), db.scan); err != nil {
		t.Fatal(err)
	}
	both, one := 0, 0
	for i := range 4000 {
		_, a := m.revision(fmt.Sprintf("a/%05d", i))
		_, b := m.revision(fmt.Sprintf("b/%05d", i))
		switch {
		case a == isHeld && b == isHeld:
			both++
		case a == isHeld || b == isHeld:
			one++
		}
	}
	if both < 500 || one > fillPage {
		t.Errorf("%d accounts are held whole, and %d by half", both, one)
	}
}
