package check

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"testing"
)

// changes returns where p changes a package variable: assigns to it, to a field
// or item of it, counts it up or down, or takes its address.
func (p typed) changes() (violations []string) {
	for _, file := range p.files {
		if ast.IsGenerated(file) {
			continue
		}
		found := func(expr ast.Expr) {
			if name := p.packageVariable(expr); name != "" {
				at := p.fset.Position(expr.Pos())
				violations = append(violations, fmt.Sprintf("%s:%d: the package variable %s changes; keep it in a value that somebody owns",
					path.Join(p.dir, filepath.Base(at.Filename)), at.Line, name))
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.AssignStmt:
				for _, left := range node.Lhs {
					found(left)
				}
			case *ast.IncDecStmt:
				found(node.X)
			case *ast.UnaryExpr:
				if node.Op == token.AND {
					found(node.X)
				}
			}
			return true
		})
	}
	return violations
}

// packageVariable returns the name of the package variable that an expression
// is, or is a part of.
func (p typed) packageVariable(expr ast.Expr) string {
	switch expr := ast.Unparen(expr).(type) {
	case *ast.Ident:
		if v, ok := p.info.Uses[expr].(*types.Var); ok && !v.IsField() && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
			return v.Name()
		}
	case *ast.SelectorExpr:
		if name := p.packageVariable(expr.X); name != "" {
			return name
		}
		return p.packageVariable(expr.Sel)
	case *ast.IndexExpr:
		return p.packageVariable(expr.X)
	case *ast.StarExpr:
		return p.packageVariable(expr.X)
	}
	return ""
}

const plantedChanges = `package planted

import "errors"

var count int
var table = map[string]int{}
var list [3]int
var pair struct{ a, b int }
var errFixed = errors.New("fixed")

func f() (n int, err error) {
	count = 1 // bad
	count++ // bad
	table["x"] = 1 // bad
	list[0], n = 1, 2 // bad
	pair.a = 1 // bad
	p := &pair // bad
	p.a = 2
	n = count + table["x"] + list[0]
	count := 3
	count++
	return n + count, errFixed
}
`

func TestPackageVariables(t *testing.T) {
	own, l := listPackages(t)
	tryLines(t, l, plantedChanges, typed.changes)
	for _, pkg := range own {
		if p, ok := l.loadOwn(t, pkg); ok {
			report(t, p.changes())
		}
	}
}
