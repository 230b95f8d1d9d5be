package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// secretDirs are the packages through which passwords, tags, keys or
// authenticators pass. Folders below them count too.
func secretDirs() []string {
	return []string{"=core", "core/secret", "core/keyring", "core/proof", "core/directory/local", "core/audit", "bridges"}
}

// publicTypes are named octets that are no secrets, and why.
func publicTypes() map[string]string {
	return map[string]string{
		"core/keyring.KeyID":           "names a key, in every record in clear text",
		"bridges/radius.authenticator": "a Request Authenticator, sent in clear text; what is computed has another type",
		"planted.label":                "for the test of the rule",
	}
}

// excuse is the comment that lets a comparison stand, on its line or on the one
// above. It says that the bytes are public, and after a colon why.
const excuse = "not a secret:"

// A typed package is what the compiler knows of one, without its tests.
type typed struct {
	dir   string
	fset  *token.FileSet
	files []*ast.File
	pkg   *types.Package
	info  *types.Info
}

// comparisons returns where p compares octets in a time that depends on them:
// a call of bytes.Equal and its like, or == between byte arrays or between
// strings that are made of octets. crypto/subtle and hmac.Equal are what to use.
func (p typed) comparisons() (violations []string) {
	for _, file := range p.files {
		excused := p.excused(file)
		found := func(node ast.Node, what string) {
			at := p.fset.Position(node.Pos())
			if !excused[at.Line] {
				violations = append(violations, fmt.Sprintf("%s/%s:%d: %s takes a time that depends on the octets; use crypto/subtle, or say %q and why",
					p.dir, filepath.Base(at.Filename), at.Line, what, excuse))
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				if name := p.forbidden(node); name != "" {
					found(node, name)
				}
			case *ast.BinaryExpr:
				if (node.Op == token.EQL || node.Op == token.NEQ) && p.octets(node.X) && p.octets(node.Y) {
					found(node, node.Op.String())
				}
			case *ast.SwitchStmt:
				if node.Tag != nil && p.octets(node.Tag) {
					found(node, "switch")
				}
			}
			return true
		})
	}
	return violations
}

// excused returns the lines that a comment excuses.
func (p typed) excused(file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		if strings.Contains(group.Text(), excuse) {
			for line := p.fset.Position(group.Pos()).Line; line <= p.fset.Position(group.End()).Line+1; line++ {
				lines[line] = true
			}
		}
	}
	return lines
}

// forbidden returns the name of a called function that compares octets.
func (p typed) forbidden(call *ast.CallExpr) string {
	fun := ast.Unparen(call.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok { // slices.Equal[[]byte]
		fun = index.X
	}
	selector, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	f, ok := p.info.Uses[selector.Sel].(*types.Func)
	if !ok || f.Pkg() == nil {
		return ""
	}
	name := f.Pkg().Path() + "." + f.Name()
	switch name {
	case "bytes.Equal", "bytes.Compare", "bytes.EqualFold", "reflect.DeepEqual":
		return name
	case "slices.Equal", "slices.Compare":
		if p.octets(call.Args[0]) {
			return name
		}
	case "slices.Contains", "slices.Index":
		if len(call.Args) > 1 && p.octets(call.Args[1]) {
			return name
		}
	}
	return ""
}

// octets reports whether the value of an expression is made of bytes: a slice
// or an array of them, or a string that is made from one on the spot. A
// constant is none: nobody hides what stands in the source.
func (p typed) octets(expr ast.Expr) bool {
	value := p.info.Types[expr]
	if value.Type == nil || value.IsNil() || value.Value != nil && value.Value.Kind() != constant.Unknown {
		return false
	}
	if call, ok := ast.Unparen(expr).(*ast.CallExpr); ok && len(call.Args) == 1 && p.info.Types[call.Fun].IsType() {
		if basic, ok := value.Type.Underlying().(*types.Basic); ok && basic.Info()&types.IsString != 0 {
			return p.octets(call.Args[0])
		}
	}
	if named, ok := types.Unalias(value.Type).(*types.Named); ok && named.Obj().Pkg() != nil {
		if dir, ok := ours(named.Obj().Pkg().Path()); ok && publicTypes()[dir+"."+named.Obj().Name()] != "" {
			return false
		}
	}
	var elem types.Type
	switch t := value.Type.Underlying().(type) {
	case *types.Slice:
		elem = t.Elem()
	case *types.Array:
		elem = t.Elem()
	default:
		return false
	}
	basic, ok := elem.Underlying().(*types.Basic)
	return ok && basic.Kind() == types.Uint8
}

// A loader makes typed packages from sources and from what the go command has
// compiled of their imports.
type loader struct {
	exports map[string]string // import path to the file with its types
	fset    *token.FileSet
}

func (l loader) load(dir string, names []string, sources []string) (typed, error) {
	p := typed{dir: dir, fset: l.fset, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
	}}
	for i, name := range names {
		file, err := parser.ParseFile(l.fset, name, sources[i], parser.ParseComments)
		if err != nil {
			return p, err
		}
		p.files = append(p.files, file)
	}
	lookup := func(pkg string) (io.ReadCloser, error) {
		file := l.exports[pkg]
		if file == "" {
			return nil, fmt.Errorf("%s is not compiled", pkg)
		}
		return os.Open(file)
	}
	config := types.Config{Importer: importer.ForCompiler(l.fset, "gc", lookup)}
	var err error
	p.pkg, err = config.Check(module+"/"+dir, l.fset, p.files, p.info)
	return p, err
}

