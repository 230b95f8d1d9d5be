package core

import (
	"container/list"
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

// A cache keeps accounts by normalised name, bounded in octets; the one that
// was used longest ago goes first.
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
	entries map[string]*list.Element // of cacheEntry
	order   list.List                // most recently used first
	size    int
	limit   int
	changes uint64
}

type cacheEntry struct {
	name      string
	account   *account
	size      int
	oldRecord bool // the account's record changed since it was read
}

// A ticket is the right to put what is read after it was taken.
type ticket uint64

// newCache makes a cache that holds up to limit octets.
func newCache(limit int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*list.Element)
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
	s.order.MoveToFront(e)
	entry := e.Value.(*cacheEntry)
	return entry.account, entry.oldRecord, ticket(s.changes)
}

// put keeps a, unless something of its shard changed since t was taken.
func (c *cache) put(name string, a *account, t ticket) {
	size := a.size()
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ticket(s.changes) != t || size > s.limit {
		return
	}
	s.remove(s.entries[name])
	s.entries[name] = s.order.PushFront(&cacheEntry{name: name, account: a, size: size})
	s.size += size
	for s.size > s.limit {
		s.remove(s.order.Back())
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
	if e := s.entries[name]; e != nil && e.Value.(*cacheEntry).account.revision < rev {
		e.Value.(*cacheEntry).oldRecord = true
	}
}

// dropAll forgets every account.
func (c *cache) dropAll() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.changes++
		s.size = 0
		s.order.Init()
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
			e.Value.(*cacheEntry).oldRecord = true
		}
		s.mu.Unlock()
	}
}

// remove takes e out, if there is one. The caller holds the lock.
func (s *cacheShard) remove(e *list.Element) {
	if e == nil {
		return
	}
	entry := s.order.Remove(e).(*cacheEntry)
	delete(s.entries, entry.name)
	s.size -= entry.size
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
