package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// readAll reads a file to its end, and fails for what a reader may never give.
func readAll(t testing.TB, text []byte, format string) (accounts []*controlv1.ImportAccount, faults []string) {
	t.Helper()
	lines := uint64(bytes.Count(text, []byte("\n")) + 1)
	r := newImportReader(bytes.NewReader(text), format)
	for last := uint64(0); ; {
		e, err := r.read()
		if errors.Is(err, io.EOF) {
			if r.octets() > int64(len(text)) {
				t.Fatalf("read %d of %d octets", r.octets(), len(text))
			}
			return accounts, faults
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.line < 1 || e.line <= last || e.line > lines {
			t.Fatalf("line %d after line %d of %d", e.line, last, lines)
		}
		last = e.line
		if e.account == nil && len(e.faults) == 0 {
			t.Fatalf("line %d has neither an account nor a fault", e.line)
		}
		for _, fault := range e.faults {
			if len(fault) > 500 || strings.Contains(fault, "\n") {
				t.Fatalf("line %d: fault %q", e.line, fault)
			}
			faults = append(faults, fmt.Sprintf("%d: %s", e.line, fault))
		}
		if e.account != nil {
			if size := proto.Size(e.account); e.account.Line != e.line || size > 64<<10-64 {
				t.Fatalf("line %d: account of line %d, %d octets", e.line, e.account.Line, size)
			}
			if len(e.faults) == 0 {
				accounts = append(accounts, e.account)
			}
		}
	}
}

// rewritten is what is read of what an export of accounts writes.
func rewritten(t testing.TB, accounts []*controlv1.ImportAccount, format string) []*controlv1.ImportAccount {
	t.Helper()
	var out bytes.Buffer
	w := newExportWriter(&out, format, true)
	if err := w.begin(); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if err := w.write(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	again, faults := readAll(t, out.Bytes(), format)
	if len(faults) > 0 {
		t.Fatalf("what was written has faults: %q\n%q", faults, out.String())
	}
	return again
}

// sameAccounts compares all but lines.
func sameAccounts(t testing.TB, got, want []*controlv1.ImportAccount) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d accounts, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := proto.CloneOf(got[i]), proto.CloneOf(want[i])
		g.Line, w.Line = 0, 0
		if !proto.Equal(g, w) {
			t.Fatalf("account %d is %v, want %v", i, g, w)
		}
	}
}

// writable says whether an export can have the account: groups with line ends
// or without a character are none.
func writable(a *controlv1.ImportAccount) bool {
	texts := append([]string{a.Name, a.PasswordHash}, a.Groups...)
	return !slices.Contains(a.Groups, "") && !slices.ContainsFunc(texts, func(s string) bool { return strings.ContainsAny(s, "\r\n") }) &&
		len(strings.Join(texts, ""))*6+4*len(a.Groups)+100 < maxImportLine
}

func seeds(f *testing.F, ending string) {
	f.Helper()
	for _, name := range []string{"faults", "header", "headerless", "empty"} {
		text, err := os.ReadFile("../../testdata/import/" + name + ending)
		if errors.Is(err, os.ErrNotExist) && name != "faults" {
			continue
		}
		if err != nil {
			f.Fatal(err)
		}
		short := slices.DeleteFunc(bytes.SplitAfter(text, []byte("\n")), func(l []byte) bool { return len(l) > 1000 })
		f.Add(bytes.Join(short, nil)) // long ones leave no time for others
	}
}

