package badgerstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
)

// A machine is an ext4 file system of its own whose power can be cut: whatever
// the file system had not written by then is lost, as by a kernel that stops.
// What it had written and not flushed stays, so this is a disk without a cache
// of its own.
type machine struct {
	t     *testing.T
	image string
	dir   string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	needRoot(t, "mkfs.ext4", "mount", "umount")
	base := t.TempDir()
	m := &machine{t: t, image: filepath.Join(base, "image"), dir: filepath.Join(base, "mnt")}
	f, err := os.Create(m.image)
	if err == nil {
		err = errors.Join(f.Truncate(1<<30), f.Close(), os.Mkdir(m.dir, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	m.run("mkfs.ext4", "-q", "-F", m.image)
	if out, err := exec.Command("mount", "-o", "loop", m.image, m.dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no file system can be mounted here: %v: %s", err, out)
		}
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", m.dir).Run() })
	return m
}

func (m *machine) run(args ...string) {
	m.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		m.t.Fatalf("%q: %v: %s", args, err, out)
	}
}

// cut is what the ioctl of ext4's own crash tests does: from now on nothing
// reaches the disk, not even the journal of what was done already.
func (m *machine) cut() {
	m.t.Helper()
	const shutdown, withoutLog = 0x8004587D, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	d, err := os.Open(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	defer d.Close()
	flags := withoutLog
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		m.t.Fatalf("cut the power: %v", errno)
	}
}

// restart mounts what is on the disk; nobody may use the directory.
func (m *machine) restart() {
	m.t.Helper()
	m.run("umount", m.dir)
	m.run("mount", "-o", "loop", m.image, m.dir)
}

// A memory is what writers of a store know of one key each: the value that was
// acknowledged last, and the one whose outcome they do not know. "" is none.
type memory struct {
	mu    sync.Mutex
	acked map[string]string
	tried map[string]string // only where unknown
	acks  int
	size  int // the longest value
	whole int // octets of acknowledged values
}

// write is a writer's life: it puts and deletes its keys until that fails.
func (m *memory) write(t *testing.T, s store.Store, writer int, random *rand.Rand) {
	for {
		key := fmt.Sprintf("account/%d/%d", writer, random.IntN(4))
		value := fmt.Sprint(random.Uint64(), strings.Repeat("v", random.IntN(m.size)))
		op := put(key, value)
		if random.IntN(3) == 0 {
			op, value = del(key), ""
		}
		m.mu.Lock()
		m.tried[key] = value
		m.mu.Unlock()
		if _, err := s.Apply(t.Context(), store.Batch{op}); err != nil {
			return
		}
		m.mu.Lock()
		delete(m.tried, key)
		m.acked[key] = value
		m.acks++
		m.whole += len(value)
		m.mu.Unlock()
	}
}

// settle returns what is lost or came back, and takes what was found for
// acknowledged: it may not change again.
func (m *memory) settle(t *testing.T, s store.Store) (wrong []string) {
	for _, all := range []map[string]string{m.acked, m.tried} {
		for key := range all {
			e, err := s.Get(t.Context(), key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Get %q: %v", key, err)
			}
			found, tried, unknown := string(e.Value), m.tried[key], false
			if _, unknown = m.tried[key]; found != m.acked[key] && (!unknown || found != tried) {
				wrong = append(wrong, fmt.Sprintf("%q has %.20q, acknowledged was %.20q", key, found, m.acked[key]))
			}
			m.acked[key] = found
			delete(m.tried, key)
		}
	}
	return wrong
}

// written returns how many octets were acknowledged.
func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.whole
}

// cutPower lets writers write values of up to size octets in lives that a power
// cut ends, not before so many octets were acknowledged. It returns what was
// wrong after one.
func cutPower(t *testing.T, lives, size, octets int, start func(testing.TB, string) (store.Store, func())) (wrong []string) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	mem := &memory{size: size, acked: make(map[string]string), tried: make(map[string]string)}
	m := newMachine(t)
	var slowest time.Duration
	for life := range lives {
		begin := time.Now()
		s, kill := start(t, filepath.Join(m.dir, "store"))
		if _, err := s.Get(t.Context(), "is it open?"); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("seed %d, life %d: %v", seed, life, err)
		}
		slowest = max(slowest, time.Since(begin))
		if wrong = mem.settle(t, s); len(wrong) > 0 {
			t.Logf("seed %d: after %d power cuts", seed, life)
			kill()
			return wrong
		}
		var writers sync.WaitGroup
		for w := range 16 {
			r := rand.New(rand.NewPCG(seed, uint64(life*16+w+1))) //nolint:gosec // a test's
			writers.Go(func() { mem.write(t, s, w, r) })
		}
		time.Sleep(time.Duration(5+random.IntN(60)) * time.Millisecond)
		for end := time.Now().Add(time.Minute); mem.written()/(life+1) < octets; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("only %d octets were acknowledged in %d lives", mem.written(), life+1)
			}
		}
		m.cut()
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond) // what is acknowledged now must be there, too
		kill()
		writers.Wait()
		m.restart()
	}
	t.Logf("seed %d: %d acknowledged writes, the slowest start took %s", seed, mem.acks, slowest)
	if slowest > 5*time.Second {
		t.Errorf("a start took %s", slowest)
	}
	if mem.acks < lives {
		t.Errorf("only %d writes were acknowledged in %d lives", mem.acks, lives)
	}
	return nil
}

// S7: after the power was cut, everything acknowledged is there, nothing
// deleted has come back, and what was not acknowledged is whole or absent.
// POWER_CUTS says how often it is cut.
func TestPowerCut(t *testing.T) {
	if wrong := cutPower(t, number(t, "POWER_CUTS", 50), 4000, 0, startChild); len(wrong) > 0 {
		t.Errorf("%d keys are wrong, first %s", len(wrong), wrong[0])
	}
}

// The same when Badger has begun new logs.
func TestPowerCutInLaterLog(t *testing.T) {
	if wrong := cutPower(t, 4, 200_000, 20<<20, startChild); len(wrong) > 0 {
		t.Errorf("%d keys are wrong, first %s", len(wrong), wrong[0])
	}
}

// The same finds a store that acknowledges before it has written.
func TestPowerCutFindsLies(t *testing.T) {
	t.Setenv(childLies, "yes")
	if wrong := cutPower(t, 20, 4000, 0, startChild); len(wrong) == 0 {
		t.Error("a store that lies was not found out")
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%s=%q is no number", name, text)
	}
	return n
}
