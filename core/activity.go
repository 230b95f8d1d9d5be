package core

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

const (
	historyLength = 32      // attempts that are kept for an account
	maxFresh      = 1 << 18 // attempts that wait to be grouped; more are lost
	maxDoings     = 1 << 17 // accounts that wait for another try to be written; more are lost
	maxStrangers  = 1 << 12 // names without a record whose attempts are kept in memory

	maxUsages = 2 * MaxLimit // last uses that are kept for an account

	// An account with busy attempts since its activity was written is written
	// again between seldomFrom and seldomTo later (rule A12: accurate to 60 s).
	// The others are written with every flush.
	busy       = 16
	seldomFrom = 30 * time.Second
	seldomTo   = 55 * time.Second

	// Bounds of a batch of activity records, well below the store's.
	flushOps   = 64
	flushBytes = store.MaxBatch / 2
)

// An AttemptEntry is one attempt as the history of an account keeps it.
type AttemptEntry struct {
	Time        time.Time
	Service     string
	Source      string // address, or empty
	Device      string
	Method      proof.Method
	Reason      Reason // empty: granted
	AppPassword Ref    // empty if there was none
}

// Sentence tells a person why the attempt was refused and what to do; it is
// empty for a grant. Out of scope without an app password is a service that its
// bridge does not serve at all.
func (a AttemptEntry) Sentence() string {
	switch {
	case a.Reason == "":
		return ""
	case a.Reason == ReasonOutOfScope && a.AppPassword.ID == "":
		return "the service is not one where app passwords count, so that nobody looked at the password; list it in [pam] services if they shall"
	}
	return a.Reason.Sentence()
}

// An activity collects what happens at sign-in until it is written: attempts
// and last uses, bounded in number. A sign-in only appends to a list; whoever
// writes groups it by account.
type activity struct {
	mu        sync.Mutex
	fresh     attempts             // as they came
	grouping  attempts             // being grouped, and then among writing
	spare     [][]attemptAt        // empty chunks for fresh
	waiting   map[string]*doings   // could not be written, and waits for the next time
	writing   map[string]*doings   // being written now
	strangers map[string]*doings   // names that have no record to be written to
	seldom    map[string]time.Time // busy ones that were just written, and until when they wait
	lost      uint64               // attempts that found no room

	flushing sync.Mutex    // one writes at a time
	crowded  chan struct{} // a token: fresh is half full
}

// doings are what happened at one account and is not written.
type doings struct {
	usages   map[string]usage // by id of the app password
	attempts []happened       // oldest first; more than are kept of an account
	n        int              // attempts, also those that are not kept
}

type usage struct {
	count uint64
	last  happened
}

// happened is an AttemptEntry in the form that costs the sign-in least.
type happened struct {
	at      time.Time
	service string
	source  netip.Addr
	device  string
	method  proof.Method
	reason  Reason
	ref     Ref
}

func newActivity() *activity {
	return &activity{
		waiting:   make(map[string]*doings),
		writing:   make(map[string]*doings),
		strangers: make(map[string]*doings),
		seldom:    make(map[string]time.Time),
		crowded:   make(chan struct{}, 1),
	}
}

// add notes one attempt at the account called name.
func (a *activity) add(name string, h happened) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fresh.n >= maxFresh {
		a.lost++
		return
	}
	if a.fresh.isFull() {
		a.fresh.chunks = append(a.fresh.chunks, a.emptyChunk())
	}
	a.fresh.add(attemptAt{name, h})
	if a.fresh.n == maxFresh/2 {
		select {
		case a.crowded <- struct{}{}:
		default:
		}
	}
}

// emptyChunk returns a chunk for fresh.
func (a *activity) emptyChunk() []attemptAt {
	n := len(a.spare)
	if n == 0 {
		return make([]attemptAt, 0, chunkLength)
	}
	chunk := a.spare[n-1]
	a.spare[n-1], a.spare = nil, a.spare[:n-1]
	return chunk
}

func (d *doings) add(h happened) {
	d.n++
	if len(d.attempts) == 2*historyLength { // not one by one: that would move all of them each time
		d.attempts = append(d.attempts[:0], d.attempts[historyLength+1:]...)
	}
	d.attempts = append(d.attempts, h)
	if h.reason == "" && h.ref.ID != "" {
		d.use(h.ref.ID, usage{count: 1, last: h})
	}
}

func (d *doings) use(id string, u usage) {
	if d.usages == nil {
		d.usages = make(map[string]usage, 1)
	}
	u.count += d.usages[id].count
	if d.usages[id].last.at.After(u.last.at) {
		u.last = d.usages[id].last
	}
	d.usages[id] = u
}

