package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An importRule says what the packages at and below a folder may import beside
// the standard library and their own folder. The rule of the longest folder
// counts. Entries are paths from the top of the module, or of other modules,
// and stand for everything below them too; one with a "=" in front stands for
// itself alone.
type importRule struct {
	dir string
	may []string

	// never holds for tests too. Else a test may import what it needs: a bridge
	// is tested on the real engine, a store with its conformance suite.
	never []string
}

var (
	protobuf = "google.golang.org/protobuf"
	grpc     = "google.golang.org/grpc"
	badger   = "github.com/dgraph-io"
	goPlugin = "github.com/hashicorp"

	// anything is every module of others.
	anything = "*"
)

// importRules is the table of who may import whom. Packages that the table of
// the design does not name have the narrowest row that lets them do their work.
func importRules() []importRule {
	heavy := []string{badger, grpc, goPlugin, "bridges", "plugins", "cmd", "core/config", "core/pluginhost"}
	words := []string{"=core", "core/proof", "core/secret", "core/session"} // what a bridge says to the engine
	notForBridges := []string{"core/config", "core/pluginhost", "cmd", badger, goPlugin}
	return []importRule{
		{"core", []string{"core/secret", "core/keyring", "core/proof", "=core/store", "=core/directory", "core/internal", "core/prefetch", "core/session",
			"golang.org/x/crypto", "golang.org/x/text", protobuf}, heavy},
		{"core/prefetch", nil, append(heavy, "core")},
		{"core/internal", []string{protobuf}, heavy},
		{"core/internal/table", []string{"core/prefetch"}, append(heavy, "=core", "core/store", "core/directory")},
		{"core/secret", []string{"golang.org/x/crypto", "golang.org/x/text"}, append(heavy, "=core", "core/store", "core/directory")},
		{"core/keyring", []string{"golang.org/x/crypto", "golang.org/x/sys"}, append(heavy, "=core", "core/store", "core/directory")},
		{"core/proof", []string{"golang.org/x/crypto", "core/secret"}, append(heavy, "=core", "core/store", "core/directory")},
		{"core/session", []string{"=core/store", "core/keyring", "core/internal", protobuf}, append(heavy, "=core", "core/directory")},
		{"core/audit", []string{"=core", "core/keyring", "golang.org/x/sys"}, heavy},
		{"core/backup", []string{"=core", "core/audit", "core/keyring", "=core/store", "core/internal", protobuf, "golang.org/x/sys"}, heavy},
		{"core/config", []string{"github.com/pelletier/go-toml"}, []string{"core", "bridges", "plugins", "cmd"}},
		{"core/pluginhost", []string{"core/store", "core/directory", "plugins/proto", "plugins/sdk", goPlugin, grpc, protobuf, "golang.org/x/sys"},
			[]string{"bridges", "cmd", "core/config", badger}},

		// A vendor who imports the contracts must not get our world.
		{"core/store", nil, append(heavy, "=core", "core/keyring", "core/directory", "core/internal")},
		{"core/store/internal", []string{"=core/store"}, append(heavy, "=core")},
		{"core/store/storetest", []string{"=core/store"}, append(heavy, "=core")},
		{"core/store/memstore", []string{"=core/store", "core/store/internal"}, append(heavy, "=core")},
		{"core/store/replica", []string{"=core/store", "core/store/internal"}, append(heavy, "=core")},
		{"core/store/badgerstore", []string{"=core/store", "core/store/internal", "core/internal/table", badger, "golang.org/x/sys"},
			[]string{"=core", "bridges", "plugins", "cmd", "core/config", "core/pluginhost", "core/keyring", "core/directory"}},
		{"core/directory", nil, append(heavy, "=core", "core/keyring", "core/store", "core/internal")},
		{"core/directory/directorytest", []string{"=core/directory"}, append(heavy, "=core")},
		// core/secret, to refuse a main password that is shaped like an app password.
		{"core/directory/local", []string{"=core/directory", "=core/store", "core/keyring", "core/secret", "core/internal", "golang.org/x/crypto", "golang.org/x/text", protobuf},
			append(heavy, "=core")},

		// A bridge knows the engine and its own protocol, and no other bridge.
		{"bridges/radius", append([]string{"layeh.com/radius", "golang.org/x/crypto", "golang.org/x/net", "golang.org/x/sys", "core/prefetch"}, words...),
			append(notForBridges, grpc, "plugins", "bridges/pam", "bridges/control", "bridges/web")},
		// What the bridges on unix sockets have in common.
		{"bridges/socket", []string{"golang.org/x/sys"}, append(notForBridges, "core", grpc, "plugins", "bridges/radius", "bridges/pam", "bridges/control", "bridges/web")},
		{"bridges/pam", append([]string{"bridges/socket", "golang.org/x/sys"}, words...),
			append(notForBridges, grpc, "plugins", "bridges/radius", "bridges/control", "bridges/web")},
		{"bridges/control", append([]string{"bridges/socket", "plugins/proto", grpc, protobuf}, words...),
			append(notForBridges, "plugins/sdk", "bridges/radius", "bridges/pam", "bridges/web")},
		{"bridges/web", append([]string{"golang.org/x/crypto"}, words...),
			append(notForBridges, grpc, "plugins", "bridges/radius", "bridges/pam", "bridges/control")},

		{"plugins", []string{"plugins/sdk", "core/store", "core/directory", anything}, []string{"=core", "core/keyring", "core/config", "core/pluginhost", "bridges", "cmd"}},
		{"plugins/proto", []string{grpc, protobuf}, []string{"core", "bridges", "cmd", "plugins/sdk", badger}},
		{"plugins/sdk", []string{"plugins/proto", "core/store", "core/directory", goPlugin, grpc, protobuf},
			[]string{"=core", "core/keyring", "core/config", "core/pluginhost", "bridges", "cmd", badger}},
		{"plugins/client", []string{"plugins/proto", goPlugin, grpc}, []string{"core", "bridges", "plugins/sdk", "cmd", badger}},
		{"plugins/webpage", []string{"plugins/client", "plugins/proto"}, []string{"core", "bridges", "plugins/sdk", "cmd", badger}},

		{"cmd/keywicket", []string{"core", "bridges", "plugins", anything}, nil},
		{"contrib/check", nil, []string{"core", "bridges", "plugins", "cmd"}},
	}
}

