package session_test

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/session"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

const alain = "alain@contoso.com"

// The app passwords of alain, which work until a test takes them away.
var (
	tv     = session.Owner{Account: alain, AccountID: [16]byte{1}, AppPassword: [8]byte{0x10}}
	laptop = session.Owner{Account: alain, AccountID: [16]byte{1}, AppPassword: [8]byte{0x20}}
)

// A fixture is a table over a store in memory. It runs where time passes only
// while everybody waits.
type fixture struct {
	*session.Table
	t     *testing.T
	ctx   context.Context
	store *faultyStore
	keys  *keyring.Keyring
	close func()       // writes what is left, as at an orderly end
	ahead atomic.Int64 // of the table's clock, nanoseconds

	mu      sync.Mutex
	gone    map[[8]byte]bool // app passwords that do not hold
	away    error            // what Standing says, if not nil
	awayFor func(account string) error
	slow    time.Duration // that Standing takes
	stood   func()        // runs after Standing has said something, if not nil
	ended   []session.Session
	damaged []string
}

// try runs fn on a table that runs.
func try(t *testing.T, fn func(t *testing.T, f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := keyring.New(time.Now())
		must(t, err)
		memory := memstore.New()
		defer memory.Close()
		f := &fixture{t: t, ctx: t.Context(), store: &faultyStore{Store: memory}, keys: keys, gone: map[[8]byte]bool{}}
		f.open()
		defer func() { f.close() }()
		fn(t, f)
	})
}

// open makes the table and runs it, also once more after close.
func (f *fixture) open() {
	f.t.Helper()
	f.Table = f.load()
	ctx, stop := context.WithCancel(f.ctx)
	over := make(chan struct{})
	table := f.Table
	go func() {
		table.Run(ctx)
		close(over)
	}()
	f.close = sync.OnceFunc(func() {
		stop()
		<-over
		must(f.t, table.Flush(context.Background()))
	})
}

// load returns a table of what is in the store.
func (f *fixture) load() *session.Table {
	f.t.Helper()
	table := session.New(session.Options{
		Store: f.store, Keyring: f.keys, Now: func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }, Log: slog.New(slog.DiscardHandler), Standing: f.standing,
		Ended:   func(n session.Session) { f.note(func() { f.ended = append(f.ended, n) }) },
		Damaged: func(key string) { f.note(func() { f.damaged = append(f.damaged, key) }) },
	})
	must(f.t, table.Load(f.ctx))
	return table
}

func (f *fixture) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

func (f *fixture) standing(ctx context.Context, account string, _ []session.Owner) (session.Standing, error) {
	var slow time.Duration
	f.note(func() { slow = f.slow })
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return nil, f.away
	}
	if f.awayFor != nil {
		if err := f.awayFor(account); err != nil {
			return nil, err
		}
	}
	return func(of session.Owner) (string, bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		holds := !f.gone[of.AppPassword]
		if f.stood != nil {
			f.stood()
		}
		return "called " + string(of.AppPassword[:1]), holds
	}, nil
}

// told returns the endings that were told of.
func (f *fixture) told() []session.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ended)
}

// take takes app passwords away, and tells the table.
func (f *fixture) take(all ...session.Owner) {
	f.note(func() {
		for _, of := range all {
			f.gone[of.AppPassword] = true
		}
	})
	f.Suspect(alain)
}

// grant returns the token of a sign-in at client.
func (f *fixture) grant(client string, of session.Owner) []byte {
	return f.AppendToken(nil, client, of, time.Now())
}

