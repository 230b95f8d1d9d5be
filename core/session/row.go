package session

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// A rowKey stands for a client and the id that it gave a session.
type rowKey [16]byte

func keyOf(client, id string) rowKey {
	sum := sha256.Sum256([]byte(client + "\x00" + id))
	return rowKey(sum[:16])
}

// record is where the record of a session is.
func (k rowKey) record() string { return record.PrefixSession + hex.EncodeToString(k[:]) }

// A row is a Session with what its Table needs to know of it.
type row struct {
	Session
	of       token
	key      rowKey
	id       string // the client's
	port     string
	at       time.Time     // what is known of it was so then
	seen     time.Time     // when the last report came
	every    time.Duration // how often the client reports; 0: not known
	gaps     int           // between reports that were watched
	replaced bool          // another one of the same device took its place
	gone     time.Time     // that began then; zero: not known

	node    string         // that heard the last report
	rev     store.Revision // of its record, as far as is known; 0: none
	removed store.Revision // when another node took the record away while it was to be written here

	request *request  // while it is being ended
	tries   int       // that failed
	again   time.Time // when the next one may
}

// life is how long r may go without a report.
func (r *row) life() time.Duration {
	if r.every == 0 {
		return lifetime
	}
	return missedReports*r.every + grace
}

// isAt says whether r is of the device at that place, where both are known.
func (r *row) isAt(p Place) bool {
	return p.Device != "" && p.Port != "" && Place{r.Client, r.Device, r.port} == p
}

// take brings r up to date with what is said. What comes late says less: it fills
// in what is not known.
func (r *row) take(said Report, of token, now time.Time) {
	late := said.At.Before(r.at)
	for _, field := range []struct {
		at   *string
		said string
	}{{&r.Device, said.Device}, {&r.port, said.Port}, {&r.Address, said.Address}} {
		if text := strings.ToValidUTF8(field.said, "\uFFFD"); text != "" && (!late || *field.at == "") {
			*field.at = text
		}
	}
	if len(said.Handle) > 0 && (!late || len(r.Handle) == 0) {
		r.Handle = said.Handle
	}
	if said.HasOctets && !late {
		r.OctetsIn, r.OctetsOut = said.OctetsIn, said.OctetsOut
	}
	r.of.issued = max(r.of.issued, of.issued)
	if !late {
		r.at = said.At
	}
	if said.Event == GoesOn {
		if !said.At.Before(r.gone) {
			r.replaced = false // it is there after all
		}
		r.watch(now.Sub(r.seen))
	}
	r.every = max(r.every, min(said.Every, maxEvery))
	r.seen = now
}

// watch learns from the time between two reports. The first one says nothing: clients
// report once more as soon as the device has its address. Nor does a short one, before
// there were many: some report only what is new, and a report may come twice.
func (r *row) watch(gap time.Duration) {
	r.gaps++
	if r.gaps > manyGaps || r.gaps > 1 && gap >= shortGap {
		r.every = max(r.every, min(max(gap, minEvery), maxEvery))
	}
}

// replace looks for what the same device has at the same port beside r: of the two
// that began earlier the end was lost, unless it was reported since the other
// began. It does not count any more, but is still ended with the others.
func (t *Table) replace(r *row) {
	for other := range t.accounts[r.Account] {
		if other == r || !other.of.is(r.of.Owner) || !other.isAt(Place{r.Client, r.Device, r.port}) {
			continue
		}
		gone, there := other, r
		if r.Since.Before(other.Since) {
			gone, there = r, other
		}
		if gone.at.After(there.Since) {
			continue
		}
		gone.replaced, gone.gone = true, there.Since
		t.writes.note(gone.key, false)
	}
}

// replacedAt returns when what took the place of r began, as far as is known: of what is
// read from the store, as what is there tells.
func (t *Table) replacedAt(r *row) time.Time {
	at := r.gone
	for other := range t.accounts[r.Account] {
		if other != r && other.of.is(r.of.Owner) && other.isAt(Place{r.Client, r.Device, r.port}) && other.Since.After(at) {
			at = other.Since
		}
	}
	return at
}

// An index has rows by a name.
type index map[string]map[*row]struct{}

func (x index) add(name string, r *row) {
	if x[name] == nil {
		x[name] = make(map[*row]struct{})
	}
	x[name][r] = struct{}{}
}

func (x index) remove(name string, r *row) {
	delete(x[name], r)
	if len(x[name]) == 0 {
		delete(x, name)
	}
}

// An over is a session that is over.
type over struct {
	issued int64     // of its last token
	at     time.Time // when that was known
	told   bool      // by the client, of this session
	until  time.Time
}

// overs remembers sessions that are over, the oldest up to a number of them.
type overs struct {
	until map[rowKey]over
	order []rowKey // oldest first
}

func (o *overs) add(r *row, told bool, now time.Time) {
	for len(o.order) > 0 && (len(o.order) >= maxOver || !now.Before(o.until[o.order[0]].until)) {
		delete(o.until, o.order[0])
		o.order = o.order[1:]
	}
	if _, known := o.until[r.key]; !known {
		o.order = append(o.order, r.key)
	}
	o.until[r.key] = over{issued: r.of.issued, at: now, told: told, until: now.Add(overFor)}
}

// forget forgets an end that was none: the session with of is there. That another one
// had the id before is kept in mind.
func (o *overs) forget(key rowKey, of token) {
	if was, ok := o.until[key]; ok && of.issued <= was.issued {
		delete(o.until, key)
	}
}

// tell notes that the client told of the end at key.
func (o *overs) tell(key rowKey) {
	was := o.until[key]
	was.told = true
	o.until[key] = was
}

// has says whether what was so at a time, with of or with no token, comes after its
// session. That one which its client did not tell the end of itself goes on, its
// reports say: a device that was switched off may be another one, and one that was
// asked to end a session may not have found it.
func (o *overs) has(key rowKey, of token, goesOn bool, at, now time.Time) bool {
	was, ok := o.until[key]
	switch {
	case !ok || !now.Before(was.until) || of.issued > was.issued:
		return false
	case was.told || !goesOn || of.issued == 0:
		return true
	}
	return at.Before(was.at.Add(overtaken))
}
