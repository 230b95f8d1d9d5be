package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

func TestModes(t *testing.T) {
	opt, s := smallLog(t)
	for _, name := range append(s.names(), ".") {
		want := fs.FileMode(fileMode)
		if name == "." {
			want = dirMode
		}
		if info, err := os.Stat(filepath.Join(opt.Dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", name, info.Mode(), err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good, _ := smallLog(t)
	open(t, good)
	shared := filepath.Join(t.TempDir(), "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o720)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		opt  Options
		want string
	}{
		"no directory":   {Options{Key: testKey(1)}, "no directory"},
		"no key":         {Options{Dir: t.TempDir()}, "0 octets"},
		"short old key":  {Options{Dir: t.TempDir(), Key: testKey(1), OldKeys: [][]byte{{1}}}, "1 octets"},
		"negative":       {Options{Dir: t.TempDir(), Key: testKey(1), Keep: -1}, "negative"},
		"open twice":     {good, "another process"},
		"others' writes": {Options{Dir: shared, Key: testKey(1)}, "mode 0720"},
	} {
		if l, err := Open(tt.opt); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
			if l != nil {
				l.Close()
			}
		}
	}
}

func TestRestart(t *testing.T) {
	opt := testOptions(t)
	for i := range 3 {
		l := open(t, opt)
		record(t, l, attempt(fmt.Sprint(i)))
		closeLog(t, l)
	}
	if r := wantWhole(t, opt.Dir); r.Files != 1 || r.Lines != 4 || r.From.IsZero() || r.To != r.From {
		t.Errorf("after three starts: %+v", r)
	}
}

func TestClosed(t *testing.T) {
	l := open(t, testOptions(t))
	closeLog(t, l)
	closeLog(t, l)
	for what, err := range map[string]error{"Record": l.Record(attempt("a")), "Ready": l.Ready()} {
		if core.KindOf(err) != core.KindUnavailable {
			t.Errorf("%s of a closed log: %v", what, err)
		}
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Errorf("Sync of a closed log that is written: %v", err)
	}
}

// What is recorded is written soon, without Sync, and Close leaves nothing.
func TestFlush(t *testing.T) {
	opt := testOptions(t)
	l := open(t, opt)
	for n := range 3 {
		if err := l.Record(attempt("a")); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); len(readAll(t, opt.Dir, Filter{Account: "a"})) == n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("event %d was not written", n)
			}
		}
	}
	for range 1000 {
		if err := l.Record(attempt("b")); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	if n := len(readAll(t, opt.Dir, Filter{Account: "b"})); n != 1000 {
		t.Errorf("%d of 1000 events were written", n)
	}
	wantWhole(t, opt.Dir)
}

// Within a second or so, lines are forced to the disk, and the head says so.
func TestSyncedHead(t *testing.T) {
	opt := testOptions(t)
	l := open(t, opt)
	record(t, l, attempt("a"))
	keys := []*signer{newSigner(opt.Key)}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		h, err := readHead(opt.Dir, keys, 10)
		if err != nil || h.Seq != 2 {
			t.Fatalf("the head is %+v, %v", h, err)
		}
		if h.Synced == 2 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the lines were not forced to the disk")
		}
	}
}

func TestFileNumber(t *testing.T) {
	for name, want := range map[string]uint64{
		"audit-000001.jsonl": 1, "audit-999999.jsonl": 999999, "audit-1000000.jsonl": 1000000, "audit-999999999999999999.jsonl": 1e18 - 1,
		"audit-000000.jsonl": 0, "audit-1.jsonl": 0, "audit-0000001.jsonl": 0, "audit-+00001.jsonl": 0, "audit-00001x.jsonl": 0,
		"audit-000001.jsonl.bak": 0, "Audit-000001.jsonl": 0, "audit-1000000000000000000.jsonl": 0, "head": 0, "": 0,
	} {
		if got, ok := fileNumber(name); ok != (want > 0) || ok && got != want {
			t.Errorf("fileNumber(%q) = %d, %v, want %d", name, got, ok, want)
		}
	}
}

