package audit

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

func testKey(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// A testClock is a clock that tests set.
type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *testClock { return &testClock{t: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)} }

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func testOptions(tb testing.TB) Options {
	return Options{Dir: filepath.Join(tb.TempDir(), "audit"), Key: testKey(1), Now: newClock().now}
}

func open(tb testing.TB, opt Options) *Log {
	tb.Helper()
	l, err := Open(opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func attempt(account string) core.Event {
	return core.Event{Kind: core.EventAttempt, Account: account, Service: "radius/vpn1", Reason: core.ReasonWrong}
}

func record(tb testing.TB, l *Log, events ...core.Event) {
	tb.Helper()
	for _, e := range events {
		if err := l.Record(e); err != nil {
			tb.Fatal(err)
		}
	}
	syncLog(tb, l)
}

func syncLog(tb testing.TB, l *Log) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Sync(ctx); err != nil {
		tb.Fatal(err)
	}
}

func closeLog(tb testing.TB, l *Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

// verify is Verify of a log that nobody writes.
func verify(tb testing.TB, dir string, keys ...[]byte) Report {
	tb.Helper()
	if len(keys) == 0 {
		keys = [][]byte{testKey(1)}
	}
	signers, err := newSigners(keys)
	if err != nil {
		tb.Fatal(err)
	}
	v := newVerifier(dir, signers, 0)
	if err := v.run(0); err != nil {
		tb.Fatal(err)
	}
	return v.report
}

func wantWhole(tb testing.TB, dir string, keys ...[]byte) Report {
	tb.Helper()
	r := verify(tb, dir, keys...)
	for _, f := range r.Faults {
		tb.Errorf("a fault in a whole log: %v", f)
	}
	return r
}

// wantFault wants a fault whose text holds each of the words.
func wantFault(tb testing.TB, r Report, words ...string) {
	tb.Helper()
	for _, f := range r.Faults {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.String(), w) }) {
			return
		}
	}
	tb.Errorf("no fault with %q among %v", words, r.Faults)
}

// A snapshot is the content of a directory.
type snapshot map[string][]byte

func takeSnapshot(tb testing.TB, dir string) snapshot {
	tb.Helper()
	s := snapshot{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if s[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func (s snapshot) clone() snapshot {
	c := maps.Clone(s)
	for name, text := range c {
		c[name] = bytes.Clone(text)
	}
	return c
}

// put makes dir hold s and nothing else.
func (s snapshot) put(tb testing.TB, dir string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := s[e.Name()]; !ok {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for name, text := range s {
		if err := os.WriteFile(filepath.Join(dir, name), text, fileMode); err != nil {
			tb.Fatal(err)
		}
	}
}

func (s snapshot) names() []string { return slices.Sorted(maps.Keys(s)) }

// lines returns the lines of a file, with their ends.
func (s snapshot) lines(number uint64) [][]byte {
	lines := bytes.SplitAfter(s[fileName(number)], []byte("\n"))
	return lines[:len(lines)-1]
}

func (s snapshot) setLines(number uint64, lines ...[]byte) {
	s[fileName(number)] = bytes.Join(lines, nil)
}

// smallLog makes a closed log of two files with three lines each.
func smallLog(tb testing.TB) (Options, snapshot) {
	tb.Helper()
	opt := testOptions(tb)
	clock := newClock()
	opt.Now, opt.MaxAge = clock.now, time.Hour
	l := open(tb, opt)
	for i := range 2 {
		record(tb, l, attempt(fmt.Sprint("a", i)), core.Event{Kind: core.EventCreated, Account: "b", Actor: "root"})
		clock.add(2 * time.Hour)
	}
	closeLog(tb, l)
	s := takeSnapshot(tb, opt.Dir)
	if r := wantWhole(tb, opt.Dir); r.Files != 2 || r.Lines != 6 || len(s.lines(1)) != 3 {
		tb.Fatalf("the small log has %d files and %d lines", r.Files, r.Lines)
	}
	return opt, s
}

// readAll returns the lines that f lets pass.
func readAll(tb testing.TB, dir string, f Filter) []Entry {
	tb.Helper()
	var all []Entry
	if err := Read(tb.Context(), dir, f, func(e Entry, _ []byte) error { all = append(all, e); return nil }); err != nil {
		tb.Fatal(err)
	}
	return all
}

// eventsOf returns the kinds of the events in dir.
func eventsOf(tb testing.TB, dir string) (kinds []core.EventKind) {
	tb.Helper()
	for _, e := range readAll(tb, dir, Filter{}) {
		kinds = append(kinds, e.Event)
	}
	return kinds
}