// mergeInto adds d to the stored record.
func (d *doings) mergeInto(rec *record.Activity) {
	added := d.attempts[max(0, len(d.attempts)-historyLength):]
	rec.Attempts = slices.Grow(rec.Attempts, len(added))
	for _, h := range added {
		rec.Attempts = append(rec.Attempts, h.toRecord())
	}
	if n := len(rec.Attempts) - historyLength; n > 0 {
		rec.Attempts = slices.Delete(rec.Attempts, 0, n)
	}
	for id, u := range d.usages {
		i := slices.IndexFunc(rec.Usages, func(r *record.Usage) bool { return r.Id == id })
		if i < 0 {
			i = len(rec.Usages)
			rec.Usages = append(rec.Usages, &record.Usage{Id: id})
		}
		rec.Usages[i].Count += u.count
		if rec.Usages[i].Last == nil || u.last.at.UnixMilli() >= rec.Usages[i].Last.Time {
			rec.Usages[i].Last = u.last.toRecord()
		}
	}
	if len(rec.Usages) > maxUsages { // those of app passwords deleted long ago
		slices.SortFunc(rec.Usages, func(a, b *record.Usage) int { return cmp.Compare(b.GetLast().GetTime(), a.GetLast().GetTime()) })
		rec.Usages = rec.Usages[:maxUsages]
	}
}

func (h happened) toRecord() *record.Attempt {
	r := &record.Attempt{
		Time: toMillis(h.at), Service: h.service, Device: h.device, Method: string(h.method),
		Reason: string(h.reason), AppPasswordId: h.ref.ID, AppPasswordName: h.ref.Name,
	}
	if h.source.IsValid() {
		r.Source = h.source.String()
	}
	return r
}

func fromRecord(r *record.Attempt) AttemptEntry {
	return AttemptEntry{
		Time: fromMillis(r.GetTime()), Service: r.GetService(), Source: r.GetSource(), Device: r.GetDevice(),
		Method: proof.Method(r.GetMethod()), Reason: Reason(r.GetReason()),
		AppPassword: Ref{ID: r.GetAppPasswordId(), Name: r.GetAppPasswordName()},
	}
}

// pending returns copies of what is not written of name, oldest first.
func (a *activity) pending(name string) []doings {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []doings
	for _, m := range []map[string]*doings{a.strangers, a.waiting, a.writing} {
		if d := m[name]; d != nil {
			all = append(all, doings{usages: maps.Clone(d.usages), attempts: slices.Clone(d.attempts)})
		}
	}
	var fresh doings
	for _, list := range []attempts{a.grouping, a.fresh} {
		for at := range list.all {
			if at.name == name {
				fresh.add(at.happened)
			}
		}
	}
	return append(all, fresh)
}

// forget drops what is not written of name, and is not being written.
func (a *activity) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.strangers, name)
	delete(a.waiting, name)
	a.fresh.forget(name)
}

// group brings the attempts that came into groups by account, which take less
// room, and says whether so many accounts wait that they should be written. The
// caller holds flushing.
func (a *activity) group() (many bool) {
	a.mu.Lock()
	a.grouping, a.fresh = a.fresh, attempts{}
	a.mu.Unlock()
	groups := make(map[string]*doings)
	for at := range a.grouping.all { // nobody changes it meanwhile
		d := groups[at.name]
		if d == nil {
			d = &doings{}
			groups[at.name] = d
		}
		d.add(at.happened)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, chunk := range a.grouping.chunks {
		if clear(chunk); len(a.spare) < maxSpare {
			a.spare = append(a.spare, chunk[:0])
		}
	}
	a.grouping = attempts{}
	for name, d := range groups {
		a.waiting[name] = joined(a.waiting[name], d)
	}
	return len(a.waiting) >= maxDoings/2
}

// take moves what is to be written into writing, and returns the names: all
// that is not written or, with due, all but the busy ones that were written lately.
func (a *activity) take(due bool, now time.Time) []string {
	a.group()
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.seldom, func(_ string, until time.Time) bool { return !now.Before(until) })
	a.writing, a.waiting = a.waiting, make(map[string]*doings)
	if due {
		for name := range a.seldom {
			if d := a.writing[name]; d != nil && d.n >= busy {
				a.waiting[name] = d
				delete(a.writing, name)
			}
		}
	}
	return slices.Sorted(maps.Keys(a.writing))
}

// written ends the writing of names. Those that could not be written wait
// again, those without a record become strangers.
func (a *activity) written(names []string, now time.Time, outcome func(name string) writeOutcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		d := a.writing[name]
		delete(a.writing, name)
		if d == nil {
			continue
		}
		switch outcome(name) {
		case writeFailed:
			if len(a.waiting) >= maxDoings {
				a.lost += uint64(len(d.attempts))
				continue
			}
			a.waiting[name] = d
		case writeNowhere:
			if a.strangers[name] == nil && len(a.strangers) >= maxStrangers {
				for other := range a.strangers { // any one: there is no order among strangers
					delete(a.strangers, other)
					break
				}
			}
			a.strangers[name] = joined(a.strangers[name], d)
		case writeDone:
			delete(a.strangers, name)
			if d.n >= busy { // not all of them again at the same moment
				a.seldom[name] = now.Add(seldomFrom + rand.N(seldomTo-seldomFrom))
			}
		}
	}
}

