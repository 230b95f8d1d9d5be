package core

import (
	"hash/maphash"
	"math"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

// latest is later than every revision.
const latest store.Revision = math.MaxUint64

// cacheShards is how many parts the cache has, so that sign-ins of different
// accounts seldom wait for each other.
const cacheShards = 64

// A cache keeps accounts by normalised name, bounded in octets. When it is full,
// one goes that was not used since it was last passed over (the CLOCK, or second
// chance, algorithm): unlike a list in the order of use, that writes nothing
// when an account is found.
//
// What a reader took from the store may be old when it comes to be put here.
// So a reader takes a ticket before it reads, and what it read is kept only if
// nothing of the shard changed in between.
//
// An account whose record changed is marked and not dropped: what the
// directory said of it is still good, and may be all there is of that while
// the directory does not answer.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.Mutex
	entries map[string]*account
	ring    []*account // the same, in no order that matters
	hand    int        // where in ring the next one to go is looked for
	size    int
	limit   int
	changes uint64
}

// A cacheEntry is what the cache knows of an account that it holds. It is part
// of the account, so that finding one looks at one piece of memory, and is
// read and written under the shard's lock alone, but for the name.
type cacheEntry struct {
	name      string // never changes once it is here
	size      int
	at        int  // in ring
	used      bool // since the hand passed
	oldRecord bool // the account's record changed since it was read

	// generation is the latest that the account's record is known to have had,
	// which after a change is later than that of the account.
	generation uint64
}

// A ticket is the right to put what is read after it was taken.
type ticket uint64

// newCache makes a cache that holds up to limit octets.
func newCache(limit int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*account)
		c.shards[i].limit = int(limit / cacheShards)
	}
	return c
}

func (c *cache) shard(name string) *cacheShard {
	return &c.shards[maphash.String(c.seed, name)%cacheShards]
}

// get returns the account called name, or nil; whether its record must be read
// again; and a ticket to put it.
func (c *cache) get(name string) (a *account, oldRecord bool, t ticket) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		return nil, false, ticket(s.changes)
	}
	if !e.cached.used {
		e.cached.used = true
	}
	return e, e.cached.oldRecord, ticket(s.changes)
}

// current returns the account called name if its record need not be read again,
// or nil. Of name nothing is kept: the account has its own.
func (c *cache) current(name []byte) *account {
	s := &c.shards[maphash.Bytes(c.seed, name)%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[string(name)]
	if e == nil || e.cached.oldRecord {
		return nil
	}
	if !e.cached.used {
		e.cached.used = true
	}
	return e
}

// generation returns the latest that the record of the account called name is
// known to have had: it has this one now, or a later.
func (c *cache) generation(name string) uint64 {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil {
		return e.cached.generation
	}
	return 0
}

// dropWritten is dropRecord for one that was written here, with this
// generation.
func (c *cache) dropWritten(name string, generation uint64) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if e := s.entries[name]; e != nil {
		e.cached.oldRecord, e.cached.generation = true, max(e.cached.generation, generation)
	}
}

// put keeps a, which was never put before, unless something of its shard changed since t was taken.
func (c *cache) put(name string, a *account, t ticket) {
	size := a.size()
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ticket(s.changes) != t || size > s.limit {
		return
	}
	generation := a.generation
	if old := s.entries[name]; old != nil {
		generation = max(generation, old.cached.generation)
		s.remove(old)
	}
	s.size += size
	for s.size > s.limit {
		s.evict()
	}
	a.cached = cacheEntry{name: name, size: size, at: len(s.ring), generation: generation}
	s.entries[name] = a
	s.ring = append(s.ring, a)
}

// evict removes one account that was not used lately. There is one.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		if !e.cached.used {
			s.remove(e)
			return
		}
		e.cached.used = false
		s.hand++
	}
}

// drop forgets the account called name, also what is being read of it now.
func (c *cache) drop(name string) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	s.remove(s.entries[name])
}

// dropRecord is drop, but keeps what the directory said, and a record that is
// of revision rev or later: the news of our own writes come late.
func (c *cache) dropRecord(name string, rev store.Revision) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if e := s.entries[name]; e != nil && e.revision < rev {
		e.cached.oldRecord = true
	}
}

// dropAll forgets every account.
func (c *cache) dropAll() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.changes++
		s.size = 0
		s.hand, s.ring = 0, nil
		clear(s.entries)
		s.mu.Unlock()
	}
}

// dropRecords is dropAll, but keeps what the directory said.
func (c *cache) dropRecords() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.changes++
		for _, e := range s.entries {
			e.cached.oldRecord = true
		}
		s.mu.Unlock()
	}
}

// remove takes e out, if there is one. The caller holds the lock.
func (s *cacheShard) remove(e *account) {
	if e == nil {
		return
	}
	last := s.ring[len(s.ring)-1]
	s.ring[e.cached.at], last.cached.at = last, e.cached.at
	s.ring[len(s.ring)-1] = nil
	s.ring = s.ring[:len(s.ring)-1]
	delete(s.entries, e.cached.name)
	s.size -= e.cached.size
}

// stats returns how many accounts the cache holds, and their octets.
func (c *cache) stats() (accounts int, size int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		accounts += len(s.entries)
		size += int64(s.size)
		s.mu.Unlock()
	}
	return accounts, size
}
