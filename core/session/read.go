package session

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// Load reads the sessions of before, and may be called once more after an error.
// They decide nothing that a sign-in could gain by, so those that cannot be
// opened are removed with the next flush, which tells Damaged of them.
func (t *Table) Load(ctx context.Context) error {
	err := t.eachStored(ctx, func(key rowKey, stored *row, err error) {
		switch {
		case err != nil:
			t.damaged[key] = struct{}{}
			t.writes.note(key, false)
		case t.all[key] == nil:
			t.add(stored)
		}
	})
	if err != nil {
		return err
	}
	t.expire()
	return nil
}

// eachStored calls fn with what is in the store of each session, and with t.mu
// held. The error of fn is of a record that cannot be opened.
func (t *Table) eachStored(ctx context.Context, fn func(key rowKey, stored *row, err error)) error {
	for after := ""; ; {
		page, err := t.opt.Store.Scan(ctx, record.PrefixSession, after, scanPage)
		if err != nil {
			return fmt.Errorf("read sessions: %w", err)
		}
		for _, entry := range page {
			after = entry.Key
			key, ok := keyOfRecord(entry.Key)
			if !ok {
				continue
			}
			stored, err := t.openRow(key, entry)
			t.mu.Lock()
			fn(key, stored, err)
			t.mu.Unlock()
		}
		if len(page) < scanPage {
			return nil
		}
	}
}

// keyOfRecord is the other way round of rowKey.record.
func keyOfRecord(at string) (rowKey, bool) {
	octets, err := hex.DecodeString(strings.TrimPrefix(at, record.PrefixSession))
	if err != nil || len(octets) != len(rowKey{}) {
		return rowKey{}, false
	}
	return rowKey(octets), true
}

// openRow returns the session that is stored in entry.
func (t *Table) openRow(key rowKey, entry store.Entry) (*row, error) {
	var rec record.Session
	plain, err := t.opt.Keyring.Open(record.KindSession, entry.Key, entry.Value)
	if err == nil {
		err = proto.Unmarshal(plain, &rec)
	}
	if err != nil {
		return nil, err
	}
	r, now := newRowOf(key, &rec, entry.Revision), t.opt.Now()
	notAfter(now, &r.Since, &r.seen)
	if t.opt.Node == "" { // else it tells what is of later
		notAfter(now, &r.at)
	}
	return r, nil
}

// notAfter corrects times that were written while the clock was ahead: a session would
// be held to go on until then.
func notAfter(now time.Time, all ...*time.Time) {
	for _, each := range all {
		if each.After(now) {
			*each = now
		}
	}
}

// isOthers says whether another node heard of r last: what becomes of it, that one
// knows best.
func (t *Table) isOthers(r *row) bool { return r.node != "" && r.node != t.opt.Node }

// Follow takes a change of a session in a store that several nodes share. What this
// node has written itself comes back, too, and says nothing new.
func (t *Table) Follow(ev store.Event) {
	key, ok := keyOfRecord(ev.Entry.Key)
	if !ok {
		return
	}
	var stored *row
	if !ev.Deleted {
		var err error
		if stored, err = t.openRow(key, ev.Entry); err != nil {
			return // at the next start this node may tell of it, and remove it
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if stored != nil {
		t.learn(stored)
		return
	}
	known := t.all[key]
	switch rev := ev.Entry.Revision; {
	case known == nil || rev <= known.rev:
		return
	case t.writes.has(key):
		known.removed = rev
		return
	}
	// What is over may only have expired there, so nothing is kept of its end: it
	// may come back with its next report.
	t.drop(known)
}

// learn takes what is stored of a session. What is of later counts, at whichever
// node: the others take it over, and where the store has not got it, whoever knows
// it writes it once more. t.mu is held.
func (t *Table) learn(stored *row) {
	known := t.all[stored.key]
	if known == nil {
		if t.over.has(stored.key, stored.of, true, stored.at, t.opt.Now()) { // who wrote it did not know yet
			t.writes.stale[stored.key] = stored.rev
			return
		}
		t.add(stored)
		return
	}
	switch later := cmp.Compare(stored.at.UnixMilli(), known.at.UnixMilli()); {
	case later < 0 && stored.rev > known.rev:
		t.writes.note(stored.key, false)
	case later < 0, later == 0 && (stored.rev <= known.rev || t.writes.has(stored.key)):
		known.rev = max(known.rev, stored.rev)
	case !known.of.is(stored.of.Owner), known.Account != stored.Account, known.Client != stored.Client:
		t.drop(known)
		t.add(stored)
	default:
		known.learn(stored)
		delete(t.writes.lazy, stored.key)
	}
}

// learn brings r up to date with what is stored of it.
func (r *row) learn(stored *row) {
	was := *r
	*r = *stored
	r.Outcome, r.Detail, r.Asked, r.tries, r.again, r.request = was.Outcome, was.Detail, was.Asked, was.tries, was.again, was.request
	r.gaps, r.rev, r.removed = was.gaps, max(was.rev, stored.rev), was.removed
}

// Compare takes what other nodes wrote while nobody told of it.
func (t *Table) Compare(ctx context.Context) error {
	before, there := t.latest(), make(map[rowKey]struct{})
	err := t.eachStored(store.Current(ctx), func(key rowKey, stored *row, err error) {
		there[key] = struct{}{}
		if err == nil {
			t.learn(stored)
		}
	})
	if err != nil {
		return err
	}
	t.keep(there, before)
	t.expire()
	return nil
}

// keep drops what was in the store at revision before and is not there any more.
func (t *Table) keep(there map[rowKey]struct{}, before store.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, known := range t.all {
		if _, is := there[key]; !is && known.rev > 0 && known.rev <= before && !t.writes.has(key) {
			t.drop(known)
		}
	}
}

// latest returns the latest revision of a session that is known.
func (t *Table) latest() (rev store.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, each := range t.all {
		rev = max(rev, each.rev)
	}
	return rev
}
