package core

import (
	"fmt"
	"sync"
	"testing"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

// named makes an account of size octets more than the smallest.
func named(name string, rev store.Revision, size int) *account {
	return &account{name: name, short: newShortName(name), dir: directory.Account{ID: "1", Name: name, Attributes: map[string]string{"": string(make([]byte, size))}}, revision: rev}
}

// neighbours returns n names of one shard of c.
func neighbours(c *cache, n int) []string {
	var names []string
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprint("account ", i)
		if c.hash(name)%cacheShards == c.hash("account 0")%cacheShards {
			names = append(names, name)
		}
	}
	return names
}

// TestCacheTickets: what was read before a change is not put after it.
func TestCacheTickets(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(c *cache)
		kept   bool
	}{
		"nothing":               {func(*cache) {}, true},
		"drop":                  {func(c *cache) { c.drop("a") }, false},
		"drop of the record":    {func(c *cache) { c.dropRecord("a", 7) }, false},
		"of an old revision":    {func(c *cache) { c.dropRecord("a", 1) }, false}, // nobody knows yet which was read
		"drop of all":           {func(c *cache) { c.dropAll() }, false},
		"drop of all records":   {func(c *cache) { c.dropRecords() }, false},
		"a put of another read": {func(c *cache) { _, _, u := c.get("a"); c.put(named("a", 9, 0), u) }, true},
	} {
		c := newCache(1 << 20)
		_, _, ticket := c.get("a")
		tt.change(c)
		read := named("a", 3, 0)
		c.put(read, ticket)
		if got, _, _ := c.get("a"); (got == read) != tt.kept {
			t.Errorf("%s: kept %v, want %v", name, got == read, tt.kept)
		}
	}
}

// TestCacheMarks: an account whose record changed keeps what the directory
// said, and is read again; news that are older than it change nothing.
func TestCacheMarks(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(c *cache)
		held   bool
		old    bool
	}{
		"an earlier revision": {func(c *cache) { c.dropRecord("a", 4) }, true, false},
		"the same revision":   {func(c *cache) { c.dropRecord("a", 5) }, true, false},
		"a later revision":    {func(c *cache) { c.dropRecord("a", 6) }, true, true},
		"a write of ours":     {func(c *cache) { c.dropRecord("a", latest) }, true, true},
		"all records":         {func(c *cache) { c.dropRecords() }, true, true},
		"another's":           {func(c *cache) { c.dropRecord("b", latest); c.drop("b") }, true, false},
		"drop":                {func(c *cache) { c.drop("a") }, false, false},
		"all":                 {func(c *cache) { c.dropAll() }, false, false},
	} {
		c := newCache(1 << 20)
		_, _, ticket := c.get("a")
		c.put(named("a", 5, 0), ticket)
		tt.change(c)
		a, old, ticket := c.get("a")
		if (a != nil) != tt.held || old != tt.old {
			t.Errorf("%s: held %v, old %v, want %v and %v", name, a != nil, old, tt.held, tt.old)
		}
		c.put(named("a", 8, 0), ticket)
		if _, old, _ := c.get("a"); old {
			t.Errorf("%s: a record that was read again is old", name)
		}
	}
}

// TestCacheIsBounded: in octets, and the one that was used longest ago goes.
func TestCacheIsBounded(t *testing.T) {
	const size = 1000
	entry := named("x", 1, size).size()
	c := newCache(int64(cacheShards * (3*entry + entry/2)))
	names := neighbours(c, 5)
	put := func(name string, size int) {
		_, _, ticket := c.get(name)
		c.put(named(name, 1, size), ticket)
	}
	for _, name := range names[:3] {
		put(name, size)
	}
	c.get(names[0]) // so that names[1] is the oldest
	put(names[3], size)
	want := map[string]bool{names[0]: true, names[2]: true, names[3]: true}
	for _, name := range names[:4] {
		if a, _, _ := c.get(name); (a != nil) != want[name] {
			t.Errorf("%q is held: %v, want %v", name, a != nil, want[name])
		}
	}
	put(names[4], 10*size)
	if a, _, _ := c.get(names[4]); a != nil {
		t.Error("one that is larger than the cache is held")
	}
	accounts, octets := c.stats()
	if accounts != 3 || octets > int64(4*entry) || octets < int64(2*entry) {
		t.Errorf("%d accounts with %d octets, want 3 with about %d", accounts, octets, 3*entry)
	}
	put(names[0], 2*size) // grows in its place
	if _, octets := c.stats(); octets > int64(4*entry) {
		t.Errorf("%d octets after one grew, more than the bound", octets)
	}
	c.dropAll()
	if accounts, octets := c.stats(); accounts != 0 || octets != 0 {
		t.Errorf("%d accounts with %d octets after all were dropped", accounts, octets)
	}
	put(names[0], size)
	if accounts, _ := c.stats(); accounts != 1 {
		t.Error("nothing can be put after all were dropped")
	}
}

// TestAccountSize: all that can be long counts.
func TestAccountSize(t *testing.T) {
	long := string(make([]byte, 10_000))
	small := (&account{}).size()
	for name, a := range map[string]*account{
		"directory id": {dir: directory.Account{ID: long}},
		"name":         {dir: directory.Account{Name: long}},
		"group":        {dir: directory.Account{Groups: []string{long}}},
		"attribute":    {dir: directory.Account{Attributes: map[string]string{"x": long}}},
		"pin":          {passwords: []password{{rare: &rare{pin: long}}}},
		"deleted":      {deleted: make([]deleted, 100)},
		"tags":         {tags: []tagGroup{{tags: make([]taggedText, 400)}}},
	} {
		if got := a.size(); got < small+9000 {
			t.Errorf("%s: %d octets, want 10,000 more than %d", name, got, small)
		}
	}
}

// TestCacheRace: a reader never meets an account that is older than the last
// change that was answered when it began.
func TestCacheRace(t *testing.T) {
	c := newCache(1 << 20)
	const name = "a"
	var mu sync.Mutex // the store: its revision
	var stored store.Revision
	read := func() store.Revision {
		mu.Lock()
		defer mu.Unlock()
		return stored
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				answered := read()
				a, old, ticket := c.get(name)
				if a == nil || old {
					a = named(name, read(), 0)
					c.put(a, ticket)
				}
				if a.revision < answered {
					t.Errorf("met revision %d after %d was answered", a.revision, answered)
					return
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for range 1000 {
				// The write is answered once the cache has heard of it; the
				// store alone knows of it a moment before.
				mu.Lock()
				stored++
				c.dropRecord(name, latest)
				mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for range 200 {
			c.drop(name)
			c.dropRecords()
			c.dropAll()
		}
	})
	all.Wait()
	if _, octets := c.stats(); octets < 0 {
		t.Errorf("%d octets", octets)
	}
}