// joined returns older with newer added to it; either may be nil.
func joined(older, newer *doings) *doings {
	if older == nil {
		return newer
	}
	if newer == nil {
		return older
	}
	older.n += newer.n
	older.attempts = append(older.attempts, newer.attempts...)
	if n := len(older.attempts) - historyLength; n > 0 {
		older.attempts = slices.Delete(older.attempts, 0, n)
	}
	for id, u := range newer.usages {
		older.use(id, u)
	}
	return older
}

type writeOutcome uint8

const (
	writeFailed  writeOutcome = iota // keep it and try again
	writeNowhere                     // the account has no record
	writeDone
)

// recordAttempt notes a decided attempt and tells the Recorder.
func (e *Engine) recordAttempt(a Attempt, v verdict) error { return e.note(&a, methodOf(a.Proof), &v) }

// note is recordAttempt of an attempt by m, whatever its Proof is.
func (e *Engine) note(a *Attempt, m proof.Method, v *verdict) error {
	h := happened{
		at: e.clock.now(), service: a.Service, source: a.Source, device: a.Device,
		method: m, reason: v.reason, ref: v.ref,
	}
	name := v.name
	if name == "" {
		name = a.Account
	}
	if v.account == nil { // what the directory knows is no secret
		name = shown(name)
	}
	if e.opt.Recorder != nil {
		err := e.opt.Recorder.Record(Event{
			Time: h.at, Kind: EventAttempt, Account: name, AppPassword: h.ref, Service: h.service,
			Source: e.sources.text(h.source), Device: h.device, Method: h.method, Reason: h.reason, Detail: v.detail,
		})
		if err != nil {
			h.reason = ReasonUnavailable
			e.activity.add(name, h)
			return err
		}
	}
	e.activity.add(name, h)
	if v.reason == ReasonTamper {
		e.recordTamper(name, v.err)
	}
	return nil
}

// sources keep the texts of the addresses that ask, which are few.
type sources [256]atomic.Pointer[sourceText]

type sourceText struct {
	addr netip.Addr
	text string
}

// text returns a as text; nothing for the zero Addr.
func (s *sources) text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	octets := a.As16()
	at := &s[octets[15]]
	known := at.Load()
	if known == nil || known.addr != a {
		known = &sourceText{a, a.String()}
		at.Store(known)
	}
	return known.text
}

func (e *Engine) recordTamper(name string, cause error) {
	e.log.Error("a record was changed or damaged outside of Keywicket", "account", name, "err", cause)
	e.record(context.Background(), Event{Kind: EventTamper, Account: name, Detail: cause.Error()})
}

// record tells the Recorder of an event that is no attempt.
func (e *Engine) record(ctx context.Context, ev Event) {
	ev.Time, ev.Actor = e.opt.Now(), ActorOf(ctx)
	if e.opt.Recorder == nil {
		return
	}
	if err := e.opt.Recorder.Record(ev); err != nil {
		e.log.Error("an event could not be recorded", "event", ev.Kind, "account", ev.Account, "err", err)
	}
}

// readActivity returns the activity record of name; an empty one if there is
// none. One that is damaged decides nothing, so it is reported and replaced.
func (e *Engine) readActivity(ctx context.Context, name string) (*record.Activity, store.Revision, error) {
	rec := &record.Activity{}
	rev, damaged, err := e.findActivity(ctx, name, func(plain []byte) error {
		defer clear(plain)
		return proto.Unmarshal(plain, rec)
	})
	if damaged {
		rec = &record.Activity{}
	}
	return rec, rev, err
}

// findActivity has the activity record of name read by parse, if there is one,
// and says whether it is damaged, which it reports.
func (e *Engine) findActivity(ctx context.Context, name string, parse func(plain []byte) error) (rev store.Revision, damaged bool, err error) {
	key := record.PrefixActivity + name
	entry, err := e.store.Get(ctx, key)
	switch err = storeError("read activity", err); KindOf(err) {
	case 0:
	case KindNotFound:
		return 0, false, nil
	default:
		return 0, false, err
	}
	if err := e.openWith(record.KindActivity, key, entry.Value, parse); err != nil {
		e.recordTamper(name, err)
		return entry.Revision, true, nil
	}
	return entry.Revision, false, nil
}

// activityOf returns what is known to have happened at name.
func (e *Engine) activityOf(ctx context.Context, name string) (*record.Activity, error) {
	e.activity.flushing.Lock() // nothing moves from pending to the record meanwhile
	defer e.activity.flushing.Unlock()
	rec, _, err := e.readActivity(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, d := range e.activity.pending(name) {
		d.mergeInto(rec)
	}
	return rec, nil
}

// lastUse returns when the app password with this id was last used, or zero.
func (e *Engine) lastUse(ctx context.Context, name, id string) (time.Time, error) {
	var last time.Time
	for _, d := range e.activity.pending(name) { // first: it may be written meanwhile
		if u := d.usages[id]; u.last.at.After(last) {
			last = u.last.at
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
