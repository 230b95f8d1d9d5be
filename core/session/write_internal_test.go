package session

import (
	"encoding/binary"
	"testing"
)

// TestWhatIsNotWrittenIsBounded: a client that tells of sessions that nobody knows,
// while the store is away, fills no memory.
func TestWhatIsNotWrittenIsBounded(t *testing.T) {
	w := newWrites()
	for n := range uint64(4 * maxSessions) {
		var key rowKey
		binary.BigEndian.PutUint64(key[:], n)
		w.note(key, false)
	}
	if n := len(w.lazy); n < maxSessions || n > 2*maxSessions {
		t.Errorf("%d wait to be written", n)
	}
}
