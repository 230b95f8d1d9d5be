package badgerstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/storetest"
)

// needRoot skips what mounts a file system, where we may not.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = p
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") == "true":
		t.Fatalf("this needs %s", missing)
	default:
		t.Skipf("this needs %s", missing)
	}
}

// A disk is a small file system of its own.
type disk struct {
	t      *testing.T
	dir    string
	filler string
}

func newDisk(t *testing.T, megabytes int) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{t: t, dir: t.TempDir()}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.filler = filepath.Join(d.dir, "filler")
	return d
}

// fill takes the last octet.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	if info, err := f.Stat(); err == nil && s.Bavail > 0 { // most of it at once; what is left is found by writing
		_ = unix.Fallocate(int(f.Fd()), 0, info.Size(), int64(s.Bavail)*s.Bsize*63/64)
	}
	for size := 1 << 20; size > 0; size /= 16 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
			d.t.Fatal(err)
		}
	}
	if err := unix.Statfs(d.dir, &s); err != nil || s.Bavail != 0 {
		d.t.Fatalf("%d blocks are free, error %v", s.Bavail, err)
	}
}

func (d *disk) clear() {
	d.t.Helper()
	if err := os.Remove(d.filler); err != nil {
		d.t.Fatal(err)
	}
}

// A ledger knows what a store must hold.
type ledger struct {
	t    *testing.T
	want map[string]string // "" is nothing
}

func (l *ledger) apply(s store.Store, op store.Op) error {
	_, err := s.Apply(l.t.Context(), store.Batch{op})
	if err == nil {
		l.want[op.Key] = string(op.Value)
	}
	return err
}

func (l *ledger) check(when string, s store.Store) {
	l.t.Helper()
	for key, want := range l.want {
		e, err := s.Get(l.t.Context(), key)
		if want == "" && errors.Is(err, store.ErrNotFound) || err == nil && string(e.Value) == want {
			continue
		}
		l.t.Errorf("%s: Get %q: %d octets, error %v; want %d", when, key, len(e.Value), err, len(want))
	}
}

func (l *ledger) fillWith(s store.Store, n, octets int) {
	l.t.Helper()
	for i := range n {
		if err := l.apply(s, put(fmt.Sprintf("account/%04d", i), strings.Repeat("v", octets)+fmt.Sprint(i))); err != nil {
			l.t.Fatal(err)
		}
	}
}

func revoke(op store.Op) store.Op {
	op.Revokes = true
	return op
}

// eventually repeats a write that is refused for want of room.
func (l *ledger) eventually(s store.Store, op store.Op) {
	l.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := l.apply(s, op)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrFull) || time.Now().After(deadline) {
			l.t.Fatalf("there is room again: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// S8: on a disk that is full to the last octet reads go on, writes say so, and
// what takes access away is still written; over restarts too, and also when
// each time somebody else takes what room that left. Nothing is lost, and when
// there is room the store writes again.
func TestFullDisk(t *testing.T) {
	for _, megabytes := range []int{64, 600} {
		t.Run(fmt.Sprint(megabytes, " MiB"), func(t *testing.T) {
			d, l := newDisk(t, megabytes), &ledger{t, make(map[string]string)}
			dir := filepath.Join(d.dir, "store")
			s, kill := startChild(t, dir)
			l.fillWith(s, 300, 1000)
			d.fill()
			time.Sleep(150 * time.Millisecond) // it asks that often
			for life := range 6 {
				when := fmt.Sprintf("life %d on the full disk", life)
				l.check(when, s)
				key := fmt.Sprintf("account/%04d", life)
				err := storetest.CheckFull(t.Context(), s, key)
				if err == nil {
					l.want[key] = ""
				} else if life < 2 || !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "used up") {
					t.Fatalf("%s: %v", when, err) // a first restart is what the reserve is for
				}
				for i := range 20 {
					err := l.apply(s, revoke(del(fmt.Sprintf("account/%04d", 20*life+10+i))))
					if err != nil && (life < 2 || !errors.Is(err, store.ErrFull)) {
						t.Fatalf("%s: %v", when, err)
					}
				}
				l.check(when, s)
				kill()
				if life > 0 {
					d.fill()
				}
				s, kill = startChild(t, dir)
				l.check("opened on a full disk", s)
				d.fill()
				time.Sleep(150 * time.Millisecond)
			}
			d.clear()
			l.eventually(s, put("account/new", "v"))
			l.fillWith(s, 300, 2000)
			kill()
			s, _ = startChild(t, dir)
			l.check("afterwards", s)
			if err := l.apply(s, put("account/newer", "v")); err != nil {
				t.Error(err)
			}
		})
	}
}

// On a full disk far more can be revoked than fits into one log: the ballast is
// given up for the next ones, and made again when there is room.
func TestFullDiskBallast(t *testing.T) {
	d, l := newDisk(t, 600), &ledger{t, make(map[string]string)}
	dir := filepath.Join(d.dir, "store")
	s, kill := startChild(t, dir)
	l.fillWith(s, 100, 60_000)
	ballast := func() (blocks int64) {
		var info unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "BALLAST"), &info); err != nil && !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
		return info.Blocks * 512
	}
	if got := ballast(); got != 64<<20 {
		t.Fatalf("a ballast of %d octets", got)
	}
	d.fill()
	time.Sleep(150 * time.Millisecond)
	for i := range 200 { // 24 MB: three logs
		if err := l.apply(s, revoke(put(fmt.Sprintf("account/%04d", i%100), strings.Repeat("w", 120_000)))); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if got := ballast(); got >= 64<<20 {
		t.Errorf("the ballast has %d octets: nothing was given up", got)
	}
	l.check("full", s)
	kill()
	s, _ = startChild(t, dir)
	l.check("restarted", s)
	if err := l.apply(s, revoke(del("account/0050"))); err != nil {
		t.Error(err)
	}
	d.clear()
	l.eventually(s, put("account/new", "v"))
	for deadline := time.Now().Add(10 * time.Second); ballast() != 64<<20; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the ballast has %d octets", ballast())
		}
	}
	l.check("afterwards", s)
}

