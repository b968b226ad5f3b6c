package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const longestFile = 500 // lines; a longer one holds two things

func TestHabits(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if generated(t, path, src) {
				continue
			}
			if n := strings.Count(string(src), "\n"); n > longestFile {
				t.Errorf("%s/%s has %d lines, more than %d: it holds two things", p.ImportPath, name, n, longestFile)
			}
			checkSyntax(t, p, path, src)
		}
	}
}

// generated reports whether a program has written the file, and not we.
func generated(t *testing.T, path string, src []byte) bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return ast.IsGenerated(file)
}

// checkSyntax finds init functions, and os.Exit outside of commands.
func checkSyntax(t *testing.T, p listed, path string, src []byte) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				t.Errorf("%s: an init function", files.Position(n.Pos()))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "os" && n.Sel.Name == "Exit" && p.Name != "main" {
				t.Errorf("%s: os.Exit outside of a command", files.Position(n.Pos()))
			}
		}
		return true
	})
}

// A metric has one meaning, or sums over a fleet add up what does not belong together; and the documentation has it.
func TestMetrics(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(text)
	}
	seen := map[string]token.Position{}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				metric := metricName(n)
				if metric == "" {
					return true
				}
				at := files.Position(n.Pos())
				if first, again := seen[metric]; again {
					t.Errorf("%s: %s is also the metric at %s", at, metric, first)
				}
				seen[metric] = at
				if !strings.Contains(docs.String(), "`"+metric) {
					t.Errorf("%s: %s stands nowhere in docs/", at, metric)
				}
				return true
			})
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d metrics were found", len(seen))
	}
}

// metricName is the name where options of a metric are written, with the field Name.
func metricName(n ast.Node) string {
	kv, ok := n.(*ast.KeyValueExpr)
	if !ok {
		return ""
	}
	key, isName := kv.Key.(*ast.Ident)
	text, isText := kv.Value.(*ast.BasicLit)
	if !isName || !isText || key.Name != "Name" || text.Kind != token.STRING {
		return ""
	}
	name, err := strconv.Unquote(text.Value)
	if err != nil || !strings.HasPrefix(name, "argosy_") {
		return ""
	}
	return name
}