// A listed package is what go list says of one.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Standard                bool
}

// listPackages asks the go command for every package of ours and what they
// import, compiled.
func listPackages(t *testing.T) (own []listed, l loader) {
	t.Helper()
	l = loader{exports: map[string]string{}, fset: token.NewFileSet()}
	out := json.NewDecoder(strings.NewReader(string(command(t, "go", "list", "-e", "-export", "-deps",
		"-json=ImportPath,Dir,Export,GoFiles,Standard", "./...", "bytes", "reflect", "slices"))))
	for {
		var pkg listed
		err := out.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return own, l
		}
		if err != nil {
			t.Fatal(err)
		}
		l.exports[pkg.ImportPath] = pkg.Export
		if _, ok := ours(pkg.ImportPath); ok {
			own = append(own, pkg)
		}
	}
}

// loadOwn loads a package of ours. One that does not build is for the compiler
// to tell, but then its rules are not checked, so it is a failure here too.
func (l loader) loadOwn(t *testing.T, pkg listed) (typed, bool) {
	t.Helper()
	dir, _ := ours(pkg.ImportPath)
	var sources []string
	for _, name := range pkg.GoFiles {
		text, err := os.ReadFile(filepath.Join(pkg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(text))
	}
	p, err := l.load(dir, pkg.GoFiles, sources)
	if err != nil {
		t.Errorf("%s does not build, so it was not checked: %v", dir, err)
		return p, false
	}
	return p, true
}

// tryLines checks that a judgement finds exactly the planted lines that end
// with "// bad".
func tryLines(t *testing.T, l loader, source string, judge func(typed) []string) {
	t.Helper()
	p, err := l.load("planted", []string{"planted.go"}, []string{source})
	if err != nil {
		t.Fatal(err)
	}
	got := judge(p)
	want := 0
	for i, line := range strings.Split(source, "\n") {
		prefix := fmt.Sprintf("planted/planted.go:%d: ", i+1)
		found := slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, prefix) })
		bad := strings.HasSuffix(line, "// bad")
		if bad {
			want++
		}
		if found != bad {
			t.Errorf("planted line %d, %q: found %v, want %v", i+1, strings.TrimSpace(line), found, bad)
		}
	}
	if want == 0 || len(got) != want {
		t.Errorf("%d violations for %d planted lines: %q", len(got), want, got)
	}
}

const plantedComparisons = `package planted

import (
	"bytes"
	"reflect"
	"slices"
)

type tag [16]byte
type tags []tag
type label [16]byte

func f(a, b []byte, x, y tag, m, n label, s string, all tags, r, q [16]rune) []bool {
	equal := bytes.Equal // a value, not a call; whoever calls it is seen below only by its name
	_ = equal
	switch x { // bad
	}
	switch s {
	case "x":
	}
	return []bool{
		bytes.Equal(a, b), // bad
		bytes.Compare(a, b) == 0, // bad
		bytes.EqualFold(a, b), // bad
		reflect.DeepEqual(x, y), // bad
		slices.Equal(a, b), // bad
		slices.Equal[[]byte](a, b), // bad
		slices.Contains(all, x), // bad
		x == y, // bad
		x == tag(m), // bad
		m == n,
		x != (tag{}), // bad
		string(a) == string(b), // bad
		string(a) != string(x[:]), // bad
		bytes.Equal(a, b), // not a secret: a test
		// not a secret: a test
		bytes.Equal(a, b),
		bytes.HasPrefix(a, b),
		string(a) == "constant",
		s == "x",
		a == nil,
		a[0] == b[0],
		len(a) == len(b),
		r == q,
		slices.Equal([]string{s}, nil),
		slices.Contains([]string{s}, s),
	}
}
`

// TestS15Comparisons is the lint of threat S15.
func TestS15Comparisons(t *testing.T) {
	own, l := listPackages(t)
	tryLines(t, l, plantedComparisons, typed.comparisons)
	checked := 0
	for _, pkg := range own {
		dir, _ := ours(pkg.ImportPath)
		if !slices.ContainsFunc(secretDirs(), func(entry string) bool { return below(dir, entry) }) {
			continue
		}
		if p, ok := l.loadOwn(t, pkg); ok {
			checked++
			report(t, p.comparisons())
		}
	}
	if checked < 4 {
		t.Errorf("only %d packages were checked", checked)
	}
}
