package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is on the disk does not stay in memory, but for the end of the file.
func TestReleased(t *testing.T) {
	opt := testOptions(t)
	if isTmpfs(t, filepath.Dir(opt.Dir)) { // its files are memory
		dir, err := os.MkdirTemp("/var/tmp", "keywicket-audit-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		opt.Dir = filepath.Join(dir, "audit")
		if isTmpfs(t, dir) {
			t.Skip("every directory for temporary files is a tmpfs")
		}
	}
	opt.Now = time.Now
	l := open(t, opt)
	const size = 8 * keptOctets
	for range size / hurryOctets {
		for range perTurn {
			if err := l.Record(signIn(1)); err != nil {
				t.Fatal(err)
			}
		}
		syncLog(t, l)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		kept := inMemory(t, filepath.Join(opt.Dir, fileName(1)))
		if kept < size/2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("of some %d octets, %d are in memory", size, kept)
		}
	}
}

func isTmpfs(t *testing.T, dir string) bool {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return s.Type == unix.TMPFS_MAGIC
}

// inMemory returns how many octets of a file the system keeps in memory.
func inMemory(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s unix.Cachestat_t
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &s, 0)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("the kernel, which is older than 6.5, cannot tell what is in memory")
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(s.Cache) * os.Getpagesize()
}
