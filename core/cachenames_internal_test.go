package core

import "testing"

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
