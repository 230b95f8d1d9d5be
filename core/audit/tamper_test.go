package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Threat C4: any octet that is changed is found, in the lines and in the head.
func TestEveryOctet(t *testing.T) {
	opt, whole := smallLog(t)
	for name, text := range whole {
		path := filepath.Join(opt.Dir, name)
		for i := range text {
			for _, flip := range []byte{0x01, 0x20, 0x80}[:2+i%2] {
				bad := bytes.Clone(text)
				bad[i] ^= flip
				if err := os.WriteFile(path, bad, fileMode); err != nil {
					t.Fatal(err)
				}
				if r := verify(t, opt.Dir); len(r.Faults) == 0 {
					t.Errorf("%s: octet %d, %q for %q: no fault", name, i, bad[i], text[i])
				}
			}
		}
		whole.put(t, opt.Dir)
	}
	wantWhole(t, opt.Dir)
}

// Threat C4: a file that is cut anywhere is found, and so is one that is longer.
func TestEveryCut(t *testing.T) {
	opt, whole := smallLog(t)
	for name, text := range whole {
		for i := range text {
			s := whole.clone()
			s[name] = text[:i]
			s.put(t, opt.Dir)
			if r := verify(t, opt.Dir); len(r.Faults) == 0 {
				t.Errorf("%s cut to %d of %d octets: no fault", name, i, len(text))
			}
		}
		for _, more := range []string{" ", "\n", "x", "{}\n", strings.Repeat("x", 3*maxLine) + "\n"} {
			s := whole.clone()
			s[name] = append(s[name], more...)
			s.put(t, opt.Dir)
			if r := verify(t, opt.Dir); len(r.Faults) == 0 {
				t.Errorf("%s with %.5q at its end: no fault", name, more)
			}
		}
	}
}

// Threat C4: lines and files that are missing, moved, doubled or foreign.
func TestTampering(t *testing.T) {
	opt, whole := smallLog(t)
	foreign := otherLog(t)
	one, two := whole.lines(1), whole.lines(2)
	for name, tt := range map[string]struct {
		change func(s snapshot)
		words  []string
	}{
		"line gone":         {func(s snapshot) { s.setLines(1, one[0], one[2]) }, []string{"audit-000001.jsonl:2:", "seq 3 where 2"}},
		"first line gone":   {func(s snapshot) { s.setLines(1, one[1:]...) }, []string{"audit-000001.jsonl:1:", "does not begin"}},
		"last line gone":    {func(s snapshot) { s.setLines(2, two[:2]...) }, []string{"audit-000002.jsonl", "written up to seq 6", "cut off"}},
		"last of old file":  {func(s snapshot) { s.setLines(1, one[:2]...) }, []string{"audit-000002.jsonl:1:", "audit-000001.jsonl: that file was cut"}},
		"lines swapped":     {func(s snapshot) { s.setLines(1, one[0], one[2], one[1]) }, []string{":2:", "seq 3 where 2"}},
		"line doubled":      {func(s snapshot) { s.setLines(1, one[0], one[1], one[1], one[2]) }, []string{":3:", "seq 2 where 3"}},
		"last line doubled": {func(s snapshot) { s.setLines(2, two[0], two[1], two[2], two[2]) }, []string{":4:", "seq 6 where 7"}},
		"line edited":       {func(s snapshot) { s.setLines(1, one[0], edited(one[1]), one[2]) }, []string{"audit-000001.jsonl:2:", "mac does not fit"}},
		"line of other log": {func(s snapshot) { s.setLines(1, one[0], foreign.lines(1)[1], one[2]) }, []string{":2:", "mac does not fit"}},
		"empty line":        {func(s snapshot) { s.setLines(1, one[0], []byte("\n"), one[1], one[2]) }, []string{":2:", "no line"}},
		"first file gone":   {func(s snapshot) { delete(s, fileName(1)) }, []string{"audit-000001.jsonl is missing"}},
		"newest file gone":  {func(s snapshot) { delete(s, fileName(2)) }, []string{"audit-000002.jsonl", "cut off"}},
		"all files gone":    {func(s snapshot) { delete(s, fileName(1)); delete(s, fileName(2)) }, []string{"cut off"}},
		"head gone":         {func(s snapshot) { delete(s, headName) }, []string{"head", "missing"}},
		"everything gone":   {func(s snapshot) { clear(s) }, []string{"no audit log"}},
		"head of other log": {func(s snapshot) { s[headName] = foreign[headName] }, []string{"head", "key that was not given"}},
		"files swapped": {func(s snapshot) { s[fileName(1)], s[fileName(2)] = s[fileName(2)], s[fileName(1)] },
			[]string{"audit-000001.jsonl:1:", "content of audit-000002.jsonl"}},
		"old file again": {func(s snapshot) { s[fileName(3)] = s[fileName(1)] }, []string{"audit-000003.jsonl:1:"}},
		"other log":      {func(s snapshot) { s[fileName(2)] = foreign[fileName(1)] }, []string{"audit-000002.jsonl:1:"}},
		"number skipped": {func(s snapshot) { s[fileName(4)] = s[fileName(2)] }, []string{"audit-000003.jsonl is missing"}},
		"old file empty": {func(s snapshot) { s[fileName(1)] = nil }, []string{"audit-000001.jsonl: that file was cut"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := whole.clone()
			tt.change(s)
			s.put(t, opt.Dir)
			wantFault(t, verify(t, opt.Dir), tt.words...)

			// The daemon starts nevertheless, and what follows hides nothing.
			l := open(t, opt)
			record(t, l, attempt("later"))
			closeLog(t, l)
			if r := verify(t, opt.Dir); len(r.Faults) == 0 && name != "everything gone" {
				t.Error("no fault after the next start")
			}
		})
	}
}