func TestRotationBySize(t *testing.T) {
	opt := testOptions(t)
	opt.MaxBytes = 2000
	l := open(t, opt)
	for i := range 100 {
		if err := l.Record(attempt(fmt.Sprint("account", i))); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	for name, text := range takeSnapshot(t, opt.Dir) {
		if len(text) > 2000 {
			t.Errorf("%s has %d octets", name, len(text))
		}
	}
	if r := wantWhole(t, opt.Dir); r.Files < 10 || r.Lines != 100+r.Files {
		t.Errorf("%d files with %d lines", r.Files, r.Lines)
	}

	opt = testOptions(t)
	opt.MaxBytes = 1
	l = open(t, opt)
	record(t, l, attempt("a"), attempt("b"), attempt("c"))
	closeLog(t, l)
	if r := wantWhole(t, opt.Dir); r.Files != 3 || r.Lines != 6 {
		t.Errorf("with room for nothing: %d files with %d lines, want 3 with 6", r.Files, r.Lines)
	}
}

func TestRotationByAge(t *testing.T) {
	opt := testOptions(t)
	clock := newClock()
	opt.Now = clock.now
	l := open(t, opt)
	record(t, l, attempt("a"))
	clock.add(24*time.Hour - time.Millisecond)
	record(t, l, attempt("a"))
	closeLog(t, l)
	if r := wantWhole(t, opt.Dir); r.Files != 1 {
		t.Errorf("%d files before the first is old", r.Files)
	}
	l = open(t, opt) // the age counts from the first line, not from the start
	clock.add(time.Millisecond)
	record(t, l, attempt("a"))
	closeLog(t, l)
	if r := wantWhole(t, opt.Dir); r.Files != 2 {
		t.Errorf("%d files after the first is old", r.Files)
	}
}

func TestKeep(t *testing.T) {
	opt := testOptions(t)
	opt.MaxBytes, opt.Keep = 1, 3
	l := open(t, opt)
	for range 10 {
		record(t, l, attempt("a"))
	}
	closeLog(t, l)
	if l.w.doomed != nil {
		t.Errorf("the files %v are to be removed again and again", l.w.doomed)
	}
	numbers, err := listFiles(opt.Dir)
	if err != nil || !slices.Equal(numbers, []uint64{8, 9, 10}) {
		t.Errorf("the files %v are left, %v", numbers, err)
	}
	wantWhole(t, opt.Dir)

	// A file with a higher number that somebody puts in removes none of ours.
	l = open(t, opt)
	if err := os.WriteFile(filepath.Join(opt.Dir, fileName(99)), nil, fileMode); err != nil {
		t.Fatal(err)
	}
	record(t, l, attempt("a"))
	closeLog(t, l)
	numbers, err = listFiles(opt.Dir)
	if err != nil || !slices.Equal(numbers, []uint64{9, 10, 11, 99}) {
		t.Errorf("the files %v are left, %v", numbers, err)
	}
	if err := os.Remove(filepath.Join(opt.Dir, fileName(99))); err != nil {
		t.Fatal(err)
	}

	opt.Keep, opt.MaxBytes = 2, 0 // at the next start
	wantWhole(t, reopened(t, opt).Dir)
	s := takeSnapshot(t, opt.Dir)
	if len(s) != 3 {
		t.Errorf("%v are left, want 2 files and the head", s.names())
	}
	delete(s, fileName(10)) // nobody recorded that this one goes
	s.put(t, opt.Dir)
	wantFault(t, verify(t, opt.Dir), "audit-000010.jsonl is missing")
}

// A crash may cut the last line anywhere behind the head.
func TestTorn(t *testing.T) {
	opt, whole := smallLog(t)
	next := open(t, opt)
	record(t, next, attempt("c"))
	closeLog(t, next)
	longer := takeSnapshot(t, opt.Dir)
	name, at := fileName(2), len(whole[fileName(2)])
	if len(longer[name]) <= at {
		name, at = fileName(3), 0
	}
	for n := range len(longer[name]) - at {
		if near := bytes.IndexByte(longer[name][at+n:], '\n'); n%9 != 0 && near > 1 {
			continue // a start takes time
		}
		s := whole.clone()
		s[name] = longer[name][:at+n]
		s.put(t, opt.Dir)
		l := open(t, opt)
		record(t, l, attempt("d"))
		closeLog(t, l)
		wantWhole(t, opt.Dir)
		torn := slices.DeleteFunc(readAll(t, opt.Dir, Filter{}), func(e Entry) bool { return e.Event != EventTorn })
		if part := int64(n - strings.LastIndex(string(longer[name][at:at+n]), "\n") - 1); part == 0 {
			if len(torn) != 0 {
				t.Errorf("cut %d octets behind the head, between lines: %v", n, torn)
			}
		} else if len(torn) != 1 || torn[0].File == nil || torn[0].File.Torn != part {
			t.Errorf("cut %d octets behind the head, within a line: %+v", n, torn)
		}
	}
}

// Where the end does not fit, the daemon starts, in a file that says so.
func TestBroken(t *testing.T) {
	opt, s := smallLog(t)
	s[fileName(2)][len(s[fileName(2)])-10] ^= 1
	s.put(t, opt.Dir)
	for range 3 { // and says it once
		l := open(t, opt)
		record(t, l, attempt("later"))
		closeLog(t, l)
	}
	r := verify(t, opt.Dir)
	wantFault(t, r, "audit-000003.jsonl:1:", "chain is broken", "mac does not fit")
	if r.Files != 3 || r.Lines != 10 {
		t.Errorf("%d files with %d lines, want 3 with 10", r.Files, r.Lines)
	}
}

// The numbers of lost lines are not given again, so that Filter.After holds.
func TestBrokenSeq(t *testing.T) {
	opt, s := smallLog(t)
	s.setLines(2, s.lines(2)[0])
	s.put(t, opt.Dir)
	reopened(t, opt)
	all := readAll(t, opt.Dir, Filter{After: 6})
	if len(all) != 1 || all[0].Event != EventOpened || all[0].Seq != 7 {
		t.Errorf("after the lost lines come %+v", all)
	}
	if r := verify(t, opt.Dir); len(r.Faults) != 1 {
		t.Errorf("more than one fault: %v", r.Faults)
	}
}

// A file that is removed or cut under a running daemon is noticed.
func TestRemovedWhileWritten(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 5) },
		"replaced": func(path string) error {
			text, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", text, fileMode), os.Rename(path+".new", path))
		},
	} {
		opt := testOptions(t)
		l := open(t, opt)
		record(t, l, attempt("a"))
		if err := change(filepath.Join(opt.Dir, fileName(1))); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); len(takeSnapshot(t, opt.Dir)[fileName(2)]) == 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: no other file was begun", name)
			}
			record(t, l, attempt("b"))
		}
		closeLog(t, l)
		if r := verify(t, opt.Dir); len(r.Faults) == 0 { // what was written between the change and its notice is lost
			t.Errorf("%s: no fault", name)
		}
	}
}

