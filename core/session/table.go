package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

const (
	// MaxPerAppPassword is the most sessions of one app password that are known.
	MaxPerAppPassword = 64

	maxSessions = 100_000
	maxOver     = 1 << 16 // sessions that are remembered as over

	// overFor is how long a session that is over is remembered, so that a report
	// from before, which comes late, does not bring it back.
	overFor = 15 * time.Minute

	// overtaken is how late a report may come after the end, and not say that the
	// session goes on.
	overtaken = 10 * time.Second

	// A session that is not reported for missedReports of its client's intervals
	// is over. Where nobody knows the interval it is lifetime; an interval that
	// was only watched is between minEvery and maxEvery.
	missedReports = 3
	grace         = time.Minute
	lifetime      = 24 * time.Hour
	minEvery      = time.Minute
	maxEvery      = 8 * time.Hour
	shortGap      = 45 * time.Second // less than an interval is: RFC 2869, section 5.16, wants a minute
	manyGaps      = 5
)

// ErrUntied says that nothing ties the session to an app password, so that
// nothing is kept of it.
var ErrUntied = errors.New("the session is tied to no app password")

// ErrInvalid says that a report does not say what happened, or to which session.
var ErrInvalid = errors.New("the report has no event, or no id of a session")

// A Standing says of the app passwords of one account what each is called, empty
// if nobody knows, and whether it could sign in now. It waits for nothing.
type Standing func(of Owner) (name string, holds bool)

// Options say what a Table works with. All are required but Node.
type Options struct {
	Store   store.Store
	Keyring *keyring.Keyring
	Now     func() time.Time
	Log     *slog.Logger

	// Node is this node's name among those that share the store; empty where none
	// does. What the others write is brought by Follow and Compare.
	Node string

	// Standing returns what is so at the account of that normalised name, where it
	// is going to be asked about those app passwords; or an error if nobody can
	// tell now.
	Standing func(ctx context.Context, account string, about []Owner) (Standing, error)

	// Ended is told what came of a session that was to be ended, and Damaged of
	// a record that could not be opened and is removed.
	Ended   func(Session)
	Damaged func(key string)
}

// A Table keeps the sessions that clients told of and that are not over. Its
// methods may be called from many goroutines.
type Table struct {
	opt Options

	mu       sync.Mutex
	all      map[rowKey]*row
	accounts index // by normalised name
	clients  index
	over     overs
	lost     uint64              // that found no room
	damaged  map[rowKey]struct{} // whose records could not be opened

	writes   writes
	requests requests
	suspects suspects
	wake     chan struct{} // a token: there are sessions to be ended
}

// New returns a table without sessions. Load and Run make it whole.
func New(opt Options) *Table {
	return &Table{
		opt: opt, all: make(map[rowKey]*row), accounts: make(index), clients: make(index),
		over: overs{until: make(map[rowKey]over)}, damaged: make(map[rowKey]struct{}), writes: newWrites(), requests: newRequests(),
		suspects: newSuspects(), wake: make(chan struct{}, 1),
	}
}

// Run writes what the store is behind with, and has sessions ended, until ctx
// ends. What is not written by then, Flush writes.
func (t *Table) Run(ctx context.Context) {
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { t.writeLoop(ctx) })
	done.Go(func() { t.checkLoop(ctx) })
	t.endLoop(ctx, &done)
}

// Report takes what a client says of a session; r.Account is normalised, or
// empty. Nil means that it is recorded: a beginning and an end are in the store
// then, the rest follows within flushEvery. The error is ErrUntied, ErrInvalid, or
// one of the store or of Standing.
//
// What is reported is never believed beyond the client that reports it.
func (t *Table) Report(ctx context.Context, r Report) error {
	if r.Event < Starts || r.Event > Stopped || r.ID == "" {
		return ErrInvalid
	}
	if now := t.opt.Now(); r.At.IsZero() || r.At.After(now) {
		r.At = now
	}
	r.For = max(0, r.For)
	key := keyOf(r.Client, r.ID)
	of, tied := t.open(r)
	if !tied && !t.knows(key) {
		return ErrUntied
	}
	name, fresh := "", tied && !t.knowsAs(key, of.Owner)
	if fresh {
		standing, err := t.opt.Standing(ctx, of.Account, []Owner{of.Owner})
		if err != nil {
			return err
		}
		name, _ = standing(of.Owner)
	}
	account, ok := t.take(key, r, of, name)
	if !ok {
		return ErrUntied
	}
	if fresh { // its app password may have been deleted before, or meanwhile
		t.Suspect(account)
	}
	if r.Event == GoesOn {
		return nil
	}
	return t.written(ctx, key)
}

// Forget ends every session of client that is of what began anew: a device that was
// switched off has none. Nil means that this is in the store.
func (t *Table) Forget(ctx context.Context, client string, of func(Session) bool) error {
	return t.written(ctx, t.forget(client, of)...)
}