// edited returns the line with another account in it.
func edited(line []byte) []byte {
	return bytes.Replace(line, []byte(`"account":"a`), []byte(`"account":"x`), 1)
}

// otherLog returns a log under another key, with the same events as smallLog.
func otherLog(t *testing.T) snapshot {
	opt := testOptions(t)
	opt.Key = testKey(9)
	l := open(t, opt)
	record(t, l, attempt("a0"), attempt("a1"))
	closeLog(t, l)
	return takeSnapshot(t, opt.Dir)
}

// An older state of one file beside the newer head and files is found.
func TestReplayOfOldFile(t *testing.T) {
	opt := testOptions(t)
	l := open(t, opt)
	record(t, l, attempt("a"))
	before := takeSnapshot(t, opt.Dir)
	record(t, l, attempt("b"))
	closeLog(t, l)
	after := takeSnapshot(t, opt.Dir)

	s := after.clone()
	s[fileName(1)] = before[fileName(1)]
	s.put(t, opt.Dir)
	wantFault(t, verify(t, opt.Dir), "cut off")

	// The log may be ahead of its head: a crash leaves it so.
	s = after.clone()
	s[headName] = before[headName]
	s.put(t, opt.Dir)
	wantWhole(t, opt.Dir)
	wantWhole(t, reopened(t, opt).Dir)
}

// A log that went on from an older state, beside the head that it had before.
func TestOtherHistory(t *testing.T) {
	opt := testOptions(t)
	reopened(t, opt)
	older := takeSnapshot(t, opt.Dir)
	var heads [][]byte
	for _, account := range []string{"a", "b"} {
		older.put(t, opt.Dir)
		l := open(t, opt)
		record(t, l, attempt(account))
		closeLog(t, l)
		heads = append(heads, takeSnapshot(t, opt.Dir)[headName])
	}
	wantWhole(t, opt.Dir)
	s := takeSnapshot(t, opt.Dir)
	s[headName] = heads[0]
	s.put(t, opt.Dir)
	wantFault(t, verify(t, opt.Dir), fileName(1), "seq 2", "not there or was changed")
}

