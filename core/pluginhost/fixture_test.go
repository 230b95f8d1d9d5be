package pluginhost_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
)

// A fixture is a host with one plugin, which is this test binary.
type fixture struct {
	*pluginhost.Host
	t    *testing.T
	ctx  context.Context
	dir  string // of the host's sockets
	spec pluginhost.Spec
	log  *logBuffer
}

// A logBuffer is a log that a test can read.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// quick restarts without much waiting, and has no quarantine.
var quick = pluginhost.Restart{First: time.Millisecond, Most: 20 * time.Millisecond, Crashes: 1 << 30}

// run runs the plugin of a mode, as a kind; edit may change its spec.
func run(t *testing.T, kind pluginhost.Kind, mode string, restart pluginhost.Restart, edit func(*pluginhost.Spec)) *fixture {
	t.Helper()
	return runOver(t, kind, mode, restart, edit)
}

// runOver is run with more options for the host's connections.
func runOver(t *testing.T, kind pluginhost.Kind, mode string, restart pluginhost.Restart, edit func(*pluginhost.Spec), dial ...grpc.DialOption) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: t.Context(), dir: socketDir(t), log: &logBuffer{}}
	f.spec = specOf(t, kind, mode)
	if edit != nil {
		edit(&f.spec)
	}
	var err error
	f.Host, err = pluginhost.New(pluginhost.Options{Log: slog.New(slog.NewJSONHandler(f.log, nil)), Dir: f.dir, Restart: restart, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(f.dir + "/*"); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	f.Dial(dial...)
	if err := f.Set(f.ctx, []pluginhost.Spec{f.spec}); err != nil {
		t.Fatal(err)
	}
	return f
}

// socketDir is a folder with a name that is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // so that another user gets through
		t.Fatal(err)
	}
	return dir
}

// specOf is this test binary under the name of a mode.
func specOf(t *testing.T, kind pluginhost.Kind, mode string) pluginhost.Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), modePrefix+mode)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	sum, err := pluginhost.Sum(path)
	if err != nil {
		t.Fatal(err)
	}
	return pluginhost.Spec{Name: "p", Kind: kind, Path: path, SHA256: sum}
}

func (f *fixture) wait() *fixture {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 30*time.Second)
	defer cancel()
	if err := f.Wait(ctx, "p"); err != nil {
		f.t.Fatalf("%v\n%s", err, f.log)
	}
	return f
}

func (f *fixture) store() store.Store {
	f.t.Helper()
	s, err := f.Store("p")
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) directory() directory.Directory {
	f.t.Helper()
	d, err := f.Directory("p")
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *fixture) status() pluginhost.Status { return f.Status()[0] }

// until waits until what is true of the plugin's status.
func (f *fixture) until(what string, is func(pluginhost.Status) bool) pluginhost.Status {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s := f.status(); is(s) {
			return s
		}
	}
	f.t.Fatalf("never %s: %+v\n%s", what, f.status(), f.log)
	return pluginhost.Status{}
}

// unable demands an error that is an inability and nothing else.
func unable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("%s: %v is no inability", what, err)
	}
	for _, answer := range []error{store.ErrNotFound, store.ErrConflict, store.ErrInvalid, store.ErrFull, store.ErrDamaged,
		directory.ErrNotFound, directory.ErrDenied, directory.ErrConflict, directory.ErrInvalid} {
		if errors.Is(err, answer) {
			t.Errorf("%s: %v is an answer", what, err)
		}
	}
	if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%s: the text is not quoted: %q", what, err)
	}
}

// within demands that f is back within d.
func within(t *testing.T, what string, d time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > d {
		t.Errorf("%s took %s, want at most %s", what, took, d)
	}
}
