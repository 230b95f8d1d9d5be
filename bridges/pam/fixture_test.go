package pam

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store/memstore"
)

const patience = time.Minute // longer than the slowest machine needs

// A logged keeps what the server logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A fixture is a server over an engine in memory, and its socket.
type fixture struct {
	*Server
	t      testing.TB
	path   string
	engine *core.Engine
	log    *logged
	texts  map[string]string // app passwords by account
}

// newFixture starts a server that serves sshd; edit may change its options.
func newFixture(t testing.TB, edit func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(shortDir(t), "pam.sock"), log: &logged{}, texts: map[string]string{}}
	f.engine = newEngine(t, nil)
	opt := Options{
		Path: f.path, Engine: f.engine, Rules: Rules{Services: []string{"sshd"}, MinUID: 1000},
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Passwd: passwdFile(t),
	}
	if edit != nil {
		edit(&opt)
	}
	s, err := Listen(opt)
	must(t, err)
	f.Server = s
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// passwdFile has the users of a small host, and whoever runs the test.
func passwdFile(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(path, []byte("ROOT:x:4000:0:::\nroot:x:0:0::/root:/bin/sh\nRoot:x:5000:0:::\ndaemon:x:1:1:::\nwww-data:x:33:33:::\nalain:x:1000:1000:::\nnobody:x:65534:65534:::\n"), 0o600))
	return path
}

func newEngine(t testing.TB, edit func(*core.Policy)) *core.Engine {
	t.Helper()
	keys, err := keyring.New(time.Now())
	must(t, err)
	s := memstore.New()
	d := local.New(s, keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	policy := core.DefaultPolicy()
	policy.RequireTwoStep = false
	pinned := policy.Profiles["default"]
	pinned.PinDevice = true
	policy.Profiles["pinned"] = pinned
	if edit != nil {
		edit(&policy)
	}
	e, err := core.Open(t.Context(), core.Options{Store: s, Directory: d, Keyring: keys, Policy: &policy})
	must(t, err)
	t.Cleanup(func() { _ = e.Close(); _ = s.Close() })
	return e
}

// add makes an account with an app password, and returns its text.
func (f *fixture) add(account, profile string) string {
	f.t.Helper()
	ctx := f.t.Context()
	_, err := f.engine.AddAccount(ctx, account, nil, []byte("correct horse battery"))
	must(f.t, err)
	_, text, err := f.engine.Create(ctx, account, core.NewAppPassword{Name: "x", Profile: profile})
	must(f.t, err)
	defer text.Wipe()
	return text.Canonical()
}

// attempts returns what is known of an account, the newest first.
func (f *fixture) attempts(account string) []core.AttemptEntry {
	f.t.Helper()
	all, err := f.engine.Attempts(f.t.Context(), account)
	must(f.t, err)
	return all
}

func (f *fixture) ask(r Request) (Verdict, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Ask(ctx, f.path, r)
}

// open returns how many connections are served.
func (f *fixture) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// want asks, and compares the answer.
func (f *fixture) want(want Verdict, r Request) {
	f.t.Helper()
	if got, err := f.ask(r); got != want || err != nil {
		f.t.Errorf("%s for %q at %q from %q: %v, %v; want %v", map[uint8]string{1: "authenticate", 2: "account"}[r.Type], r.User, r.Service, r.RHost, got, err, want)
	}
}

// raw sends octets and returns what comes until the connection is closed.
func (f *fixture) raw(send []byte) []byte {
	f.t.Helper()
	conn := f.dial()
	defer conn.Close()
	if _, err := conn.Write(send); err != nil && !strings.Contains(err.Error(), "broken pipe") {
		f.t.Fatal(err)
	}
	must(f.t, conn.CloseWrite())
	return f.rest(conn)
}

func (f *fixture) dial() *net.UnixConn {
	f.t.Helper()
	conn, err := net.Dial("unix", f.path)
	must(f.t, err)
	f.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

// rest reads until the server closes the connection, which it must.
func (f *fixture) rest(conn net.Conn) []byte {
	f.t.Helper()
	must(f.t, conn.SetReadDeadline(time.Now().Add(patience)))
	all, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f.t.Fatal("the connection stays open")
	}
	return all
}

func sshd(user, password string) Request {
	return Request{Type: Authenticate, Service: "sshd", User: user, RHost: "192.0.2.7", TTY: "ssh", Password: []byte(password)}
}

func account(user string) Request { return Request{Type: Account, Service: "sshd", User: user} }

// A fakeEngine answers with an error, after it was released.
type fakeEngine struct {
	err     error
	entered chan struct{} // told of each Verify, if there is somebody
	release chan struct{}
	seen    []core.Attempt
	mu      sync.Mutex
}

func (e *fakeEngine) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	e.mu.Lock()
	e.seen = append(e.seen, a)
	e.mu.Unlock()
	if e.entered != nil {
		e.entered <- struct{}{}
	}
	if e.release != nil {
		select {
		case <-e.release:
		case <-ctx.Done():
			return core.Grant{}, ctx.Err()
		}
	}
	return core.Grant{}, e.err
}

func (e *fakeEngine) Refuse(context.Context, core.Attempt, core.Reason) error { return e.err }
func (e *fakeEngine) Standing(context.Context, string) error                  { return e.err }

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw")
	must(t, err)
	must(t, os.Chmod(dir, 0o755)) // other users ask too
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
