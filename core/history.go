package core

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// fieldAttempts is the number of Attempts in record.Activity.
const fieldAttempts protowire.Number = 2

// A history is an activity record to which something is added. The attempts
// that stood in it stay as they are stored: they are most of it, and reading
// and writing each of them again would cost more than all else at a flush.
type history struct {
	rec   record.Activity // without the attempts that stood in it
	stood [][]byte        // these, oldest first: views of plain, each a whole field
	plain []byte
}

// parse makes h of a stored record, which it keeps until wipe. It reads all
// but the attempts' inside, which what is sealed has as it was written.
func (h *history) parse(plain []byte) error {
	h.plain = plain
	var others []byte
	for rest := plain; len(rest) > 0; {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if number == fieldAttempts && kind == protowire.BytesType {
			h.stood = append(h.stood, rest[:n])
		} else {
			others = append(others, rest[:n]...)
		}
		rest = rest[n:]
	}
	return proto.Unmarshal(others, &h.rec)
}

// marshal appends the record to b.
func (h *history) marshal(b []byte) ([]byte, error) {
	added := h.rec.Attempts
	h.rec.Attempts = nil
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &h.rec)
	if err != nil {
		return nil, err
	}
	for _, field := range h.stood[max(0, min(len(h.stood), len(h.stood)+len(added)-historyLength)):] {
		b = append(b, field...)
	}
	return proto.MarshalOptions{}.MarshalAppend(b, &record.Activity{Attempts: added}) // two of one record in a row are one
}

func (h *history) wipe() { clear(h.plain) }

// readHistory is readActivity for what is only added to.
func (e *Engine) readHistory(ctx context.Context, name string) (*history, store.Revision, error) {
	h := &history{}
	rev, damage, err := e.findActivity(ctx, name, h.parse)
	if damage {
		h.wipe()
		h = &history{}
	}
	return h, rev, err
}
