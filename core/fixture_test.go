package core_test

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

const (
	alain        = "alain@contoso.com"
	mainPassword = "correct horse battery"
)

// A fixture is an engine over a store in memory and a local directory, with a
// clock that the test moves.
type fixture struct {
	*core.Engine
	t      testing.TB
	ctx    context.Context
	store  *faultyStore
	keys   *keyring.Keyring
	opt    core.Options
	policy core.Policy

	mu     sync.Mutex
	now    time.Time
	events []core.Event
}

// newFixture opens an engine; edit may change its options before.
func newFixture(t testing.TB, edit func(*fixture)) *fixture {
	t.Helper()
	keys, err := keyring.New(time.Now())
	must(t, err)
	memory := memstore.New()
	t.Cleanup(func() { memory.Close() })
	f := &fixture{
		t: t, ctx: t.Context(), store: &faultyStore{Store: memory}, keys: keys, policy: core.DefaultPolicy(),
		now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
	}
	f.opt = core.Options{Store: f.store, Keyring: keys, Recorder: f, Now: f.clock, Flush: time.Hour}
	f.opt.Directory = local.New(f.store, keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	if edit != nil {
		edit(f)
	}
	f.opt.Policy = &f.policy
	f.open()
	return f
}

// open opens the engine, also once more after Close.
func (f *fixture) open() {
	f.t.Helper()
	e, err := core.Open(f.ctx, f.opt)
	must(f.t, err)
	f.Engine = e
	f.t.Cleanup(func() { e.Close() })
}

// reopen closes the engine and opens it over the same store.
func (f *fixture) reopen() {
	f.t.Helper()
	must(f.t, f.Close())
	f.open()
}

// another opens a second engine over the same store: another node. It has a
// directory of its own where the first has the local one.
func (f *fixture) another() *fixture {
	f.t.Helper()
	g := &fixture{t: f.t, ctx: f.ctx, store: &faultyStore{Store: f.store.Store}, keys: f.keys, policy: f.policy, now: f.clock(), opt: f.opt}
	g.opt.Store, g.opt.Recorder, g.opt.Now, g.opt.Policy = g.store, g, g.clock, &g.policy
	if _, ok := f.opt.Directory.(*local.Directory); ok {
		g.opt.Directory = local.New(g.store, g.keys, local.Options{Now: g.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	}
	g.open()
	return g
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// Record keeps events for the test to look at.
func (f *fixture) Record(e core.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
	return nil
}

// recorded returns the events of one kind.
func (f *fixture) recorded(kind core.EventKind) []core.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []core.Event
	for _, e := range f.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// addAlain makes the account with two-step verification on, and returns its
// first app password.
func (f *fixture) addAlain(groups ...string) (core.AppPassword, string) {
	f.t.Helper()
	_, err := f.AddAccount(f.ctx, alain, groups, []byte(mainPassword))
	must(f.t, err)
	c := f.turnOn()
	return *c.First, c.FirstText.Canonical()
}

// turnOn enrolls and confirms alain.
func (f *fixture) turnOn() core.Confirmation {
	f.t.Helper()
	uri, err := f.Enroll(f.ctx, alain)
	must(f.t, err)
	c, err := f.Confirm(f.ctx, alain, codeOf(f.t, uri, f.clock()), core.NewAppPassword{})
	must(f.t, err)
	return c
}

// create makes an app password for alain.
func (f *fixture) create(name, profile string) (core.AppPassword, string) {
	f.t.Helper()
	made, text, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: name, Profile: profile})
	must(f.t, err)
	return made, text.Canonical()
}

// try presents text for alain at radius/vpn1, from no known device.
func (f *fixture) try(text string) error {
	_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1"})
	return err
}

// wantReason fails unless err is an Error with this reason; "" wants nil.
func wantReason(t testing.TB, what string, err error, want core.Reason) {
	t.Helper()
	if got := core.ReasonOf(err); got != want {
		t.Errorf("%s: reason %q (%v), want %q", what, got, err, want)
	}
	if err != nil && core.KindOf(err) != want.Kind() {
		t.Errorf("%s: kind %v for reason %q, want %v", what, core.KindOf(err), want, want.Kind())
	}
}

// wantKind fails unless err is of this kind.
func wantKind(t testing.TB, what string, err error, want core.Kind) {
	t.Helper()
	var e *core.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("%s: %v is no *core.Error", what, err)
	}
	if got := core.KindOf(err); got != want {
		t.Errorf("%s: kind %v (%v), want %v", what, got, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// codeOf computes the code that an authenticator app shows (RFC 6238), by its
// own way and not the engine's.
func codeOf(t testing.TB, uri string, now time.Time) string {
	t.Helper()
	u, err := url.Parse(uri)
	must(t, err)
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	must(t, err)
	h := hmac.New(sha1.New, key)
	must(t, binary.Write(h, binary.BigEndian, now.Unix()/30))
	sum := h.Sum(nil)
	at := sum[19] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff)%1000000)
}

// otherText returns an app password that nobody has.
func otherText(t testing.TB) string {
	t.Helper()
	text, err := secret.Generate(zeros{}, secret.Standard)
	must(t, err)
	return text.Canonical()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A faultyStore is a store that fails on demand.
type faultyStore struct {
	store.Store
	mu      sync.Mutex
	down    error             // what every method says, if not nil
	refused error             // what Apply says and does not write, if not nil
	lost    error             // what Apply says after it wrote, if not nil
	before  func(store.Batch) // called by Apply before it writes, if not nil
	after   func()            // called by Apply after it wrote, if not nil
	gets    []string
	applied int

	limited    bool // writes fail once writesLeft of them are done
	writesLeft int
}

func (s *faultyStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// refuse makes Apply say err.
func (s *faultyStore) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
}

// lose makes Apply write and then say err.
func (s *faultyStore) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = err
}

// intercept makes Apply call f before it writes; nil ends that.
func (s *faultyStore) intercept(f func(store.Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// follow makes Apply call f once it wrote; nil ends that.
func (s *faultyStore) follow(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

// count returns how many records were read and batches written since last time.
func (s *faultyStore) count() (gets []string, applied int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets, applied = s.gets, s.applied
	s.gets, s.applied = nil, 0
	return gets, applied
}

func (s *faultyStore) Get(ctx context.Context, key string) (store.Entry, error) {
	s.mu.Lock()
	s.gets = append(s.gets, key)
	err := s.down
	s.mu.Unlock()
	if err != nil {
		return store.Entry{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *faultyStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	s.mu.Lock()
	s.applied++
	down, lost, before, after := cmp.Or(s.down, s.refused, s.mayWrite()), s.lost, s.before, s.after
	s.mu.Unlock()
	if down != nil {
		return 0, down
	}
	if before != nil {
		before(b)
	}
	rev, err := s.Store.Apply(ctx, b)
	if after != nil {
		after()
	}
	if err == nil && lost != nil {
		return 0, lost
	}
	return rev, err
}

func (s *faultyStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	s.mu.Lock()
	err := s.down
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.Store.Scan(ctx, prefix, after, limit)
}

// all returns everything that is kept.
func (s *faultyStore) all(t testing.TB) []store.Entry {
	t.Helper()
	var all []store.Entry
	for after := ""; ; after = all[len(all)-1].Key {
		some, err := s.Store.Scan(t.Context(), "", after, 100)
		must(t, err)
		all = append(all, some...)
		if len(some) < 100 {
			return all
		}
	}
}

// A mirror is a directory without Watch, Recognizer or Editor, that fails on
// demand and may keep two-step verification itself.
type mirror struct {
	mu       sync.Mutex
	accounts []directory.Account
	down     error
	asked    int
}

func (m *mirror) set(a ...directory.Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts = a
}

func (m *mirror) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *mirror) Lookup(_ context.Context, name string) (directory.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.down != nil {
		return directory.Account{}, m.down
	}
	i := slices.IndexFunc(m.accounts, func(a directory.Account) bool { return a.Name == name })
	if i < 0 {
		return directory.Account{}, directory.ErrNotFound
	}
	return m.accounts[i], nil
}

func (m *mirror) VerifyPassword(ctx context.Context, name string, password []byte) error {
	if _, err := m.Lookup(ctx, name); err != nil {
		return err
	}
	if string(password) != mainPassword {
		return directory.ErrDenied
	}
	return nil
}

// ended returns a context whose caller has left.
func ended(f *fixture) context.Context {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	return ctx
}
