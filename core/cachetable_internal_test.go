package core

import (
	"math/rand/v2"
	"testing"
)

// TestCacheTable: it holds what a map would, also where many have their place in the
// same corner and the row goes round the end.
func TestCacheTable(t *testing.T) {
	var table cacheTable
	known := map[nameHash]*account{}
	hashes := make([]nameHash, 300)
	for i := range hashes {
		hashes[i] = nameHash(rand.Uint64())
		if i%2 == 0 { // the last corner
			hashes[i] |= 0xffff << 48
		}
	}
	for range 100_000 {
		hash := hashes[rand.IntN(len(hashes))]
		switch known[hash] {
		case nil:
			a := &account{}
			table.put(hash, a)
			known[hash] = a
		default:
			table.remove(hash)
			delete(known, hash)
		}
		asked := hashes[rand.IntN(len(hashes))]
		if got := table.get(asked); got != known[asked] {
			t.Fatalf("%x: got %p, want %p", asked, got, known[asked])
		}
	}
	if table.n != len(known) {
		t.Errorf("%d are counted, want %d", table.n, len(known))
	}
	for _, hash := range hashes {
		if got := table.get(hash); got != known[hash] {
			t.Errorf("%x at the end: got %p, want %p", hash, got, known[hash])
		}
	}
}

// TestLongNames: an account whose name is too long to be compared in one place is
// found, and not taken for another that begins alike.
func TestLongNames(t *testing.T) {
	c := newCache(1 << 20)
	long := "a.very.long.name.of.somebody@mail.contoso.com"
	for _, name := range []string{long[:31], long[:32], long[:33], long} {
		_, _, ticket := c.get(name)
		c.put(named(name, 1, 0), ticket)
	}
	for n := 30; n <= len(long); n++ {
		a, _, _ := c.get(long[:n])
		if want := n == 31 || n == 32 || n == 33 || n == len(long); (a != nil) != want || a != nil && a.name != long[:n] {
			t.Errorf("%d octets: found %v, want %v", n, a != nil, want)
		}
		if b := c.current([]byte(long[:n])); b != a {
			t.Errorf("%d octets: found %p as octets, and %p as text", n, b, a)
		}
	}
}

// TestSameHash: of two accounts with one hash the later is held, and neither is
// taken for the other.
func TestSameHash(t *testing.T) {
	c := newCache(1 << 20)
	_, _, ticket := c.get("a")
	a := named("a", 1, 0)
	a.cached.generation = 7
	c.put(a, ticket)
	a.name, a.short = "b", newShortName("b") // as if b had a's hash
	if got, _, _ := c.get("a"); got != nil {
		t.Error("another account was taken for a")
	}
	if got := c.generation("a"); got != 0 {
		t.Errorf("a has generation %d of another", got)
	}
	_, _, ticket = c.get("a")
	c.put(named("a", 2, 0), ticket)
	if got, _, _ := c.get("a"); got == nil || got.cached.generation != 0 {
		t.Errorf("a is not held, or with the generation of another: %+v", got)
	}
	if accounts, _ := c.stats(); accounts != 1 {
		t.Errorf("%d accounts are held, want 1", accounts)
	}
}