// List returns the sessions of one account, or of all where account is empty, by
// account and age.
func (t *Table) List(account string) []Session {
	found := t.list(account)
	slices.SortFunc(found, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), a.Since.Compare(b.Since), cmp.Compare(a.Client, b.Client), cmp.Compare(a.AppPassword, b.AppPassword))
	})
	return found
}

// Count returns how many sessions an app password has, beside what a device at
// that place had there: it is back, so that is over.
func (t *Table) Count(of Owner, back Place) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for each := range t.accounts[of.Account] {
		if each.of.is(of) && !each.replaced && !each.isAt(back) {
			n++
		}
	}
	return n
}

// Stats returns how many sessions are known, and how many found no room.
func (t *Table) Stats() (known int, lost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all), t.lost
}

// knows says whether a report of key can be taken without a token.
func (t *Table) knows(key rowKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, over := t.over.until[key]
	return t.all[key] != nil || over
}

// knowsAs says whether the session at key is one of that app password.
func (t *Table) knowsAs(key rowKey, of Owner) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.all[key]
	return known != nil && known.of.is(of)
}

// take takes r, which of ties to the app password of that name, if it is not the
// zero token. It returns the account; false if there is no such session and no
// token.
func (t *Table) take(key rowKey, r Report, of token, name string) (account string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opt.Now()
	known := t.all[key]
	tied := of != token{}
	if (tied || known == nil) && t.over.has(key, of, r.Event == GoesOn, r.At, now) {
		if r.Event == Stopped {
			t.over.tell(key)
			if t.opt.Node != "" { // it may be in the store by another one
				t.writes.note(key, true)
			}
		}
		return of.Account, true
	}
	if known != nil && tied && !known.of.is(of.Owner) {
		if of.issued <= known.of.issued {
			return known.Account, true // of before the client used the id again
		}
		t.remove(known)
		known = nil
	}
	if known == nil && !tied {
		return "", false
	}
	fresh := known == nil
	if fresh {
		known = &row{
			Session: Session{Account: of.Account, AppPassword: of.idText(), AppPasswordName: name, Client: r.Client, Since: r.At.Add(-r.For)},
			of:      of, key: key, id: r.ID, seen: now,
		}
		if r.Event != Stopped {
			t.add(known)
		}
	}
	if known.replaced {
		known.gone = t.replacedAt(known)
	}
	known.take(r, of, now)
	known.node = t.opt.Node
	if r.Event == Stopped {
		t.end(known, true)
		return known.Account, true
	}
	if fresh {
		t.replace(known)
	}
	t.writes.note(key, r.Event == Starts)
	return known.Account, true
}

// remove takes a session out of everything, and out of the store unless it is
// another node's. t.mu is held.
func (t *Table) remove(gone *row) {
	if t.drop(gone) && !t.isOthers(gone) {
		t.discard(gone)
	}
}

// discard has the record of a session removed that is not in the table any more.
// Where others may write it, it is only what this node knows of.
func (t *Table) discard(gone *row) {
	switch {
	case t.opt.Node == "":
		t.writes.note(gone.key, false)
	case gone.rev > 0:
		t.writes.stale[gone.key] = gone.rev
	}
}

// drop takes a session out of the table, if it is there. t.mu is held.
func (t *Table) drop(gone *row) bool {
	if t.all[gone.key] != gone {
		return false
	}
	delete(t.all, gone.key)
	delete(t.writes.lazy, gone.key)
	t.accounts.remove(gone.Account, gone)
	t.clients.remove(gone.Client, gone)
	if gone.request != nil {
		gone.request.stop()
		t.look()
	}
	return true
}

// end is remove for a session that is over, as its client may have told itself.
// t.mu is held.
func (t *Table) end(gone *row, told bool) {
	t.over.add(gone, told, t.opt.Now())
	t.drop(gone)
	t.discard(gone)
	t.writes.note(gone.key, true)
}

// forget ends what a device had before it began anew, and returns the keys of all that
// is over and not yet gone from the store: the device may have said so before, in vain.
func (t *Table) forget(client string, of func(Session) bool) []rowKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	for gone := range maps.Clone(t.clients[client]) {
		if of(gone.Session) {
			t.end(gone, false)
		}
	}
	return t.writes.without(t.all)
}

// expire removes sessions that were not reported for too long.
func (t *Table) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opt.Now()
	for _, old := range t.all {
		beyond := now.Sub(old.seen) - old.life()
		if old.request != nil || beyond <= 0 {
			continue
		}
		t.remove(old)
		if beyond > lifetime { // also where the node that it is of does not do it
			t.discard(old)
		}
	}
}

// list returns the sessions of the account, or all.
func (t *Table) list(account string) []Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := maps.Keys(t.accounts[account])
	if account == "" {
		rows = maps.Values(t.all)
	}
	var found []Session
	for each := range rows {
		if !each.replaced || each.Outcome != "" { // who could not have it ended is told so
			found = append(found, each.Session)
		}
	}
	return found
}
