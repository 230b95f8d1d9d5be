package badgerstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// residentKiB is what a line of /proc/self/status says, such as RssAnon.
func residentKiB(t *testing.T, name string) (kib int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// TestLarge measures a store of LARGE_RECORDS records of 1.2 kB, which are
// written first if LARGE_DIR has none yet: how long it takes to open it, closed
// and killed, and what memory it needs.
//
//	LARGE_RECORDS=1000000 LARGE_DIR=/var/tmp/large go test -run TestLarge -timeout 1h -v ./core/store/badgerstore
func TestLarge(t *testing.T) {
	records := number(t, "LARGE_RECORDS", 0)
	if records == 0 {
		t.Skip("LARGE_RECORDS is not set")
	}
	dir := os.Getenv("LARGE_DIR")
	if dir == "" {
		dir = newDir(t)
	}
	writeLarge(t, dir, records)
	for _, how := range []string{"closed", "closed, again"} {
		runtime.GC()
		t.Logf("before: %d KiB of its own, %d KiB of files", residentKiB(t, "RssAnon"), residentKiB(t, "RssFile"))
		begin := time.Now()
		s, err := badgerstore.Open(dir, badgerstore.Options{})
		took := time.Since(begin)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		t.Logf("%s: opened in %s; %d KiB of its own, %d KiB of files", how, took, residentKiB(t, "RssAnon"), residentKiB(t, "RssFile"))
		if took > 5*time.Second {
			t.Errorf("%s: Open took %s", how, took)
		}
		begin = time.Now()
		for range 20_000 {
			if _, err := s.Get(t.Context(), largeKey(rand.IntN(records))); err != nil { //nolint:gosec // a test's
				t.Fatal(err)
			}
		}
		t.Logf("20,000 reads of random keys: %s; %d KiB of its own, %d KiB of files", time.Since(begin), residentKiB(t, "RssAnon"), residentKiB(t, "RssFile"))
		begin = time.Now()
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		t.Logf("Verify: %s", time.Since(begin))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func largeKey(i int) string { return fmt.Sprintf("account/user%07d@contoso.com", i) }

func writeLarge(t *testing.T, dir string, records int) {
	t.Helper()
	s, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), largeKey(records-1)); !errors.Is(err, store.ErrNotFound) {
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	begin, value := time.Now(), make([]byte, 1200)
	random := rand.NewChaCha8([32]byte{1})
	for i := 0; i < records; i += 100 {
		var b store.Batch
		for j := i; j < min(i+100, records); j++ {
			_, _ = random.Read(value)
			b = append(b, put(largeKey(j*7919%records), string(value)))
		}
		if _, err := s.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d records written in %s", records, time.Since(begin))
	begin = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %s", time.Since(begin))
}
