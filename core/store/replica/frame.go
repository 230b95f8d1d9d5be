package replica

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// The keys of the copy: entries of the shared store, each under its own key,
// and what is known of the copy as a whole.
const (
	entryPrefix = "c"
	stateKey    = "s"
)

// What a frame says of its key.
const (
	present byte = iota + 1
	absent       // removed at the revision, or later
	unkept       // there, but too long to be kept
)

const frameHead = 1 + 8

// A frame is one entry of the shared store as the copy has it.
type frame struct {
	kind     byte
	revision store.Revision // in the shared store
	value    []byte
}

func presentFrame(e store.Entry) frame {
	if len(e.Value)+frameHead > store.MaxValue {
		return frame{kind: unkept, revision: e.Revision}
	}
	return frame{kind: present, revision: e.Revision, value: e.Value}
}

// fits says whether key can be one of the copy.
func fits(key string) bool { return len(entryPrefix)+len(key) <= store.MaxKey }

func (f frame) bytes() []byte {
	b := make([]byte, frameHead, frameHead+len(f.value))
	b[0] = f.kind
	binary.BigEndian.PutUint64(b[1:], uint64(f.revision))
	return append(b, f.value...)
}

func parseFrame(b []byte) (frame, error) {
	if len(b) < frameHead || b[0] < present || b[0] > unkept || b[0] != present && len(b) > frameHead {
		return frame{}, fmt.Errorf("%w: an entry of the copy has %d octets that are none", store.ErrDamaged, len(b))
	}
	return frame{kind: b[0], revision: store.Revision(binary.BigEndian.Uint64(b[1:])), value: b[frameHead:]}, nil
}

// A state is what the copy knows of itself.
type state struct {
	asOf time.Time // when it was last known to be whole and right; zero: never
	seen time.Time // the latest time that was seen
}

const stateSize = 1 + 8 + 8

func (s state) bytes() []byte {
	b := make([]byte, stateSize)
	b[0] = 1 // the format
	if !s.asOf.IsZero() {
		binary.BigEndian.PutUint64(b[1:], uint64(s.asOf.UnixMilli()))
	}
	binary.BigEndian.PutUint64(b[9:], uint64(s.seen.UnixMilli()))
	return b
}

func parseState(b []byte) (state, error) {
	if len(b) != stateSize || b[0] != 1 {
		return state{}, fmt.Errorf("%w: the state of the copy has %d octets that are none", store.ErrDamaged, len(b))
	}
	s := state{seen: time.UnixMilli(int64(binary.BigEndian.Uint64(b[9:])))}
	if asOf := binary.BigEndian.Uint64(b[1:]); asOf != 0 {
		s.asOf = time.UnixMilli(int64(asOf))
	}
	return s, nil
}