// Lines whose macs fit must also count right.
func TestSeqUnderRightKey(t *testing.T) {
	opt, s := smallLog(t)
	c := &chain{key: newSigner(opt.Key), seq: 6}
	two := s.lines(2)
	_, c.last, _ = splitLine(bytes.TrimSuffix(two[2], []byte("\n")))
	good := appendEnd([]byte(`{"event":"x"`), 0, c)
	s.setLines(2, append(two, good)...)
	s.put(t, opt.Dir)
	if r := verify(t, opt.Dir); len(r.Faults) > 0 {
		// It has no time, so it is no line of ours, but that is not what is asked.
		t.Fatalf("faults of a line that fits: %v", r.Faults)
	}
	c.seq++
	s.setLines(2, append(s.lines(2), appendEnd([]byte(`{"event":"x"`), 0, c))...)
	s.put(t, opt.Dir)
	wantFault(t, verify(t, opt.Dir), ":5:", "seq 9 where 8 is due")
}

// The number of a file that is gone is not given again.
func TestNumberOfLostFile(t *testing.T) {
	opt, s := smallLog(t)
	delete(s, fileName(2))
	s.put(t, opt.Dir)
	reopened(t, opt)
	if numbers, err := listFiles(opt.Dir); err != nil || !slices.Equal(numbers, []uint64{1, 3}) {
		t.Errorf("the files %v, %v; want 1 and 3", numbers, err)
	}
	wantFault(t, verify(t, opt.Dir), "audit-000002.jsonl is missing")
}

// A log that ends before its head was cut; or lost its end with the power, if
// that was not yet forced to the disk.
func TestLostWithThePower(t *testing.T) {
	opt := testOptions(t)
	l := open(t, opt)
	record(t, l, attempt("a"))
	crashed := takeSnapshot(t, opt.Dir) // less than a second after the first line
	closeLog(t, l)
	closed := takeSnapshot(t, opt.Dir)
	const power = "lost with the power"
	for name, s := range map[string]snapshot{"crashed": crashed, "closed": closed} {
		s.setLines(1, s.lines(1)[0])
		s.put(t, opt.Dir)
		r := verify(t, opt.Dir)
		wantFault(t, r, "its end was cut off")
		if got := strings.Contains(fmt.Sprint(r.Faults), power); got != (name == "crashed") {
			t.Errorf("%s: %v", name, r.Faults)
		}
	}
}

// reopened opens and closes the log.
func reopened(t *testing.T, opt Options) Options {
	t.Helper()
	closeLog(t, open(t, opt))
	return opt
}

func TestVerifyKeys(t *testing.T) {
	opt, _ := smallLog(t)
	wantFault(t, verify(t, opt.Dir, testKey(2)), "key that was not given")

	opt.OldKeys, opt.Key = [][]byte{opt.Key}, testKey(2)
	l := open(t, opt)
	record(t, l, attempt("new key"))
	closeLog(t, l)
	if r := wantWhole(t, opt.Dir, testKey(2), testKey(1)); r.Files != 3 || r.Lines != 8 {
		t.Errorf("%d files with %d lines under two keys, want 3 with 8", r.Files, r.Lines)
	}
	wantWhole(t, opt.Dir, testKey(1), testKey(2))
	wantFault(t, verify(t, opt.Dir, testKey(2)), "audit-000001.jsonl:1:", "key that was not given")

	for _, keys := range [][][]byte{nil, {testKey(1)[:31]}} {
		if _, err := Verify(opt.Dir, keys); err == nil {
			t.Errorf("verified with the keys %v", keys)
		}
	}
	if _, err := Verify(filepath.Join(opt.Dir, "none"), [][]byte{testKey(1)}); err == nil {
		t.Error("verified a directory that is not there")
	}
}

// The faults of a log that is nothing but faults are bounded.
func TestFaultsAreBounded(t *testing.T) {
	opt, s := smallLog(t)
	s[fileName(2)] = bytes.Repeat([]byte("x\n"), 3*maxFaults)
	s.put(t, opt.Dir)
	r := verify(t, opt.Dir)
	if len(r.Faults) != maxFaults || !strings.Contains(fmt.Sprint(r.Faults[maxFaults-1]), "more faults") {
		t.Errorf("%d faults, the last %v", len(r.Faults), r.Faults[len(r.Faults)-1])
	}
}
