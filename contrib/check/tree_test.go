package check

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keywicket/keywicket"

// A tree is sources by their slash-separated path from the top.
type tree map[string]string

// A rule returns what is wrong, each beginning with the path of a file.
type rule func(tree) []string

// root returns the top of the checkout.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// command returns what a program prints at the top of the checkout.
func command(tb testing.TB, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root(tb)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// readTree reads what is in git or could be added to it.
func readTree(tb testing.TB) tree {
	tb.Helper()
	all := tree{}
	list := command(tb, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root(tb), name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed as that
		}
		if err != nil {
			tb.Fatal(err)
		}
		all[name] = string(text)
	}
	if len(all) < 20 {
		tb.Fatalf("git lists only %d files", len(all))
	}
	return all
}

// paths returns the paths of t in order.
func (t tree) paths() []string {
	var all []string
	for name := range t {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// goFiles returns the paths of the Go files that the go command builds or tests.
func (t tree) goFiles() []string {
	return slices.DeleteFunc(t.paths(), func(name string) bool {
		return !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(name, "/"), "testdata")
	})
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// parse parses a file. Its broken code is for the compiler to tell.
func (t tree) parse(fset *token.FileSet, name string, mode parser.Mode) *ast.File {
	file, _ := parser.ParseFile(fset, name, t[name], mode|parser.SkipObjectResolution)
	if file == nil {
		return &ast.File{Name: &ast.Ident{}}
	}
	return file
}

func (t tree) isGenerated(name string) bool {
	return ast.IsGenerated(t.parse(token.NewFileSet(), name, parser.ParseComments|parser.PackageClauseOnly))
}

// packages returns the folders that have Go files other than tests.
func (t tree) packages() []string {
	var all []string
	for _, name := range t.goFiles() {
		if dir := path.Dir(name); !isTest(name) && !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all
}

// report makes every violation a failure.
func report(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Error(v)
	}
}

// A planted tree has as many violations as it says, and no more.
type planted struct {
	name  string
	files tree
	want  int
}

// tryRule tries a rule on planted trees and then on the real one.
func tryRule(t *testing.T, r rule, tries []planted) {
	t.Helper()
	found := 0
	for _, p := range tries {
		got := r(p.files)
		found += len(got)
		if len(got) != p.want {
			t.Errorf("planted %s: %d violations %q, want %d", p.name, len(got), got, p.want)
		}
	}
	if found == 0 {
		t.Error("no violation was planted, so nobody knows whether the rule finds one")
	}
	report(t, r(readTree(t)))
}
