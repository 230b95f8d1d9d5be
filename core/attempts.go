package core

import (
	"slices"
	"sync"
)

const (
	chunkLength = 1 << 7
	maxSpare    = 8 // chunks of an inbox that are kept to be used again; 10 MiB in all
)

// An attemptAt is an attempt at the account called name.
type attemptAt struct {
	name string
	of   *account // nil if it was not found
	happened
}

// attempts is a list that grows by chunks, so that a sign-in never waits for
// what is in it to be moved.
type attempts struct {
	chunks [][]attemptAt // room for chunkLength in each; the last one grows
	n      int
}

// isFull says whether the next attempt needs another chunk.
func (l *attempts) isFull() bool {
	last := len(l.chunks) - 1
	return last < 0 || len(l.chunks[last]) == chunkLength
}

// add appends to the last chunk, which has room.
func (l *attempts) add(at *attemptAt) {
	last := len(l.chunks) - 1
	l.chunks[last] = append(l.chunks[last], *at)
	l.n++
}

// all yields every attempt in the order in which they came.
func (l *attempts) all(yield func(*attemptAt) bool) {
	for _, chunk := range l.chunks {
		for i := range chunk {
			if !yield(&chunk[i]) {
				return
			}
		}
	}
}

// forget takes out the attempts at the account called name, and says how many.
func (l *attempts) forget(name string) (gone int) {
	for i, chunk := range l.chunks {
		l.chunks[i] = slices.DeleteFunc(chunk, func(at attemptAt) bool { return at.name == name })
		gone += len(chunk) - len(l.chunks[i])
	}
	l.n -= gone
	return gone
}

// An inbox has the attempts at a part of the accounts, until they are grouped.
type inbox struct {
	mu       sync.Mutex
	fresh    attempts      // as they came
	grouping attempts      // being grouped
	spare    [][]attemptAt // empty chunks for fresh
}

// add notes one attempt.
func (b *inbox) add(at *attemptAt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fresh.isFull() {
		b.fresh.chunks = append(b.fresh.chunks, b.emptyChunk())
	}
	b.fresh.add(at)
}

// emptyChunk returns a chunk for fresh.
func (b *inbox) emptyChunk() []attemptAt {
	n := len(b.spare)
	if n == 0 {
		return make([]attemptAt, 0, chunkLength)
	}
	chunk := b.spare[n-1]
	b.spare[n-1], b.spare = nil, b.spare[:n-1]
	return chunk
}

// begin begins the grouping of what came, and returns it: nobody changes it until
// end.
func (b *inbox) begin() *attempts {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grouping, b.fresh = b.fresh, attempts{}
	return &b.grouping
}

// end ends the grouping, and keeps the chunks to be used again.
func (b *inbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, chunk := range b.grouping.chunks {
		if clear(chunk); len(b.spare) < maxSpare {
			b.spare = append(b.spare, chunk[:0])
		}
	}
	b.grouping = attempts{}
}
