package core

import "slices"

const (
	chunkLength = 1 << 10
	maxSpare    = 64 // chunks that are kept to be used again, 10 MiB
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
func (l *attempts) add(at attemptAt) {
	last := len(l.chunks) - 1
	l.chunks[last] = append(l.chunks[last], at)
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

// forget takes out the attempts at the account called name.
func (l *attempts) forget(name string) {
	l.n = 0
	for i, chunk := range l.chunks {
		l.chunks[i] = slices.DeleteFunc(chunk, func(at attemptAt) bool { return at.name == name })
		l.n += len(l.chunks[i])
	}
}
