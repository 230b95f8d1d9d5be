package badgerstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/storetest"
)

func open(tb testing.TB, dir string) *badgerstore.Store {
	tb.Helper()
	return openWith(tb, dir, badgerstore.Options{})
}

func openWith(tb testing.TB, dir string, opts badgerstore.Options) *badgerstore.Store {
	tb.Helper()
	s, err := badgerstore.Open(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func newDir(tb testing.TB) string { return filepath.Join(tb.TempDir(), "store") }

func TestContract(t *testing.T) {
	all := []string{""}
	for name, opts := range map[string]badgerstore.Options{
		"from the disk":         {},
		"from memory":           {Memory: 64 << 20, Held: all},
		"knowing what there is": {Memory: 64 << 20, Known: all},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(tb testing.TB) store.Store { return openWith(tb, newDir(tb), opts) })
		})
	}
}

// What is in memory after a restart is what is on the disk, also of what is written
// while it is read.
func TestMemoryAfterRestart(t *testing.T) {
	dir := newDir(t)
	opts := badgerstore.Options{Memory: 64 << 20, Held: []string{"k"}, Known: []string{"n"}}
	for life := range 3 {
		s := openWith(t, dir, opts)
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 200 {
					b := store.Batch{put(fmt.Sprintf("k%d/%d", w, i), fmt.Sprint(life)), put(fmt.Sprintf("n%d/%d", w, i), fmt.Sprint(life))}
					if (i+life)%3 == 0 {
						b = store.Batch{del(b[0].Key), del(b[1].Key)}
					}
					if _, err := s.Apply(t.Context(), b); err != nil {
						t.Error(err)
						return
					}
					if e, err := s.Get(t.Context(), b[0].Key); (err == nil) == (b[0].Action == store.Delete) || err == nil && string(e.Value) != fmt.Sprint(life) {
						t.Errorf("%q is %q, error %v", b[0].Key, e.Value, err)
					}
				}
			})
		}
		writers.Wait()
		s.Filled()
		all, err := s.Scan(t.Context(), "", "", 10_000)
		if err != nil {
			t.Fatal(err)
		}
		there := make(map[string]store.Entry)
		for _, e := range all {
			there[e.Key] = e
		}
		for _, prefix := range []string{"k", "n"} {
			for w := range 4 {
				for i := range 200 {
					key := fmt.Sprintf("%s%d/%d", prefix, w, i)
					want, is := there[key]
					got, err := s.Get(t.Context(), key)
					if is != (err == nil) || got.Revision != want.Revision || !bytes.Equal(got.Value, want.Value) {
						t.Errorf("life %d: %q is %q of %d, error %v; Scan says %q of %d", life, key, got.Value, got.Revision, err, want.Value, want.Revision)
					}
					if _, _, ok := s.AtHand(nil, key); ok != (is && prefix == "k") {
						t.Errorf("life %d: %q is at hand: %v, and there: %v", life, key, ok, is)
					}
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := s.AtHand(nil, "k0/1"); ok {
			t.Error("something is at hand of a closed store")
		}
	}
}

func TestClosed(t *testing.T) {
	s := open(t, newDir(t))
	c, err := s.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, more := <-c; more {
		t.Error("a watch goes on after Close")
	}
	if err := storetest.CheckClosed(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// Close while writers and readers are at it: each gets an answer.
func TestCloseDuringUse(t *testing.T) {
	s := open(t, newDir(t))
	var group sync.WaitGroup
	started := make(chan struct{}, 16)
	for i := range 16 {
		group.Go(func() {
			for first := true; ; first = false {
				_, err := s.Apply(t.Context(), store.Batch{put(fmt.Sprint(i), "v")})
				if err == nil {
					_, err = s.Get(t.Context(), fmt.Sprint(i))
				}
				if first {
					started <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("during Close: %v", err)
					}
					return
				}
			}
		})
	}
	for range 16 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
}

func TestRevisionsGoOnAfterRestart(t *testing.T) {
	dir, last := newDir(t), store.Revision(0)
	for life := range 4 {
		s := open(t, dir)
		for _, b := range []store.Batch{
			{put("a", "1")}, {del("a")}, {{Action: store.Check, Key: "b", IfAbsent: true}}, // leaves nothing but its number
		} {
			r, err := s.Apply(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			if r <= last {
				t.Fatalf("life %d: revision %d after %d", life, r, last)
			}
			last = r
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Many more octets than a memtable has: logs are begun anew, tables written
// and merged, and old versions forgotten. Nothing of it shows, no file is open
// to others whatever the umask, and the value log stays empty.
func TestManyLogs(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := newDir(t)
	s := open(t, dir)
	value := strings.Repeat("x", 64<<10)
	want := make(map[string]store.Revision)
	for i := 0; i < 640 || !s.Merged(); i++ {
		key := fmt.Sprintf("k%02d", i%50)
		r, err := s.Apply(t.Context(), store.Batch{put(key, value+key), put(key+"/n", fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		want[key] = r
	}
	check := func(s *badgerstore.Store) {
		t.Helper()
		for key, r := range want {
			e, err := s.Get(t.Context(), key)
			if err != nil || e.Revision != r || string(e.Value) != value+key {
				t.Errorf("Get %s: revision %d, error %v; want %d", key, e.Revision, err, r)
			}
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	for _, path := range logs {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 { // Badger may have removed it
			t.Errorf("%s has mode %v while it is written to", path, info.Mode())
		}
	}
	check(s)
	if err := s.Flatten(); err != nil {
		t.Fatal(err)
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var size int64
	for name, c := range readFiles(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, error %v", name, info.Mode(), err)
		}
		if filepath.Ext(name) == ".vlog" && c.size > 20 {
			t.Errorf("%d octets in %s", c.size, name)
		}
		size += info.Size()
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, error %v", info.Mode(), err)
	}
	if size > 24<<20 {
		t.Errorf("%d octets on disk for 50 keys: old versions are not forgotten", size)
	}
	check(open(t, dir))
}

func TestOpenRefuses(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	foreign := filepath.Join(base, "foreign")
	for _, err := range []error{os.WriteFile(file, nil, 0o600), os.Mkdir(foreign, 0o755), os.WriteFile(filepath.Join(foreign, "passwd"), nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	used := filepath.Join(base, "used")
	open(t, used)
	for name, tt := range map[string]struct{ dir, says string }{
		"no parent":        {filepath.Join(base, "no", "store"), "does not exist"},
		"a file":           {file, "readable"},
		"under a file":     {filepath.Join(file, "store"), "cannot be made"},
		"something else":   {foreign, "is no store"},
		"open elsewhere":   {used, "another process"},
		"no directory":     {"", "does not exist"},
		"cannot be filled": {"/proc/self", "store"},
	} {
		s, err := badgerstore.Open(tt.dir, badgerstore.Options{})
		if s != nil || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.dir[:min(len(tt.dir), 3)]) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	if info, err := os.Stat(foreign); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a foreign directory was touched: %v, %v", info.Mode(), err)
	}
}

// An older copy put back under the file that says what was acknowledged.
func TestOlderCopyIsRefused(t *testing.T) {
	dir := newDir(t)
	write := func() {
		s := open(t, dir)
		if _, err := s.Apply(t.Context(), store.Batch{put("k", "v")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	older := readFiles(t, dir)
	write()
	newer := readFiles(t, dir)
	older["ACKNOWLEDGED"] = newer["ACKNOWLEDGED"]
	_, err := badgerstore.Open(laidOut(t, older, "", 0), badgerstore.Options{})
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "revision 2 was acknowledged") {
		t.Error(err)
	}
	delete(older, "ACKNOWLEDGED") // which the message says to do
	open(t, laidOut(t, older, "", 0))
}

func TestLogger(t *testing.T) {
	var text bytes.Buffer
	s, err := badgerstore.Open(newDir(t), badgerstore.Options{Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "badger: ") {
		t.Errorf("the log has %q", text.String())
	}
}
