package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

// failing is a disk that takes no files and, of what is written, only a part
// while it is on.
type failing struct {
	on   atomic.Bool
	part int
}

type failingFile struct {
	*os.File
	f *failing
}

func (f *failing) open(path string, flag int, mode fs.FileMode) (file, error) {
	if f.on.Load() && flag&os.O_EXCL != 0 {
		return nil, syscall.ENOSPC
	}
	opened, err := os.OpenFile(path, flag, mode)
	return failingFile{opened, f}, err
}

func (f failingFile) Write(p []byte) (int, error) {
	if !f.f.on.Load() {
		return f.File.Write(p)
	}
	n, _ := f.File.Write(p[:min(f.f.part, len(p))])
	return n, syscall.ENOSPC
}

// When nothing can be written, events wait; when too many wait, they are
// refused; and the log says so, once it is written again.
func TestDiskFull(t *testing.T) {
	opt, disk := testOptions(t), &failing{part: 7}
	opt.open, opt.Buffer, opt.MaxBytes = disk.open, 10, 1500
	l := open(t, opt)
	record(t, l, attempt("before"))
	disk.on.Store(true)
	refused := 0
	for range 15 {
		if err := l.Record(attempt("during")); core.KindOf(err) == core.KindUnavailable {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 5 {
		t.Errorf("%d of 15 events were refused, want 5", refused)
	}
	if err := l.Sync(t.Context()); core.KindOf(err) != core.KindUnavailable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Sync: %v", err)
	}
	if err := l.Ready(); core.KindOf(err) != core.KindUnavailable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Ready: %v", err)
	}
	if err := l.Record(attempt("x")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Record: %v", err)
	}
	disk.on.Store(false)
	for end := time.Now().Add(20 * time.Second); l.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not tried again")
		}
	}
	record(t, l, attempt("after"))
	closeLog(t, l)
	wantWhole(t, opt.Dir)
	if n := len(readAll(t, opt.Dir, Filter{Account: "during"})); n != 10 {
		t.Errorf("%d of the 10 events that waited were written", n)
	}
	all := readAll(t, opt.Dir, Filter{Event: EventDropped})
	if len(all) != 1 || all[0].Detail != "6 events could not be recorded" {
		t.Errorf("of the refused events it says %+v", all)
	}
}

// The buffer is bounded in octets too.
func TestBufferOctets(t *testing.T) {
	opt, disk := testOptions(t), &failing{}
	opt.open, opt.Buffer = disk.open, 10
	l := open(t, opt)
	disk.on.Store(true)
	e := attempt(strings.Repeat("\x00", maxText)) // six octets each
	recorded := 0
	for l.Record(e) == nil {
		recorded++
	}
	if recorded != 3 {
		t.Errorf("%d events of 3 KiB fit into 10 KiB", recorded)
	}
	disk.on.Store(false)
	syncLog(t, l)
	record(t, l, e, e)
}

// What is lost at the end is an error of Close, and no fault at the next start.
func TestDiskFullAtClose(t *testing.T) {
	opt, disk := testOptions(t), &failing{part: 7}
	opt.open = disk.open
	l := open(t, opt)
	record(t, l, attempt("a"))
	disk.on.Store(true)
	if err := l.Record(attempt("b")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "1 events are lost") {
		t.Errorf("Close: %v", err)
	}
	disk.on.Store(false)
	wantWhole(t, reopened(t, opt).Dir)
	if kinds := eventsOf(t, opt.Dir); !slices.Equal(kinds, []core.EventKind{EventOpened, core.EventAttempt, EventTorn}) {
		t.Errorf("the log holds %v", kinds)
	}
}

// TestFullFilesystem is TestDiskFull on a file system that is really full.
func TestFullFilesystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no tmpfs could be mounted: %v", err)
		}
		t.Skipf("no tmpfs could be mounted, which takes root: %v", err)
	}
	defer syscall.Unmount(mount, 0)
	opt := testOptions(t)
	opt.Dir, opt.Buffer = filepath.Join(mount, "audit"), 1000
	l := open(t, opt)
	defer l.Close()
	filler := filepath.Join(mount, "filler")
	if err := os.WriteFile(filler, make([]byte, 20<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for end := time.Now().Add(20 * time.Second); l.Record(attempt("a")) == nil; recorded++ {
		if time.Now().After(end) {
			t.Fatal("the file system never was full")
		}
		if recorded%50 == 0 {
			l.Sync(t.Context())
		}
	}
	if err := l.Ready(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Ready: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for l.Sync(ctx) != nil && ctx.Err() == nil { // room for less than everything
		if s := takeSnapshot(t, opt.Dir); len(s[fileName(1)]) > 50<<10 {
			break
		}
	}
	l.Close()
	if n := len(readAll(t, opt.Dir, Filter{Account: "a"})); n > recorded || n < 100 {
		t.Errorf("%d of %d events were written", n, recorded)
	}
}