// tell tells of session id at vpn1, as of now where r does not say when.
func (f *fixture) tell(event session.Event, id string, token []byte, r session.Report) error {
	r.Event, r.ID, r.Client = event, id, cmp.Or(r.Client, "vpn1")
	if token != nil {
		r.Tokens = [][]byte{[]byte("the administrator's own"), token}
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	return f.Report(f.ctx, r)
}

// want fails unless table has so many sessions, and returns them.
func (f *fixture) want(n int, table *session.Table) []session.Session {
	f.t.Helper()
	all := table.List(alain)
	if len(all) != n {
		f.t.Fatalf("%d sessions, want %d: %+v", len(all), n, all)
	}
	return all
}

// outcomes returns what came of the sessions of alain since then, by device.
func (f *fixture) outcomes(ctx context.Context, since time.Time) map[string]session.Session {
	f.t.Helper()
	all, err := f.Endings(ctx, alain, since)
	must(f.t, err)
	found := map[string]session.Session{}
	for _, n := range all {
		if _, twice := found[n.Device]; twice {
			f.t.Errorf("%s is there twice", n.Device)
		}
		found[n.Device] = n
	}
	return found
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A faultyStore is a store that fails on demand.
type faultyStore struct {
	store.Store
	mu      sync.Mutex
	refused error         // what Apply says, if not nil
	hold    chan struct{} // Apply waits for it, if not nil
	scans   int           // so many more work, if not 0
	slow    time.Duration // that Apply takes at most before and after it has written
	after   chan struct{} // Apply waits for it once it has written, if not nil
	faults  int           // one in so many times Apply and Scan fail, if not 0; Apply also after it has written
}

func (s *faultyStore) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
}

func (s *faultyStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	s.mu.Lock()
	refused, hold, slow, after, faults := s.refused, s.hold, s.slow, s.after, s.faults
	s.mu.Unlock()
	if after != nil {
		defer func() { <-after }()
	}
	if slow > 0 {
		time.Sleep(rand.N(slow))
		defer func() { time.Sleep(rand.N(slow)) }()
	}
	if hold != nil {
		<-hold
	}
	if refused != nil {
		return 0, refused
	}
	if faults > 0 && rand.N(faults) == 0 {
		if rand.N(2) == 0 {
			_, _ = s.Store.Apply(ctx, b) // and the answer is lost
		}
		return 0, store.ErrUnavailable
	}
	return s.Store.Apply(ctx, b)
}

func (s *faultyStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scans > 0 {
		if s.scans--; s.scans == 0 {
			return nil, store.ErrUnavailable
		}
	}
	if s.faults > 0 && rand.N(s.faults) == 0 {
		return nil, store.ErrUnavailable
	}
	return s.Store.Scan(ctx, prefix, after, limit)
}

// records returns what is in the store.
func (s *faultyStore) records(t testing.TB) []store.Entry {
	t.Helper()
	all, err := s.Store.Scan(t.Context(), "session/", "", 1000)
	must(t, err)
	return all
}

// An ender is a session.Ender that answers as the test says.
type ender struct {
	mu      sync.Mutex
	asked   []string // devices
	outcome map[string]session.Outcome
	wait    chan struct{} // nil: nothing is waited for
	active  map[string]int
	most    map[string]int // at a time, by client; "" is all
}

func newEnder() *ender {
	return &ender{outcome: map[string]session.Outcome{}, active: map[string]int{}, most: map[string]int{}}
}

func (x *ender) EndSession(ctx context.Context, s session.Session) (session.Outcome, string) {
	x.mu.Lock()
	x.asked = append(x.asked, s.Device)
	outcome, wait := x.outcome[s.Device], x.wait
	for _, by := range []string{"", s.Client} {
		x.active[by]++
		x.most[by] = max(x.most[by], x.active[by])
	}
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.active[""]--
		x.active[s.Client]--
	}()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return session.Unanswered, ""
		}
	}
	if outcome == "" {
		return session.Ended, ""
	}
	return outcome, "because"
}

func (x *ender) were() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(x.asked)), " ")
}

// times returns how often it was asked.
func (x *ender) times() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked)
}

// mostOf returns for how many sessions of client it was asked at a time.
func (x *ender) mostOf(client string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.most[client]
}

func (x *ender) answers(device string, o session.Outcome) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outcome[device] = o
}
