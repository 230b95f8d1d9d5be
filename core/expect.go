package core

import (
	"hash/maphash"

	"github.com/keywicket/keywicket/core/prefetch"
)

// maxExpected is how many accounts Expect looks at together.
const maxExpected = 32

// Expect is told which accounts VerifyText is asked about next, one after the
// other, and has their memory fetched meanwhile, for all of them at the same time.
// It changes nothing, and what it is told need not come true.
func (e *Engine) Expect(names [][]byte) {
	for len(names) > 0 {
		some := names[:min(len(names), maxExpected)]
		names = names[len(some):]
		var hashes [maxExpected]nameHash
		for i, name := range some {
			var room [maxAccountName]byte
			if normal, ok := appendASCII(room[:0], name); ok {
				hashes[i] = nameHash(maphash.Bytes(e.cache.seed, normal))
				e.cache.fetchSlot(hashes[i])
			}
		}
		for i := range some {
			e.cache.fetchAccount(hashes[i])
		}
	}
}

// fetchSlot has fetched where the account with hash is looked for.
func (c *cache) fetchSlot(hash nameHash) {
	s := c.lock(hash)
	defer s.mu.Unlock()
	s.table.Fetch(uint64(hash))
}

// fetchAccount has fetched the account with hash.
func (c *cache) fetchAccount(hash nameHash) {
	s := c.lock(hash)
	defer s.mu.Unlock()
	if a := s.table.Get(uint64(hash)); a != nil {
		prefetch.Value(a)
	}
}

// fetchTexts has the beginning and the end of the texts fetched, which what is
// decided is recorded with.
func (a *account) fetchTexts() {
	prefetch.Text(a.name)
	if n := len(a.passwords); n > 0 {
		prefetch.Text(a.passwords[n-1].ref.Name)
	}
}
