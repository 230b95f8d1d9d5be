package core

import (
	"cmp"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	inboxes      = 1 << 6       // parts of the accounts
	maxFresh     = 1 << 18      // attempts that wait to be grouped; more are lost
	crowd        = maxFresh / 2 // and are not left waiting for the next flush
	maxDoings    = 1 << 17      // accounts of which something is not written; what happens at others is lost
	maxStrangers = 1 << 12      // names without a record whose attempts are kept in memory

	breathAttempts = 1 << 10

	// An account with busy attempts since it was written, and written lately,
	// is written again between seldomFrom and seldomTo later (rule A12:
	// accurate to 60 s). The others are written with every flush.
	busy       = 12
	seldomFrom = 30 * time.Second
	seldomTo   = 52 * time.Second
)

// An activity collects what happens at sign-in until it is written: attempts
// and last uses, bounded in number. A sign-in only appends to a list; whoever
// writes groups it by account. There are many such lists, each for a part of the
// accounts, so that what is known of those of a list fits into the processor's
// cache while it is grouped.
type activity struct {
	seed    maphash.Seed
	inboxes [inboxes]inbox
	waiting atomic.Int64  // attempts in all of them that are not being grouped
	lost    atomic.Uint64 // attempts that found no room

	crowded chan struct{} // a token: a crowd waits

	flushing  sync.Mutex           // one groups and writes at a time; taken by lock
	waiters   atomic.Int32         // who waits for flushing
	hurry     chan struct{}        // a token: there is one more
	strangers map[*doings]struct{} // that have no record to be written to

	grouped sync.Mutex         // before that of a doings
	byName  map[string]*doings // that are not gone; changed only by who has flushing, too
}