// A new store on a full disk is refused in words, and a store is closed there
// without loss.
func TestFullDiskOpenClose(t *testing.T) {
	d, l := newDisk(t, 64), &ledger{t, make(map[string]string)}
	dir := filepath.Join(d.dir, "store")
	s := open(t, dir)
	if err := s.Degraded(); err != nil {
		t.Error(err)
	}
	l.fillWith(s, 300, 1000)
	d.fill()
	time.Sleep(150 * time.Millisecond)
	if err := s.Degraded(); !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "0 MiB are free") {
		t.Errorf("Degraded: %v", err)
	}
	err := l.apply(s, put("k", "v"))
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "delete something") {
		t.Error(err)
	}
	t.Log(err)
	if _, err := badgerstore.Open(filepath.Join(d.dir, "another"), badgerstore.Options{}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a new store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	child, kill := startChild(t, dir)
	l.check("closed while full", child)
	kill()
	off := filepath.Join(t.TempDir(), "store")
	s, err = badgerstore.Open(off, badgerstore.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.apply(s, put("k", "v")), s.Degraded(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(off, "BALLAST")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a ballast where nothing is watched over: %v", err)
	}
}

// What an administrator wants to stay free does; who says nothing can use most of
// a small disk.
func TestS8MinFree(t *testing.T) {
	d := newDisk(t, 200)
	for minFree, want := range map[int64]error{0: nil, 64 << 20: nil, 190 << 20: store.ErrFull, 1 << 40: store.ErrFull} {
		dir := filepath.Join(d.dir, "store")
		s, err := badgerstore.Open(dir, badgerstore.Options{MinFree: minFree})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Apply(t.Context(), store.Batch{put("k", "v")})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%d MiB wanted free: %v, want %v", minFree>>20, err, want)
		}
		if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
	d = newDisk(t, 1024)
	s, err := badgerstore.Open(filepath.Join(d.dir, "store"), badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "filler"), make([]byte, 700<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !errors.Is(err, store.ErrFull); _, err = s.Apply(t.Context(), store.Batch{put("k", "v")}) {
		if time.Now().After(end) { // it looks anew after 100 ms
			t.Fatalf("with less than 256 MiB free: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where nothing at all is left to open the store with, not even its ballast, it
// is opened to be read, and opened anew as soon as there is room.
func TestFullDiskReadOnly(t *testing.T) {
	d, l := newDisk(t, 64), &ledger{t, make(map[string]string)}
	dir := filepath.Join(d.dir, "store")
	s, kill := startChild(t, dir)
	l.fillWith(s, 60, 100_000)
	if err := l.apply(s, del("account/0001")); err != nil {
		t.Fatal(err)
	}
	for life := range 3 {
		kill()
		names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, filepath.Join(dir, "BALLAST")) { // as if they had never been
			if info, err := os.Stat(name); err == nil && (info.Size() == 0 || name == filepath.Join(dir, "BALLAST")) {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		d.fill()
		s, kill = startChild(t, dir)
		l.check(fmt.Sprint("read-only, life ", life), s)
		for _, op := range []store.Op{put("account/0002", "v"), revoke(del("account/0002"))} {
			if err := l.apply(s, op); !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "full") {
				t.Errorf("Apply to a read-only store: %v", err)
			}
		}
		if got, err := s.Scan(t.Context(), "", "", 1000); err != nil || len(got) != 59 {
			t.Errorf("Scan: %d entries, %v", len(got), err)
		}
	}
	d.clear()
	l.eventually(s, revoke(del("account/0002")))
	l.eventually(s, put("account/0003", "v"))
	l.check("with room", s)
	kill()
	s, _ = startChild(t, dir)
	l.check("afterwards", s)
}
