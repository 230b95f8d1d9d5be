package badgerstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// A snapshot is a directory's files and what a store over them must hold.
type snapshot struct {
	files map[string]content
	want  []store.Entry
}

// takeSnapshot copies dir as it is now, as if its process had been killed, and
// reads what is in s.
func takeSnapshot(t *testing.T, dir string, s *badgerstore.Store) snapshot {
	t.Helper()
	want, err := s.Scan(t.Context(), "", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot{readFiles(t, dir), want}
}

func readFiles(t *testing.T, dir string) map[string]content {
	t.Helper()
	files := make(map[string]content)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "BALLAST" {
			continue
		}
		if files[e.Name()], err = readContent(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// A content is what a file holds. Logs end in many megabytes of zeros, which are
// not in data.
type content struct {
	data []byte
	size int64
}

// readContent reads the file at path, but for its holes.
func readContent(path string) (c content, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	if c.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return c, err
	}
	for end := int64(0); ; {
		begin, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // there is only a hole
			c.data = trimZeros(c.data)
			return c, nil
		}
		if err != nil {
			return c, err
		}
		if end, err = f.Seek(begin, unix.SEEK_HOLE); err != nil {
			return c, err
		}
		c.data = append(c.data, make([]byte, end-int64(len(c.data)))...)
		if _, err := f.ReadAt(c.data[begin:], begin); err != nil {
			return c, err
		}
	}
}

// laidOut writes the files into a new directory, with one octet flipped. The
// zeros that end a log are a hole.
func laidOut(t *testing.T, files map[string]content, flip string, at int) string {
	t.Helper()
	return laidOutWith(t, files, flip, at, 1<<(at%8))
}

func laidOutWith(t *testing.T, files map[string]content, flip string, at int, bits byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, c := range files {
		data := c.data
		if name == flip {
			data = bytes.Clone(data)
			data[at] ^= bits
		}
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, data, 0o600)
		if err := errors.Join(err, os.Truncate(path, c.size)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// trimZeros is what bytes.TrimRight does, by the block: logs end in many zeros.
func trimZeros(data []byte) []byte {
	zeros := make([]byte, 64<<10)
	for len(data) > len(zeros) && bytes.Equal(data[len(data)-len(zeros):], zeros) {
		data = data[:len(data)-len(zeros)]
	}
	return bytes.TrimRight(data, "\x00")
}

// checkFlipped demands of a store with a flipped octet that it is damaged, or
// that everything is there as it was. Nothing else is allowed: above all not
// that something is gone.
func checkFlipped(t *testing.T, dir string, want []store.Entry) (refused bool) {
	t.Helper()
	before := readFiles(t, dir)
	s, err := badgerstore.Open(dir, badgerstore.Options{MinFree: -1}) // without a ballast: there are many of them
	if err != nil {
		if !errors.Is(err, store.ErrDamaged) {
			t.Errorf("Open: %v", err)
		}
		for name, now := range readFiles(t, dir) {
			if old, there := before[name]; there && (old.size != now.size || !bytes.Equal(old.data, now.data)) {
				t.Errorf("Open refuses the store, and yet has changed %s", name)
			}
		}
		return true
	}
	defer s.Close()
	for _, e := range want {
		got, err := s.Get(t.Context(), e.Key)
		if errors.Is(err, store.ErrDamaged) {
			continue
		}
		if err != nil || !bytes.Equal(got.Value, e.Value) || got.Revision != e.Revision {
			t.Errorf("Get %q: %q at %d, error %v; want %q at %d", e.Key, got.Value, got.Revision, err, e.Value, e.Revision)
			return false
		}
	}
	if got, err := s.Scan(t.Context(), "", "", 1<<20); err == nil && len(got) != len(want) {
		t.Errorf("Scan finds %d of %d entries", len(got), len(want))
	}
	return false
}

// storesToDamage are a store that was closed (all in tables), and one that was
// killed (all in the log, beside an older table).
func storesToDamage(t *testing.T) map[string]snapshot {
	dir := newDir(t)
	s := open(t, dir)
	for i := range 60 {
		b := store.Batch{put(fmt.Sprintf("account/%03d", i), fmt.Sprint("first ", i)), put(fmt.Sprintf("other/%03d", i%7), strings.Repeat("x", 100))}
		if _, err := s.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	closed := takeSnapshot(t, dir, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	closed.files = readFiles(t, dir)
	s = open(t, dir)
	for i := range 40 {
		b := store.Batch{put(fmt.Sprintf("account/%03d", i), fmt.Sprint("second ", i)), del(fmt.Sprintf("account/%03d", 59-i/4))}
		if _, err := s.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]snapshot{"closed": closed, "killed": takeSnapshot(t, dir, s)}
}

func put(key, value string) store.Op {
	return store.Op{Action: store.Put, Key: key, Value: []byte(value)}
}

func del(key string) store.Op { return store.Op{Action: store.Delete, Key: key} }

// A flipped octet, in whichever file and wherever, is found or does no harm.
// That this test ends at all shows that Badger does not end the process.
func TestFlippedOctet(t *testing.T) {
	for name, snap := range storesToDamage(t) {
		t.Run(name, func(t *testing.T) {
			if len(snap.want) < 40 {
				t.Fatalf("%d entries", len(snap.want))
			}
			random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same places each time
			for file, c := range snap.files {
				used := len(c.data)
				if used == 0 || file == "LOCK" {
					continue
				}
				important := strings.HasSuffix(file, ".sst") || strings.HasSuffix(file, ".mem")
				refused, tries := 0, 4
				if important {
					tries = 16
				}
				for try := range tries {
					at := random.IntN(used)
					if try%2 == 0 { // where a table has its index
						at = used - 1 - random.IntN(min(used, 400))
					}
					dir := laidOut(t, snap.files, file, at)
					if checkFlipped(t, dir, snap.want) {
						refused++
					}
					if t.Failed() {
						t.Fatalf("octet %d of %s (%d used) was flipped", at, file, used)
					}
				}
				if important && refused < tries/2 {
					t.Errorf("%s: Open refused only %d of %d", file, refused, tries)
				}
			}
		})
	}
}

// The manifest is small, and what it no longer names Badger removes. This is
// found also where nothing else tells how far the store had come.
func TestFlippedManifest(t *testing.T) {
	snap := storesToDamage(t)["closed"]
	delete(snap.files, "ACKNOWLEDGED")
	for at := range snap.files["MANIFEST"].data {
		for bit := range 8 {
			dir := laidOutWith(t, snap.files, "MANIFEST", at, 1<<bit)
			checkFlipped(t, dir, snap.want)
			if t.Failed() {
				t.Fatalf("bit %d of octet %d was flipped", bit, at)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Each file of the store that goes missing or short is found, or does no harm.
func TestLostFile(t *testing.T) {
	for name, snap := range storesToDamage(t) {
		for file, c := range snap.files {
			t.Run(name+"/"+file, func(t *testing.T) {
				dir := laidOut(t, snap.files, "", 0)
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				checkFlipped(t, dir, snap.want)
				used := len(c.data)
				for _, cut := range []int{0, used / 2, max(used-1, 0)} {
					dir := laidOut(t, snap.files, "", 0)
					if err := os.Truncate(filepath.Join(dir, file), int64(cut)); err != nil {
						t.Fatal(err)
					}
					checkFlipped(t, dir, snap.want)
					if t.Failed() {
						t.Fatalf("%s was cut to %d of %d octets", file, cut, used)
					}
				}
			})
		}
	}
}

// A value that is altered under an open store is damaged, and what is not
// found afterwards is not surely absent.
func TestDamageWhileOpen(t *testing.T) {
	snap := storesToDamage(t)["closed"]
	dir := laidOut(t, snap.files, "", 0)
	s := open(t, dir)
	if _, err := s.Get(t.Context(), "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
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
	at := bytes.Index(snap.files[filepath.Base(tables[0])].data, []byte("first 17"))
	if _, err := f.WriteAt([]byte("F"), int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Verify: %v", err)
	}
	for key, want := range map[string]error{"account/017": store.ErrDamaged, "nothing": store.ErrDamaged, "account/018": nil} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("Get %q: %v, want %v", key, err, want)
		}
	}
	// Also where nothing is damaged that is known of.
	if _, err := s.Scan(t.Context(), "other/", "", 1000); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Scan: %v", err)
	}
	if _, err := s.Apply(t.Context(), store.Batch{put("account/017", "repaired")}); err != nil {
		t.Errorf("a broken record cannot be overwritten: %v", err)
	}
}