func newActivity() *activity {
	return &activity{seed: maphash.MakeSeed(), strangers: make(map[*doings]struct{}), byName: make(map[string]*doings), crowded: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// lock takes flushing; a flush that takes its time hurries then.
func (a *activity) lock() {
	a.waiters.Add(1)
	defer a.waiters.Add(-1)
	select {
	case a.hurry <- struct{}{}:
	default:
	}
	a.flushing.Lock()
}

// pause waits until a moment, until somebody waits for flushing, until a crowd waits
// to be grouped, or until end is closed. The caller holds flushing.
func (a *activity) pause(until time.Time, end <-chan struct{}) {
	left := time.Until(until)
	if left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	for a.waiters.Load() == 0 {
		select {
		case <-t.C:
			return
		case <-a.crowded:
			return
		case <-end:
			return
		case <-a.hurry:
		}
	}
}

// inbox returns where the attempts at the account called name wait.
func (a *activity) inbox(name string) *inbox {
	return &a.inboxes[maphash.String(a.seed, name)%inboxes]
}

// add notes one attempt.
func (a *activity) add(at attemptAt) {
	n := a.waiting.Add(1)
	if n > maxFresh {
		a.waiting.Add(-1)
		a.lost.Add(1)
		return
	}
	a.inbox(at.name).add(&at)
	if n == crowd {
		select {
		case a.crowded <- struct{}{}:
		default:
		}
	}
}

// group brings the attempts that came into groups by account, which take less
// room, and says whether so many accounts wait that they should be written. The
// caller holds flushing.
func (a *activity) group() (many bool) {
	breath := 0
	for i := range a.inboxes {
		b := &a.inboxes[i]
		list := b.begin()
		a.waiting.Add(-int64(list.n))
		for at := range list.all {
			if d := a.doingsFor(at); d != nil {
				d.add(&at.happened)
			} else {
				a.lost.Add(1)
			}
		}
		if breath += list.n; breath >= breathAttempts {
			breath = 0
			breathe()
		}
		b.end()
	}
	return len(a.byName) >= maxDoings/2
}

// breathe lets sign-ins go first: the scheduler looks at the network only when a
// processor has nothing else to do.
func breathe() { time.Sleep(50 * time.Microsecond) }

// doingsFor returns where at belongs, or nil if there is no room. The caller
// holds flushing.
func (a *activity) doingsFor(at *attemptAt) *doings {
	if at.of != nil && at.of.doings != nil && !at.of.doings.gone {
		return at.of.doings
	}
	d := a.byName[at.name]
	if d == nil {
		if len(a.byName) >= maxDoings {
			return nil
		}
		d = newDoings(at.name)
		a.grouped.Lock()
		a.byName[at.name] = d
		a.grouped.Unlock()
	}
	if at.of != nil {
		at.of.doings, d.of = d, at.of
	}
	return d
}

// add notes one attempt.
func (d *doings) add(h *happened) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh.add(h)
}

// find returns the doings of name, or nil.
func (a *activity) find(name string) *doings {
	a.grouped.Lock()
	defer a.grouped.Unlock()
	return a.byName[name]
}

// pending returns a copy of what is not written of name. Unless the caller holds
// flushing, some of it may be there twice.
func (a *activity) pending(name string) (all happenings) {
	b := a.inbox(name)
	b.mu.Lock() // nothing is grouped meanwhile that was not found before
	defer b.mu.Unlock()
	if d := a.find(name); d != nil {
		d.mu.Lock()
		all.addAfter(&d.writing)
		all.addAfter(&d.fresh)
		d.mu.Unlock()
	}
	for _, list := range []*attempts{&b.grouping, &b.fresh} {
		for at := range list.all {
			if at.name == name {
				all.add(&at.happened)
			}
		}
	}
	return all
}

// forget drops what is not written of name. The caller holds flushing.
func (a *activity) forget(name string) {
	b := a.inbox(name)
	b.mu.Lock()
	a.waiting.Add(-int64(b.fresh.forget(name)))
	b.mu.Unlock()
	if d := a.find(name); d != nil {
		a.drop(d)
	}
}

// drop takes d out. The caller holds flushing.
func (a *activity) drop(d *doings) {
	d.gone = true
	if d.of != nil && d.of.doings == d { // or it would be kept for as long as the account
		d.of.doings = nil
	}
	delete(a.strangers, d)
	a.grouped.Lock()
	defer a.grouped.Unlock()
	delete(a.byName, d.name)
}

// take begins the writing of all that is not written or, with due, all but the
// busy ones that were written lately. It returns them in the order of their
// names. The caller holds flushing.
func (a *activity) take(due bool, now time.Time) []*doings {
	many := a.group()
	due = due && !many // else there is no room to wait
	var all []*doings
	for _, d := range a.byName {
		switch begun, idle := d.begin(due, now); {
		case begun:
			all = append(all, d)
		case idle:
			a.drop(d)
		}
	}
	slices.SortFunc(all, func(x, y *doings) int { return cmp.Compare(x.name, y.name) })
	return all
}

// begin moves what is to be written now into writing, and says whether there is
// any; and whether d is not needed any more.
func (d *doings) begin(due bool, now time.Time) (begun, idle bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waits := now.Before(d.waits)
	switch {
	case d.fresh.n == d.tried: // nothing new
		return false, d.fresh.n == 0 && !waits
	case due && waits && d.fresh.n >= busy:
		return false, false
	}
	d.fresh, d.writing = d.writing, d.fresh // writing was empty
	d.tried = 0
	return true, false
}

// written ends the writing of d, at which something more may have been grouped
// meanwhile. The caller holds flushing.
func (a *activity) written(d *doings, now time.Time, outcome writeOutcome) {
	d.mu.Lock()
	n := d.writing.n
	if outcome == writeDone {
		d.writing.empty()
		d.waits = time.Time{}
		if n >= busy { // not all of them again at the same moment
			d.waits = now.Add(seldomFrom + rand.N(seldomTo-seldomFrom))
		}
	} else {
		if d.fresh.n > 0 {
			d.writing.addAfter(&d.fresh)
			d.fresh.empty()
		}
		d.fresh, d.writing = d.writing, d.fresh
	}
	if outcome == writeNowhere {
		d.tried = n
	}
	isNeeded := d.fresh.n > 0 || !d.waits.IsZero()
	d.mu.Unlock()
	switch {
	case outcome == writeNowhere:
		a.strange(d)
	case outcome == writeDone:
		delete(a.strangers, d)
		if !isNeeded {
			a.drop(d)
		}
	}
}

// strange keeps d among the strangers, which are bounded.
func (a *activity) strange(d *doings) {
	a.strangers[d] = struct{}{}
	for other := range a.strangers { // any one: there is no order among strangers
		if len(a.strangers) <= maxStrangers {
			return
		}
		a.drop(other)
	}
}

type writeOutcome uint8

const (
	writeFailed  writeOutcome = iota // keep it and try again
	writeNowhere                     // the account has no record
	writeDone
)