// below reports whether the entry of a rule stands for pkg, which is a path
// from the top of the module, or of another module.
func below(pkg, entry string) bool {
	if alone, ok := strings.CutPrefix(entry, "="); ok {
		return pkg == alone
	}
	return pkg == entry || strings.HasPrefix(pkg, entry+"/")
}

// ours returns the path from the top of the module, for a package of ours.
func ours(pkg string) (dir string, ok bool) {
	if pkg == module {
		return ".", true
	}
	return strings.CutPrefix(pkg, module+"/")
}

func isStandard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

// ruleFor returns the rule of the longest folder around dir.
func ruleFor(dir string) (found importRule, ok bool) {
	for _, r := range importRules() {
		if below(dir, r.dir) && (!ok || len(r.dir) > len(found.dir)) {
			found, ok = r, true
		}
	}
	return found, ok
}

// judge says what is wrong with an import, or nothing.
func (r importRule) judge(pkg string, test bool) string {
	dir, own := ours(pkg)
	switch {
	case isStandard(pkg) || own && below(dir, r.dir) && r.dir != "core" && !slices.Contains(r.never, "="+dir):
		return ""
	case own:
		pkg = dir
	}
	for _, entry := range r.never {
		if below(pkg, entry) {
			return fmt.Sprintf("%s never imports %s", r.dir, pkg)
		}
	}
	for _, entry := range r.may {
		if below(pkg, entry) || entry == anything && !own {
			return ""
		}
	}
	if test {
		return ""
	}
	return fmt.Sprintf("%s may not import %s; if it must, say so in importRules and in the design", r.dir, pkg)
}

// importsRule checks the import lines of every file, whatever its build tags.
func importsRule(t tree) (violations []string) {
	for _, name := range t.goFiles() {
		r, ok := ruleFor(path.Dir(name))
		if !ok {
			violations = append(violations, name+": the folder has no row in importRules")
			continue
		}
		for _, spec := range t.parse(token.NewFileSet(), name, parser.ImportsOnly).Imports {
			pkg, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			if wrong := r.judge(pkg, isTest(name)); wrong != "" {
				violations = append(violations, name+": "+wrong)
			}
		}
	}
	return violations
}

func importing(pkgs ...string) string {
	text := "package p\n"
	for _, pkg := range pkgs {
		text += fmt.Sprintf("import _ %q\n", pkg)
	}
	return text
}