func FuzzImportCSV(f *testing.F) {
	seeds(f, ".csv")
	f.Add([]byte("name\n\"a\"\"b\"\n\n\"\na\"\n"))
	f.Add([]byte(`name,groups` + "\n" + `a,\ a\;b\\ ;c` + "\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) { fuzzImport(t, text, formatCSV) })
}

func FuzzImportJSONL(f *testing.F) {
	seeds(f, ".jsonl")
	f.Add([]byte(`{"name":"a","groups":["a;b"," c "],"enabled":false,"password_hash":"$"}` + "\n{}"))
	f.Fuzz(func(t *testing.T, text []byte) { fuzzImport(t, text, formatJSONL) })
}

func fuzzImport(t *testing.T, text []byte, format string) {
	accounts, _ := readAll(t, text, format)
	accounts = slices.DeleteFunc(accounts, func(a *controlv1.ImportAccount) bool { return !writable(a) })
	for _, other := range []string{formatCSV, formatJSONL} {
		if other == formatCSV && slices.ContainsFunc(accounts, func(a *controlv1.ImportAccount) bool { return a.Name == "" }) {
			continue // a blank line is none
		}
		sameAccounts(t, rewritten(t, accounts, other), accounts)
	}
}

// A line is split as encoding/csv splits it where it is alone.
func FuzzImportCells(f *testing.F) {
	f.Add(`a,"b,""c""",` + "\u00e9")
	f.Add(`"a`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Trim(text, "\r\n") != text || strings.Contains(text, "\n") || text == "" {
			return
		}
		r := newImportReader(strings.NewReader(""), formatCSV).(*csvReader)
		for range 2 { // nothing of a line gets into the next
			got, err := r.cells([]byte(text))
			alone := csv.NewReader(strings.NewReader(text))
			alone.FieldsPerRecord = -1
			want, wantErr := alone.Read()
			if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(got, want) {
				t.Fatalf("%q is %q (%v), want %q (%v)", text, got, err, want, wantErr)
			}
		}
	})
}

func TestGroups(t *testing.T) {
	for cell, want := range map[string][]string{
		"":                nil,
		"  ":              nil,
		"a":               {"a"},
		"a;b":             {"a", "b"},
		" a ; b b ":       {"a", "b b"},
		`a\;b`:            {"a;b"},
		`CONTOSO\staff`:   {`CONTOSO\staff`},
		`CONTOSO\\staff;`: {`CONTOSO\staff`, ""},
		`\ a\ ;\ `:        {" a ", " "},
		`a\`:              {`a\`},
		";":               {"", ""},
	} {
		if got := splitGroups(cell); !slices.Equal(got, want) {
			t.Errorf("%q is %q, want %q", cell, got, want)
		}
	}
	for _, groups := range [][]string{nil, {"a", "b"}, {" ", "  a ", `\`, `\;`, `a\ b;`, ";"}} {
		if got := splitGroups(joinGroups(groups)); !slices.Equal(got, groups) {
			t.Errorf("%q is written %q and read %q", groups, joinGroups(groups), got)
		}
	}
}

// repeated gives text over and over, and then the end.
type repeated struct {
	text string
	left int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.left == 0 {
			return 0, io.EOF
		}
		r.left--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A line without an end, and a quote that is never closed, take no memory.
func TestImportBounded(t *testing.T) {
	for what, r := range map[string]*repeated{
		"one line":      {text: strings.Repeat("x", 1<<20), left: 64},
		"an open quote": {text: "\"" + strings.Repeat("x\n", 1<<10), left: 100},
	} {
		for _, format := range []string{formatCSV, formatJSONL} {
			reader := newImportReader(io.MultiReader(strings.NewReader("name\n"), &repeated{text: r.text, left: r.left}), format)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			entries := 0
			for {
				_, err := reader.read()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				entries++
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 || entries == 0 {
				t.Errorf("%s as %s: %d entries, %d octets of memory", what, format, entries, grown)
			}
		}
	}
}

// The first faults by line are kept, whichever come first, and all are counted.
func TestFaultListKeepsFirst(t *testing.T) {
	var l faultList
	const n = 10 * maxFaults
	for i := range n {
		l.add(uint64(n-i), "fault")
	}
	got := l.first()
	if l.total != n || len(got) != maxFaults || cap(l.kept) > 8*maxFaults {
		t.Fatalf("%d faults, %d kept in room for %d", l.total, len(got), cap(l.kept))
	}
	for i, f := range got {
		if f.line != uint64(i+1) {
			t.Fatalf("fault %d is in line %d", i, f.line)
		}
	}
}

// A hundred thousand names are told apart, and one of them twice is found.
func TestNameSet(t *testing.T) {
	s := newNameSet()
	const n = 100_000
	for i := range n {
		if before := s.add(fmt.Sprint("user", i), uint64(i+1)); before != 0 {
			t.Fatalf("user%d is taken for line %d", i, before)
		}
	}
	if before := s.add("user77", n+1); before != 78 {
		t.Errorf("user77 stood in line %d", before)
	}
}

// BenchmarkImportFile reads one line of 100,000 and more.
func BenchmarkImportFile(b *testing.B) {
	for format, text := range map[string]string{
		formatCSV:   "user@contoso.com,staff;vpn users,true\n",
		formatJSONL: `{"name":"user@contoso.com","groups":["staff","vpn users"],"enabled":true}` + "\n",
	} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			r := newImportReader(io.MultiReader(strings.NewReader("name,groups,enabled\n"), &repeated{text: text, left: math.MaxInt}), format)
			for b.Loop() {
				if e, err := r.read(); err != nil || e.line > 2 && len(e.faults) > 0 {
					b.Fatal(e.faults, err)
				}
			}
		})
	}
}
