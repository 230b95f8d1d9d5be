package core

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// The numbers of the fields of record.Activity.
const (
	fieldUsages   protowire.Number = 1
	fieldAttempts protowire.Number = 2
)

// A history is an activity record to which something is added. The attempts
// that stood in it stay as they are stored: they are most of it, and reading
// and writing each of them again would cost more than all else at a flush.
type history struct {
	rec      record.Activity // without attempts
	attempts [][]byte        // oldest first, each a whole field; those that stood in it are views of plain
	plain    []byte
}

// parse makes h of a stored record, which it keeps until reset. It reads all
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
			h.attempts = append(h.attempts, rest[:n])
		} else {
			others = append(others, rest[:n]...)
		}
		rest = rest[n:]
	}
	return proto.Unmarshal(others, &h.rec)
}

// add adds l, which must not change until reset.
func (h *history) add(l *happenings) error {
	for field := range l.fields {
		h.attempts = append(h.attempts, field)
	}
	return l.mergeUsages(&h.rec)
}

// marshal appends the record to b.
func (h *history) marshal(b []byte) ([]byte, error) {
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &h.rec)
	if err != nil {
		return nil, err
	}
	for _, field := range h.attempts[max(0, len(h.attempts)-historyLength):] {
		b = append(b, field...)
	}
	return b, nil
}

// isFirst says whether l can be a record as it is, as that of most accounts that
// had none.
func (l *happenings) isFirst() bool { return len(l.older) == 0 && len(l.usages) <= maxUsages }

// appendFirst appends to b the record of an account at which nothing but l ever
// happened.
func (l *happenings) appendFirst(b []byte) []byte {
	for i := range l.usages {
		u := &l.usages[i]
		size := protowire.SizeTag(1) + protowire.SizeBytes(len(u.id)) +
			protowire.SizeTag(2) + protowire.SizeVarint(u.count) +
			protowire.SizeTag(3) + protowire.SizeBytes(len(u.last))
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldUsages, protowire.BytesType), uint64(size))
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), u.id)
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), u.count)
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), u.last)
	}
	return append(b, l.newer...)
}

// reset wipes h, and keeps its room for another.
func (h *history) reset() {
	clear(h.plain)
	clear(h.attempts)
	h.plain, h.attempts = h.plain[:0], h.attempts[:0]
	h.rec.Reset()
}

// readHistory makes h the history of name, which is added to.
func (e *Engine) readHistory(ctx context.Context, name string, h *history) (store.Revision, error) {
	h.reset()
	rev, damage, err := e.findActivity(ctx, name, h.plain[:0], h.parse)
	if damage {
		h.reset()
	}
	return rev, err
}

// readActivity returns the activity record of name; an empty one if there is
// none. One that is damaged decides nothing, so it is reported and replaced.
func (e *Engine) readActivity(ctx context.Context, name string) (*record.Activity, store.Revision, error) {
	rec := &record.Activity{}
	rev, damaged, err := e.findActivity(ctx, name, nil, func(plain []byte) error {
		defer clear(plain)
		return proto.Unmarshal(plain, rec)
	})
	if damaged {
		rec = &record.Activity{}
	}
	return rec, rev, err
}

// findActivity has the activity record of name read by parse, if there is one,
// and says whether it is damaged, which it reports. The record is put into room,
// where that is large enough.
func (e *Engine) findActivity(ctx context.Context, name string, room []byte, parse func(plain []byte) error) (rev store.Revision, damaged bool, err error) {
	key := record.PrefixActivity + name
	entry, err := e.store.Get(ctx, key)
	switch err = storeError("read activity", err); KindOf(err) {
	case 0:
	case KindNotFound:
		return 0, false, nil
	default:
		return 0, false, err
	}
	if _, err := e.openIn(room, record.KindActivity, key, entry.Value, parse); err != nil {
		e.recordTamper(name, err)
		return entry.Revision, true, nil
	}
	return entry.Revision, false, nil
}

// activityOf returns what is known to have happened at name.
func (e *Engine) activityOf(ctx context.Context, name string) (*record.Activity, error) {
	e.activity.lock() // nothing moves from pending to the record meanwhile
	defer e.activity.flushing.Unlock()
	rec, _, err := e.readActivity(ctx, name)
	if err != nil {
		return nil, err
	}
	pending := e.activity.pending(name)
	if err := pending.mergeInto(rec); err != nil {
		return nil, &Error{Op: "read activity", Kind: KindInternal, Err: err}
	}
	return rec, nil
}

// lastUse returns when the app password with this id was last used, or zero.
func (e *Engine) lastUse(ctx context.Context, name, id string) (time.Time, error) {
	var last time.Time
	for _, u := range e.activity.pending(name).usages { // first: it may be written meanwhile
		if u.id == id {
			last = fromMillis(u.at)
		}
	}
	rec, _, err := e.readActivity(ctx, name)
	if err != nil {
		return last, err
	}
	for _, u := range rec.Usages {
		if t := fromMillis(u.GetLast().GetTime()); u.Id == id && t.After(last) {
			last = t
		}
	}
	return last, nil
}