func TestImports(t *testing.T) {
	tryRule(t, importsRule, []planted{
		{"good", tree{
			"core/a.go":                   importing("fmt", module+"/core/secret", module+"/core/store", module+"/core/internal/record", protobuf+"/proto"),
			"core/a_test.go":              importing(module+"/core/store/memstore", module+"/core/directory/local", "github.com/rogpeppe/go-internal/testscript"),
			"core/directory/local/a.go":   importing(module+"/core/internal/record", module+"/core/directory"),
			"core/store/badgerstore/a.go": importing(badger+"/badger/v4", module+"/core/store"),
			"bridges/radius/a.go":         importing(module+"/core", module+"/core/proof", module+"/bridges/radius/dictionary", "layeh.com/radius/rfc2865"),
			"bridges/radius/a_test.go":    importing(module+"/core/store/memstore", module+"/core/keyring"),
			"bridges/control/a.go":        importing(module+"/plugins/proto/controlpb", grpc),
			"plugins/pg/a.go":             importing(module+"/plugins/sdk", module+"/core/store", "github.com/jackc/pgx/v5"),
			"cmd/keywicket/a.go":          importing(module+"/core/config", module+"/bridges/radius", "github.com/spf13/cobra"),
			"core/config/a.go":            importing("github.com/pelletier/go-toml/v2/unstable"),
			"bridges/pam/testdata/a.go":   importing(module + "/bridges/radius"),
		}, 0},
		{"core", tree{"core/a.go": importing(badger+"/badger/v4", grpc, goPlugin+"/go-plugin", module+"/bridges/radius", module+"/core/store/badgerstore",
			module+"/core/config", "example.com/x")}, 7},
		{"core, in a test", tree{"core/a_test.go": importing(badger+"/badger/v4", grpc, module+"/bridges/radius", module+"/core/config")}, 4},
		{"contracts", tree{"core/store/a.go": importing(module+"/core/secret", "golang.org/x/text/cases"), "core/directory/a_test.go": importing(module + "/core")}, 3},
		{"contract to its parts", tree{"core/store/storetest/a.go": importing(module + "/core/store/memstore")}, 1},
		{"badger", tree{"core/store/badgerstore/a.go": importing(module+"/core", module+"/bridges/pam", protobuf+"/proto")}, 3},
		{"local", tree{"core/directory/local/a.go": importing(module + "/core")}, 1},
		{"session", tree{"core/session/a.go": importing(module+"/core", module+"/core/directory"), "core/session/a_test.go": importing(module + "/core")}, 3},
		{"record outside", tree{"core/audit/a.go": importing(module + "/core/internal/record")}, 1},
		{"bridges", tree{
			"bridges/radius/a.go":      importing(module+"/bridges/control", module+"/core/store", module+"/core/config", module+"/core/pluginhost", module+"/plugins/proto", grpc),
			"bridges/radius/a_test.go": importing(module+"/bridges/control", module+"/core/config"),
			"bridges/pam/a.go":         importing("layeh.com/radius", module+"/core/keyring"),
		}, 10},
		{"plugins", tree{"plugins/pg/a.go": importing(module+"/core", module+"/bridges/pam", module+"/core/pluginhost", module+"/core/secret"), "plugins/pg/a_test.go": importing(module + "/core")}, 5},
		{"client", tree{"plugins/client/a.go": importing(module+"/plugins/proto/controlv1", goPlugin+"/go-plugin", module+"/core/store", module+"/plugins/sdk/wire"),
			"plugins/client/a_test.go": importing(module + "/core"), "plugins/webpage/a.go": importing(module+"/plugins/client", module+"/core/directory")}, 4},
		{"config", tree{"core/config/a.go": importing(module+"/core", module+"/core/secret", "gopkg.in/yaml.v3")}, 3},
		{"no row", tree{"cmd/other/a.go": importing("fmt")}, 1},
	})
}

// TestImportRulesMatter checks that a row does not stand for a folder that
// another row above it already says the same of.
func TestImportRulesMatter(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range importRules() {
		if seen[r.dir] {
			t.Errorf("%s has two rows", r.dir)
		}
		seen[r.dir] = true
		for _, entry := range r.may {
			if slices.Contains(r.never, entry) {
				t.Errorf("%s may and never may import %s", r.dir, entry)
			}
		}
	}
}

// farRule says what a package never gets, however many imports away. It
// returns the violations of one package with its dependencies.
func farRule(pkg string, deps []string) (violations []string) {
	dir, ok := ours(pkg)
	if !ok {
		return nil
	}
	r, ok := ruleFor(dir)
	if !ok {
		return nil
	}
	contract := dir == "core/store" || dir == "core/directory"
	for _, dep := range deps {
		path, own := ours(dep)
		if !own {
			path = dep
		}
		if contract && !isStandard(dep) && dep != pkg {
			violations = append(violations, fmt.Sprintf("%s: gets %s, and a contract gets the standard library alone", dir, path))
			continue
		}
		for _, entry := range r.never {
			// Of our own packages the rule of each import line speaks; this one
			// is for what comes in behind them.
			if below(path, entry) && path != dir && (!own || strings.HasPrefix(entry, "bridges")) {
				violations = append(violations, fmt.Sprintf("%s: gets %s through its imports", dir, path))
			}
		}
	}
	return violations
}

func TestFarImports(t *testing.T) {
	for _, tt := range []struct {
		pkg, dep string
		want     int
	}{
		{"core", badger + "/badger/v4/y", 1}, {"core", grpc + "/codes", 1}, {"core", module + "/bridges/web", 1}, {"core", protobuf + "/proto", 0},
		{"core/store", "golang.org/x/sys/unix", 1}, {"core/store", "fmt", 0}, {"core/store/badgerstore", badger + "/badger/v4", 0},
		{"bridges/radius", goPlugin + "/go-plugin", 1}, {"cmd/keywicket", badger + "/badger/v4", 0},
	} {
		if got := farRule(module+"/"+tt.pkg, []string{tt.dep}); len(got) != tt.want {
			t.Errorf("planted %s with %s: %q, want %d", tt.pkg, tt.dep, got, tt.want)
		}
	}
	// -e, as a package that does not build is for the compiler to tell.
	out := json.NewDecoder(strings.NewReader(string(command(t, "go", "list", "-e", "-json=ImportPath,Deps", "./..."))))
	seen := 0
	for {
		var pkg struct {
			ImportPath string
			Deps       []string
		}
		err := out.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen++
		report(t, farRule(pkg.ImportPath, pkg.Deps))
	}
	if seen < 5 {
		t.Errorf("go list knows only %d packages", seen)
	}
}
