package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is on the disk does not stay in memory, but for the end of the file.
func TestReleased(t *testing.T) {
	opt := diskOptions(t)
	l := open(t, opt)
	for range muchOctets / hurryOctets {
		for range perTurn {
			if err := l.Record(signIn(1)); err != nil {
				t.Fatal(err)
			}
		}
		syncLog(t, l)
	}
	waitForLess(t, opt, "in memory", func(s unix.Cachestat_t) uint64 { return s.Cache })
}

// Much is not left for the moment when it is forced to the disk.
func TestWritingBegins(t *testing.T) {
	opt := diskOptions(t).withDefaults()
	w, err := resume(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	w.lastSync = time.Now().Add(time.Hour)
	e := signIn(1)
	body := append(appendBody(nil, &e, e.Time, new(dates)), '\n')
	for w.size < muchOctets {
		w.take(bytes.Repeat(body, perTurn))
		if err := w.write(); err != nil {
			t.Fatal(err)
		}
	}
	waitForLess(t, opt, "not on the disk", func(s unix.Cachestat_t) uint64 { return s.Dirty + s.Writeback })
}

// diskOptions are testOptions whose directory is on a disk.
func diskOptions(t *testing.T) Options {
	t.Helper()
	opt := testOptions(t)
	opt.Now = time.Now
	if !isTmpfs(t, filepath.Dir(opt.Dir)) {
		return opt
	}
	dir, err := os.MkdirTemp("/var/tmp", "keywicket-audit-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if isTmpfs(t, dir) {
		t.Skip("every directory for temporary files is a tmpfs, whose files are memory")
	}
	opt.Dir = filepath.Join(dir, "audit")
	return opt
}

// muchOctets are about as many as the tests write.
const muchOctets = 4 * beginOctets

// waitForLess waits until less than half of muchOctets of the first file is as
// of says, in pages.
func waitForLess(t *testing.T, opt Options, what string, of func(unix.Cachestat_t) uint64) {
	t.Helper()
	f, err := os.Open(filepath.Join(opt.Dir, fileName(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var s unix.Cachestat_t
		err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &s, 0)
		if errors.Is(err, unix.ENOSYS) {
			t.Skip("the kernel, which is older than 6.5, cannot tell what is in memory")
		}
		if err != nil {
			t.Fatal(err)
		}
		octets := of(s) * uint64(os.Getpagesize())
		if octets < muchOctets/2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d octets are %s", octets, what)
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
