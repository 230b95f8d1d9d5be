package badgerstore_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// A text is a buffer for several writers.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// S9: a key that is altered under an open store is not "not found" for long:
// the tables are read again and again, the log names the file, and what cannot
// be read is damaged from then on.
func TestVerifiedWhileOpen(t *testing.T) {
	snap := storesToDamage(t)["closed"]
	dir := laidOut(t, snap.files, "", 0)
	var log text
	s, err := badgerstore.Open(dir, badgerstore.Options{VerifyEvery: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain: %s; the log has\n%s", what, &log)
			}
		}
	}
	wait("all tables are whole", func() bool { return strings.Contains(log.String(), "are whole") })
	if err := s.Degraded(); err != nil {
		t.Error(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := snap.files[filepath.Base(tables[0])].data
	at := bytes.Index(data, []byte("first 17")) - 12 - 8 // in the key, before version and head
	if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
	wait("the damage is found", func() bool {
		return strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), filepath.Base(tables[0]))
	})
	for _, key := range []string{"account/017", "nothing"} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("Get %q: %v", key, err)
		}
	}
	if err := s.Degraded(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("Degraded: %v", err)
	}
}

// Tables that are merged and removed while they are verified are no damage, and
// nobody waits for the whole check.
func TestVerifyHoldsNobodyUp(t *testing.T) {
	s := open(t, newDir(t))
	value := strings.Repeat("x", 100<<10)
	for i := range 300 {
		if _, err := s.Apply(t.Context(), store.Batch{put(strings.Repeat("k", i%9+1), value)}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() {
		var err error
		for range 50 {
			err = errors.Join(err, s.Verify(t.Context()))
		}
		done <- err
	}()
	slowest := time.Duration(0)
	for i := range 200 {
		begin := time.Now()
		if _, err := s.Apply(t.Context(), store.Batch{put(strings.Repeat("k", i%9+1), value)}); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Logf("the slowest write took %s", slowest)
}