// Recording allocates nothing, but for the buffer and the date once a second.
func TestRecordAllocatesNothing(t *testing.T) {
	l := open(t, testOptions(t))
	e := signIn(1)
	if n := testing.AllocsPerRun(10000, func() {
		if err := l.Record(e); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The buffer of a batch is used again by the one after the next, however large,
// until much smaller ones do.
func TestBufferIsKept(t *testing.T) {
	w := &writer{}
	batch := func(old []byte, octets int) []byte {
		w.at = len(w.bodies) // they are written
		return w.take(append(old, make([]byte, octets)...))
	}
	large := batch(nil, 8*spareOctets)
	large = batch(large, 8*spareOctets)
	if cap(large) < 8*spareOctets {
		t.Errorf("of 8 MiB, %d octets are kept", cap(large))
	}
	small := batch(large, 100)
	if small = batch(small, 100); cap(small) > spareOctets {
		t.Errorf("%d octets are kept for 100", cap(small))
	}
}

func TestManyGoroutines(t *testing.T) {
	opt := testOptions(t)
	opt.MaxBytes = 20000
	l := open(t, opt)
	const writers, events = 16, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range events {
				e := attempt(fmt.Sprint("writer", w))
				e.Detail = fmt.Sprint(i)
				if err := l.Record(e); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					if err := errors.Join(l.Sync(t.Context()), l.Ready()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 3 { // while it is written, a verification finds nothing either
		r, err := Verify(opt.Dir, [][]byte{testKey(1)})
		if err != nil || len(r.Faults) > 0 {
			t.Errorf("verified while written: %v, %v", r.Faults, err)
		}
	}
	all.Wait()
	closeLog(t, l)
	wantWhole(t, opt.Dir)
	next := map[string]int{}
	for _, e := range readAll(t, opt.Dir, Filter{Event: core.EventAttempt}) {
		if e.Detail != fmt.Sprint(next[e.Account]) {
			t.Fatalf("%s: event %s where %d is due", e.Account, e.Detail, next[e.Account])
		}
		next[e.Account]++
	}
	if len(next) != writers || next["writer0"] != events {
		t.Errorf("%v were written", next)
	}
}
