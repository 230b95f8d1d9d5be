package core

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	historyLength = 32           // attempts that are kept for an account
	maxUsages     = 2 * MaxLimit // last uses that are kept for an account
)

// doings are what happened at the account called name and is not written. They
// are in an activity until they are gone.
type doings struct {
	name string

	// Of who has flushing.
	gone bool
	of   *account // the latest that knows d; nil: none does

	mu      sync.Mutex
	fresh   happenings // what is to be written
	writing happenings // what is being written, and came before
	tried   int        // attempts in fresh that have no record to be written to
	waits   time.Time  // until when they wait while there are many; zero if they were few lately

	// Room for one attempt, which is all that most have.
	octets [128]byte
	usages [1]usage
}

func newDoings(name string) *doings {
	d := &doings{name: name}
	d.fresh.newer, d.fresh.usages = d.octets[:0], d.usages[:0]
	return d
}

// happenings are attempts and last uses. The attempts are kept in the form in
// which they are stored, which the garbage collector need not look into.
type happenings struct {
	usages []usage
	n      int // attempts, also those that are not kept

	// Attempts, oldest first, each a whole field of record.Activity: up to
	// historyLength in newer, and as many or none in older.
	older, newer []byte
	inNewer      int
}

// A usage is how often an app password was used, and last.
type usage struct {
	id    string // of the app password
	count uint64
	at    int64  // Unix milliseconds
	last  []byte // a record.Attempt
}

// happened is an AttemptEntry in the form that costs the sign-in least.
type happened struct {
	at      time.Time
	service string
	source  string // address, or empty
	device  string
	method  proof.Method
	reason  Reason
	ref     Ref
}

// add adds an attempt, and a use if it was granted.
func (l *happenings) add(h *happened) {
	var space [256]byte
	attempt := h.append(space[:0])
	l.n++
	if l.inNewer == historyLength {
		l.older, l.newer, l.inNewer = l.newer, l.older[:0], 0
	}
	l.newer = protowire.AppendBytes(append(l.newer, byte(fieldAttempts<<3)|byte(protowire.BytesType)), attempt)
	l.inNewer++
	if h.reason == "" && h.ref.ID != "" {
		l.use(h.ref.ID, 1, h.at.UnixMilli(), attempt)
	}
}

// use adds count uses of the app password called id, the last one at at.
func (l *happenings) use(id string, count uint64, at int64, last []byte) {
	i := slices.IndexFunc(l.usages, func(u usage) bool { return u.id == id })
	if i < 0 {
		i = len(l.usages)
		l.usages = append(l.usages, usage{id: id})
	}
	u := &l.usages[i]
	u.count += count
	if at >= u.at {
		u.at, u.last = at, append(u.last[:0], last...)
	}
}

// fields yields the attempts that are kept, oldest first, each a whole field
// of record.Activity.
func (l *happenings) fields(yield func([]byte) bool) {
	for _, b := range [][]byte{l.older, l.newer} {
		for len(b) > 0 {
			_, _, n := protowire.ConsumeField(b)
			if n <= 0 || !yield(b[:n:n]) { // what add appended is whole
				return
			}
			b = b[n:]
		}
	}
}

// addAfter adds what happened later.
func (l *happenings) addAfter(later *happenings) {
	all := append(slices.Collect(l.fields), slices.Collect(later.fields)...)
	all = all[max(0, len(all)-historyLength):]
	*l = happenings{usages: l.usages, n: l.n + later.n, newer: slices.Concat(all...), inNewer: len(all)}
	for _, u := range later.usages {
		l.use(u.id, u.count, u.at, u.last)
	}
}

// empty empties l, and keeps its room.
func (l *happenings) empty() {
	*l = happenings{usages: l.usages[:0], older: l.older[:0], newer: l.newer[:0]}
}

// lastUses returns when each app password was last used, by id.
func (l *happenings) lastUses() map[string]time.Time {
	all := make(map[string]time.Time, len(l.usages))
	for _, u := range l.usages {
		all[u.id] = fromMillis(u.at)
	}
	return all
}

// mergeUsages adds the last uses to the stored record.
func (l *happenings) mergeUsages(rec *record.Activity) error {
	for _, u := range l.usages {
		i := slices.IndexFunc(rec.Usages, func(r *record.Usage) bool { return r.Id == u.id })
		if i < 0 {
			i = len(rec.Usages)
			rec.Usages = append(rec.Usages, &record.Usage{Id: u.id})
		}
		rec.Usages[i].Count += u.count
		if rec.Usages[i].Last == nil || u.at >= rec.Usages[i].Last.Time {
			last := &record.Attempt{}
			if err := proto.Unmarshal(u.last, last); err != nil {
				return err
			}
			rec.Usages[i].Last = last
		}
	}
	if len(rec.Usages) > maxUsages { // those of app passwords deleted long ago
		slices.SortFunc(rec.Usages, func(a, b *record.Usage) int { return cmp.Compare(b.GetLast().GetTime(), a.GetLast().GetTime()) })
		rec.Usages = rec.Usages[:maxUsages]
	}
	return nil
}

// mergeInto adds l to the stored record.
func (l *happenings) mergeInto(rec *record.Activity) error {
	for field := range l.fields {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(field, rec); err != nil {
			return err
		}
	}
	if n := len(rec.Attempts) - historyLength; n > 0 {
		rec.Attempts = slices.Delete(rec.Attempts, 0, n)
	}
	return l.mergeUsages(rec)
}

// append appends h as a record.Attempt.
func (h *happened) append(b []byte) []byte {
	if ms := toMillis(h.at); ms != 0 {
		b = protowire.AppendVarint(append(b, 1<<3|byte(protowire.VarintType)), uint64(ms))
	}
	b = appendText(b, 2, valid(h.service))
	b = appendText(b, 3, h.source)
	b = appendText(b, 4, valid(h.device))
	b = appendText(b, 5, string(h.method))
	b = appendText(b, 6, string(h.reason))
	b = appendText(b, 7, h.ref.ID)
	return appendText(b, 8, valid(h.ref.Name))
}

// valid returns text that comes from outside as UTF-8: anything else could not
// be read again.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// appendText appends a field with a number of one octet, unless it is empty. It
// is what protowire does, but with one call for an ordinary text.
func appendText(b []byte, number byte, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, number<<3|byte(protowire.BytesType))
	if len(text) < 1<<7 {
		b = append(b, byte(len(text)))
	} else {
		b = protowire.AppendVarint(b, uint64(len(text)))
	}
	return append(b, text...)
}
