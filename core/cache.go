package core

import (
	"hash/maphash"
	"math"
	"sync"

	"github.com/keywicket/keywicket/core/internal/table"
	"github.com/keywicket/keywicket/core/prefetch"
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

// A nameHash is the keyed hash of a name. Of two accounts whose names have the
// same one, of 2^64, the cache holds the one that came later.
type nameHash uint64

type cacheShard struct {
	mu      sync.Mutex
	table   table.Table[*account]
	ring    []*account // the same, in no order that matters
	hand    int        // where in ring the next one to go is looked for
	size    int
	limit   int
	changes uint64
}

// A cacheEntry is what the cache knows of an account that it holds. It is part
// of the account, so that finding one looks at one piece of memory, and is
// read and written under the shard's lock alone.
type cacheEntry struct {
	hash nameHash

	// generation is the latest that the account's record is known to have had,
	// which after a change is later than the one that was read.
	generation uint64

	at        int32 // in ring
	used      bool  // since the hand passed
	oldRecord bool  // the account's record changed since it was read
}

// A ticket is the right to put what is read after it was taken.
type ticket uint64

// newCache makes a cache that holds up to limit octets.
func newCache(limit int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].limit = int(limit / cacheShards)
	}
	return c
}

func (c *cache) hash(name string) nameHash { return nameHash(maphash.String(c.seed, name)) }

// lock locks the shard of hash, and returns it.
func (c *cache) lock(hash nameHash) *cacheShard {
	s := &c.shards[hash%cacheShards]
	s.mu.Lock()
	return s
}

// find returns the account called name, or nil.
func (s *cacheShard) find(hash nameHash, name []byte) *account {
	a := s.table.Get(uint64(hash))
	if a == nil {
		return nil
	}
	prefetch.Value(a) // who finds it is going to read it
	if !a.isCalled(name) {
		return nil
	}
	return a
}

// get returns the account called name, or nil; whether its record must be read
// again; and a ticket to put it.
func (c *cache) get(name string) (a *account, oldRecord bool, t ticket) {
	hash := c.hash(name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	a = s.find(hash, []byte(name))
	if a == nil {
		return nil, false, ticket(s.changes)
	}
	if !a.cached.used {
		a.cached.used = true
	}
	return a, a.cached.oldRecord, ticket(s.changes)
}

// current returns the account called name if its record need not be read again,
// or nil. Of name nothing is kept: the account has its own.
func (c *cache) current(name []byte) *account {
	hash := nameHash(maphash.Bytes(c.seed, name))
	s := c.lock(hash)
	defer s.mu.Unlock()
	a := s.find(hash, name)
	if a == nil || a.cached.oldRecord {
		return nil
	}
	a.fetchTexts()
	if !a.cached.used {
		a.cached.used = true
	}
	return a
}

// generation returns the latest that the record of the account called name is
// known to have had: it has this one now, or a later.
func (c *cache) generation(name string) uint64 {
	hash := c.hash(name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	if a := s.find(hash, []byte(name)); a != nil {
		return a.cached.generation
	}
	return 0
}

// dropWritten is dropRecord for one that was written here, with this
// generation.
func (c *cache) dropWritten(name string, generation uint64) {
	hash := c.hash(name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	s.changes++
	if a := s.find(hash, []byte(name)); a != nil {
		a.cached.oldRecord, a.cached.generation = true, max(a.cached.generation, generation)
	}
}

// put keeps a, which was never put before, unless something of its shard changed since t was taken.
func (c *cache) put(a *account, t ticket) {
	size := a.size()
	hash := c.hash(a.name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	if ticket(s.changes) != t || size > s.limit {
		return
	}
	generation := a.cached.generation
	if old := s.table.Get(uint64(hash)); old != nil {
		if old.name == a.name {
			generation = max(generation, old.cached.generation)
		}
		s.remove(old)
	}
	s.size += size
	for s.size > s.limit {
		s.evict()
	}
	a.cached = cacheEntry{hash: hash, generation: generation, at: int32(len(s.ring))}
	s.table.Put(uint64(hash), a)
	s.ring = append(s.ring, a)
}

// evict removes one account that was not used lately. There is one.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		a := s.ring[s.hand]
		if !a.cached.used {
			s.remove(a)
			return
		}
		a.cached.used = false
		s.hand++
	}
}

// drop forgets the account called name, also what is being read of it now.
func (c *cache) drop(name string) {
	hash := c.hash(name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	s.changes++
	if a := s.find(hash, []byte(name)); a != nil {
		s.remove(a)
	}
}

// dropRecord is drop, but keeps what the directory said, and a record that is
// of revision rev or later: the news of our own writes come late.
func (c *cache) dropRecord(name string, rev store.Revision) {
	hash := c.hash(name)
	s := c.lock(hash)
	defer s.mu.Unlock()
	s.changes++
	if a := s.find(hash, []byte(name)); a != nil && a.revision < rev {
		a.cached.oldRecord = true
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
		s.table = table.Table[*account]{}
		s.mu.Unlock()
	}
}

// dropRecords is dropAll, but keeps what the directory said.
func (c *cache) dropRecords() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.changes++
		for _, a := range s.ring {
			a.cached.oldRecord = true
		}
		s.mu.Unlock()
	}
}

// remove takes a out. The caller holds the lock.
func (s *cacheShard) remove(a *account) {
	last := s.ring[len(s.ring)-1]
	s.ring[a.cached.at], last.cached.at = last, a.cached.at
	s.ring[len(s.ring)-1] = nil
	s.ring = s.ring[:len(s.ring)-1]
	s.table.Remove(uint64(a.cached.hash))
	s.size -= a.size()
}

// stats returns how many accounts the cache holds, and their octets.
func (c *cache) stats() (accounts int, size int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		accounts += len(s.ring)
		size += int64(s.size)
		s.mu.Unlock()
	}
	return accounts, size
}
