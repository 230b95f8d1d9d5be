package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the .want files of testdata/config/bad anew")

const testdata = "../../testdata/config"

// files returns what a pattern finds. Nothing found is a failure: a test of no
// files passes for the wrong reason.
func files(tb testing.TB, pattern string) []string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(testdata, pattern))
	if err != nil {
		tb.Fatal(err)
	}
	if len(found) == 0 {
		tb.Fatalf("%s: no such files", pattern)
	}
	return found
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestBad(t *testing.T) {
	for _, path := range files(t, "bad/*.toml") {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			// Only the name, so that a .want file is the same everywhere.
			file, err := Parse(name, read(t, path))
			if err == nil {
				t.Fatalf("Parse = %v, want faults", file)
			}
			checkFaults(t, err, name)
			got := err.Error() + "\n"
			want := strings.TrimSuffix(path, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(read(t, want)) {
				t.Errorf("faults differ from %s; go test ./core/config -update writes it anew. Got:\n%s", want, got)
			}
		})
	}
	if wants, bads := len(files(t, "bad/*.want")), len(files(t, "bad/*.toml")); wants != bads {
		t.Errorf("%d .want files for %d configurations", wants, bads)
	}
}

// checkFaults checks what holds for every error of Parse.
func checkFaults(tb testing.TB, err error, name string) {
	tb.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		tb.Fatalf("the error is %T with %d faults, want at least one", err, len(faults))
	}
	line := 1
	for _, f := range faults {
		if f.Line < line || f.File != name || f.Text == "" {
			tb.Errorf("fault %+v after line %d", f, line)
		}
		line = f.Line
	}
	text := err.Error()
	if n := strings.Count(text, "\n") + 1; n != len(faults) {
		tb.Errorf("%d lines for %d faults", n, len(faults))
	}
	if strings.Contains(text, "planted") {
		tb.Errorf("a secret is shown: %s", text)
	}
}

func TestGood(t *testing.T) {
	for _, path := range files(t, "good/*.toml") {
		if _, err := Parse(path, read(t, path)); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// FuzzParse checks that no text panics, that every error has a fault with a
// line, and that what parses once parses again to the same configuration.
func FuzzParse(f *testing.F) {
	for _, path := range append(files(f, "good/*.toml"), files(f, "bad/*.toml")...) {
		f.Add(read(f, path))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := Parse("fuzz.toml", text)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("%T %v is no list of faults", err, err)
			}
			lines := strings.Count(string(text), "\n") + 1
			for _, fault := range faults {
				if fault.Line < 1 || fault.Line > lines || strings.Contains(fault.Text, "\n") {
					t.Fatalf("fault %+v in a text of %d lines", fault, lines)
				}
			}
			return
		}
		second, err := Parse("fuzz.toml", text)
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if a, b := dump(t, first), dump(t, second); a != b {
			t.Fatalf("%s\nand the second time\n%s", a, b)
		}
	})
}
