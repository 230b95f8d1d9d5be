package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/audit"
	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// A site is a data directory with a keyring and an audit, and what runs there.
type site struct {
	t    testing.TB
	dir  string
	keys *keyring.Keyring
	mu   sync.Mutex
	now  time.Time // guarded by mu; read without it by who changes it

	store  *badgerstore.Store
	events *audit.Log
	engine *core.Engine
}

func newSite(t testing.TB) *site {
	t.Helper()
	keys, err := keyring.New(time.Now())
	must(t, err)
	s := &site{t: t, dir: t.TempDir(), keys: keys, now: time.Now().Truncate(time.Second)}
	t.Cleanup(s.stop)
	s.start()
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) storeDir() string { return filepath.Join(s.dir, "store") }
func (s *site) auditDir() string { return filepath.Join(s.dir, "audit") }

func (s *site) start() {
	s.t.Helper()
	var err error
	s.store, err = badgerstore.Open(s.storeDir(), badgerstore.Options{})
	must(s.t, err)
	s.openAudit()
	policy := core.DefaultPolicy()
	policy.UnusedAfter = 0
	pinned := policy.Profiles[core.DefaultProfile]
	pinned.PinDevice = true
	policy.Profiles["pinned"] = pinned
	s.engine, err = core.Open(s.t.Context(), core.Options{
		Store: s.store, Directory: local.New(s.store, s.keys, local.Options{Cost: local.Cost{MemoryKiB: 64, Time: 1, Threads: 1}}),
		Keyring: s.keys, Policy: &policy, Recorder: s.events, Now: s.clock,
	})
	must(s.t, err)
}

func (s *site) openAudit() {
	var err error
	s.events, err = audit.Open(audit.Options{Dir: s.auditDir(), Key: s.keys.AuditKey(), OldKeys: s.keys.OldAuditKeys(), Now: s.clock})
	must(s.t, err)
}

func (s *site) stop() {
	if s.engine == nil {
		return
	}
	err := errors.Join(s.engine.Close(), s.events.Close(), s.store.Close())
	s.engine, s.events, s.store = nil, nil, nil
	if err != nil {
		s.t.Error(err)
	}
}

// An owner is an account with two-step verification.
type owner struct {
	name, uri string
	recovery  []string
	passwords map[string]password // by name
}

type password struct{ id, text string }

func (s *site) tick() { s.pass(time.Minute) }

// clock and pass are the time of the site, which its goroutines look at.
func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// enroll makes an account with app passwords of these names.
func (s *site) enroll(name string, names ...string) *owner {
	s.t.Helper()
	_, err := s.engine.AddAccount(s.t.Context(), name, nil, []byte("main password of "+name))
	must(s.t, err)
	o := &owner{name: name, passwords: map[string]password{}}
	o.uri, err = s.engine.Enroll(s.t.Context(), name)
	must(s.t, err)
	c, err := s.engine.Confirm(s.t.Context(), name, s.code(o), core.NewAppPassword{Name: "first"})
	must(s.t, err)
	o.recovery = c.Recovery
	o.passwords["first"] = password{c.First.ID, c.FirstText.Canonical()}
	for _, n := range names {
		s.create(o, n, "")
	}
	return o
}

func (s *site) code(o *owner) string {
	s.t.Helper()
	code, err := core.CodeFor(o.uri, s.now)
	must(s.t, err)
	return code
}

func (s *site) create(o *owner, name, profile string) password {
	s.t.Helper()
	made, text, err := s.engine.Create(s.t.Context(), o.name, core.NewAppPassword{Name: name, Profile: profile})
	must(s.t, err)
	p := password{made.ID, text.Canonical()}
	o.passwords[name] = p
	return p
}

// verify returns why an app password is refused, or nothing.
func (s *site) verify(name, text, device string) core.Reason {
	s.t.Helper()
	_, err := s.engine.Verify(s.t.Context(), core.Attempt{Account: name, Proof: proof.Cleartext(text), Service: "radius/vpn1", Device: device})
	return core.ReasonOf(err)
}

// expect demands that an app password works (no reason), or why not.
func (s *site) expect(o *owner, name string, want core.Reason) {
	s.t.Helper()
	if got := s.verify(o.name, o.passwords[name].text, ""); got != want {
		s.t.Errorf("%s, %q: %q, want %q", o.name, name, got, want)
	}
}

// backup writes a backup and returns its path; since is one before, or "".
func (s *site) backup(name, since string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	var b bytes.Buffer
	var mark *backup.Mark
	if since != "" {
		f, err := os.Open(since)
		must(s.t, err)
		mark, err = backup.Ends(f)
		must(s.t, errors.Join(err, f.Close()))
	}
	_, err := backup.Write(s.t.Context(), &b, backup.Source{Store: s.store, Keys: s.keys, Now: s.clock}, mark)
	must(s.t, err)
	must(s.t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func (s *site) options(paths ...string) backup.Options {
	return backup.Options{
		Paths: paths, DataDir: s.dir, AuditDir: s.auditDir(), Keys: s.keys, Now: s.clock, Spare: 320 << 20,
		Open: func(dir string) (backup.Store, error) {
			b, err := badgerstore.Open(dir, badgerstore.Options{})
			if err != nil {
				return nil, err
			}
			return b, nil
		},
		Lock: func(dir string) (io.Closer, error) { return badgerstore.Lock(dir) },
	}
}

// restore restores with the engine stopped, and starts it again.
func (s *site) restore(suspend bool, paths ...string) backup.Report {
	s.t.Helper()
	s.stop()
	s.tick()
	report, err := runRestore(s.t.Context(), s.options(paths...), suspend)
	must(s.t, err)
	s.tick()
	s.start()
	return report
}

func runRestore(ctx context.Context, opt backup.Options, suspend bool) (backup.Report, error) {
	r, err := backup.Prepare(ctx, opt)
	if err != nil {
		return backup.Report{}, err
	}
	err = r.Run(ctx, suspend)
	return r.Report(), errors.Join(err, r.Close())
}

// contents is everything in the store of a directory, opened: two stores with
// the same are of the same state, whatever their nonces.
func (s *site) contents(st store.Store) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	entries, err := st.Scan(s.t.Context(), "", "", 1<<20)
	must(s.t, err)
	for _, e := range entries {
		for _, kind := range []string{"meta", "account", "activity", "local", "fact"} {
			if plain, err := s.keys.Open(kind, e.Key, e.Value); err == nil {
				all[e.Key] = string(plain)
			}
		}
		if _, ok := all[e.Key]; !ok {
			s.t.Errorf("%q does not open", e.Key)
		}
	}
	return all
}

// listing is the names in the data directory.
func (s *site) listing() string {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	must(s.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}
