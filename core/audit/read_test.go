package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

func TestFilter(t *testing.T) {
	opt := testOptions(t)
	l := open(t, opt)
	at := newClock().t
	for i, e := range []core.Event{
		{Kind: core.EventAttempt, Account: "alain@contoso.com", Service: "radius/vpn1", Reason: core.ReasonWrong},
		{Kind: core.EventAttempt, Account: "Alain@Contoso.com", Service: "pam/sshd"},
		{Kind: core.EventCreated, Account: "bob"},
		{Kind: core.EventAttempt, Account: "no name \x00", Reason: core.ReasonMalformed},
	} {
		e.Time = at.Add(time.Duration(i) * time.Hour)
		record(t, l, e)
	}
	closeLog(t, l)
	for name, tt := range map[string]struct {
		filter Filter
		want   []uint64 // seq
	}{
		"everything":  {Filter{}, []uint64{1, 2, 3, 4, 5}},
		"account":     {Filter{Account: "ALAIN@contoso.com"}, []uint64{2, 3}},
		"no account":  {Filter{Account: "no name \x00"}, []uint64{5}},
		"of nobody":   {Filter{Account: "nobody"}, nil},
		"service":     {Filter{Service: "pam/sshd"}, []uint64{3}},
		"reason":      {Filter{Reason: core.ReasonWrong}, []uint64{2}},
		"event":       {Filter{Event: core.EventCreated}, []uint64{4}},
		"since":       {Filter{Since: at.Add(2 * time.Hour)}, []uint64{4, 5}},
		"after":       {Filter{After: 3}, []uint64{4, 5}},
		"two of them": {Filter{Account: "alain@contoso.com", Reason: core.ReasonWrong}, []uint64{2}},
	} {
		var got []uint64
		for _, e := range readAll(t, opt.Dir, tt.filter) {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: lines %v, want %v", name, got, tt.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	opt, s := smallLog(t)
	stop := errors.New("enough")
	calls := 0
	if err := Read(t.Context(), opt.Dir, Filter{}, func(Entry, []byte) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, then %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(Entry, []byte) error { t.Error("called"); return nil }
	if err := Read(ctx, opt.Dir, Filter{}, none); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("with a context that ended: %v", err)
	}
	if err := Read(t.Context(), filepath.Join(opt.Dir, "none"), Filter{}, none); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("without a directory: %v", err)
	}

	bad := [][]byte{[]byte("\x1b[31m{}\n"), []byte("{\n"), bytes.Repeat([]byte("x"), 3*maxLine), []byte("\n"), []byte("{\"time\":1}\n"), []byte("{\"account\":\"\u202e\"}\n"), []byte("\t{}\n")}
	s.setLines(1, slices.Concat(s.lines(1), bad)...)
	s.put(t, opt.Dir)
	calls = 0
	err := Read(t.Context(), opt.Dir, Filter{}, func(Entry, []byte) error { calls++; return nil })
	if calls != 6 || core.KindOf(err) != core.KindDamaged || !strings.Contains(err.Error(), "6 lines") {
		t.Errorf("%d lines of a damaged log were read, then %v", calls, err)
	}
}

// A pipe or a link in place of a file is an error, and nobody waits for it.
func TestNoRegularFile(t *testing.T) {
	opt, _ := smallLog(t)
	path := filepath.Join(opt.Dir, fileName(2))
	if err := errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(opt.Dir, [][]byte{testKey(1)}); err == nil {
		t.Error("a link was verified")
	}
}

func TestFollow(t *testing.T) {
	opt := testOptions(t)
	opt.MaxBytes = 1000
	l := open(t, opt)
	record(t, l, attempt("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen, done := make(chan uint64), make(chan error, 1)
	go func() {
		done <- Follow(ctx, opt.Dir, Filter{}, func(e Entry, raw []byte) error {
			if again, err := parseLine(raw); err != nil || again.Seq != e.Seq {
				t.Errorf("raw is %q, %v", raw, err)
			}
			select {
			case seen <- e.Seq:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	want := uint64(1)
	expect := func(events int) {
		for end := want + uint64(events); want < end; want++ {
			select {
			case got := <-seen:
				if got != want {
					t.Fatalf("line %d where %d is due", got, want)
				}
			case <-ctx.Done():
				t.Fatalf("line %d did not come", want)
			}
		}
	}
	expect(2)
	record(t, l, attempt("b"))
	expect(1)
	for range 20 {
		record(t, l, attempt("c"))
	}
	numbers, err := listFiles(opt.Dir)
	if err != nil || len(numbers) < 3 {
		t.Fatalf("the files %v, %v", numbers, err)
	}
	expect(20 + len(numbers) - 1)

	// An unfinished line is not handed out, also not when it is cut off.
	closeLog(t, l)
	path := filepath.Join(opt.Dir, fileName(numbers[len(numbers)-1]))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"time":"2026-`)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * pollEvery)
	l = open(t, opt)
	expect(1) // audit-torn
	record(t, l, attempt("d"))
	if n, err := listFiles(opt.Dir); err != nil || len(n) == len(numbers) {
		expect(1)
	} else {
		expect(2)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Follow ended with %v", err)
	}
}

// FuzzRead gives arbitrary files to all who read them.
func FuzzRead(f *testing.F) {
	_, s := smallLog(f)
	f.Add(s[fileName(1)], s[headName])
	f.Add(s[fileName(2)][:100], s[headName][:10])
	f.Add([]byte(`{"time":"x"}`+"\n\n\x00\n"+strings.Repeat("x", maxLine+5)+"\n{"), []byte("{}"))
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, text, head []byte) {
		opt := testOptions(t)
		opt.Dir = t.TempDir()
		snapshot{fileName(1): text, headName: head}.put(t, opt.Dir)
		if r := verify(t, opt.Dir); len(r.Faults) == 0 { // no seed is a whole log
			t.Errorf("a foreign log is whole: %+v", r)
		}
		err := Read(t.Context(), opt.Dir, Filter{Account: "a"}, func(_ Entry, raw []byte) error {
			for _, b := range raw {
				if b < ' ' || b > '~' {
					t.Errorf("the octet %#x is in %q", b, raw)
				}
			}
			return nil
		})
		if err != nil && core.KindOf(err) != core.KindDamaged {
			t.Error(err)
		}
		l, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		record(t, l, attempt("a"))
		closeLog(t, l)
		if n := len(readAllDamaged(t, opt.Dir)); n < 2 {
			t.Errorf("%d lines after a start", n)
		}
	})
}

func readAllDamaged(t *testing.T, dir string) (all []Entry) {
	err := Read(t.Context(), dir, Filter{}, func(e Entry, _ []byte) error { all = append(all, e); return nil })
	if err != nil && core.KindOf(err) != core.KindDamaged {
		t.Fatal(err)
	}
	return all
}
