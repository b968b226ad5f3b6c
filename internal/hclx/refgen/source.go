package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// source finds struct types in the packages that configurations are made of.
type source struct {
	structs map[string]*structType // by package.name
}

type structType struct {
	pkg   string
	doc   string
	kinds []kind
	ast   *ast.StructType
}

// kind is what a comment //argosy:kind LABEL TYPE says: blocks with that label have the keys of that type.
type kind struct{ label, typ string }

func load(root string, packages map[string]string) (*source, error) {
	s := &source{structs: map[string]*structType{}}
	for pkg, dir := range packages {
		names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			s.add(pkg, file)
		}
	}
	return s, nil
}

func (s *source) add(pkg string, file *ast.File) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			spec := spec.(*ast.TypeSpec)
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			doc := gen.Doc
			if spec.Doc != nil {
				doc = spec.Doc
			}
			t := &structType{pkg: pkg, doc: sentence(doc.Text(), spec.Name.Name), ast: body}
			if doc != nil {
				for _, c := range doc.List {
					if f := strings.Fields(c.Text); len(f) == 3 && f[0] == "//argosy:kind" {
						t.kinds = append(t.kinds, kind{f[1], f[2]})
					}
				}
			}
			s.structs[pkg+"."+spec.Name.Name] = t
		}
	}
}

// sentence makes a Go comment on a type, which starts with its name, into sentences about the block: "rawX serves y"
// becomes "Serves y".
func sentence(doc, name string) string {
	doc = oneLine(doc)
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return doc
	}
	// "is the block of ..." says what the field's comment has said already.
	if strings.HasPrefix(rest, "is ") || strings.HasPrefix(rest, "has the keys of its kind.") {
		_, rest, _ = strings.Cut(rest, ". ")
	}
	if rest == "" {
		return ""
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// field is one field with an hcl tag.
type field struct {
	name, use string // the two parts of the hcl tag
	typ       string // tag type
	fallback  string // tag default
	hasDef    bool
	required  bool
	doc       string
	repeated  bool
	target    string // package.name of a block's struct
}

func (s *source) fields(t *structType) ([]field, error) {
	var out []field
	for _, f := range t.ast.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		text, ok := tag.Lookup("hcl")
		if !ok {
			continue
		}
		name, use, _ := strings.Cut(text, ",")
		x := field{name: name, use: use, typ: tag.Get("type"), doc: oneLine(f.Doc.Text())}
		x.fallback, x.hasDef = tag.Lookup("default")
		x.required = tag.Get("required") == "true" || strings.HasSuffix(x.doc, "Required.") || use == ""
		x.doc = strings.TrimSpace(strings.TrimSuffix(x.doc, "Required."))
		if use == "block" {
			if x.target, x.repeated, ok = target(t.pkg, f.Type); !ok {
				return nil, fmt.Errorf("block %q of package %s is no struct", name, t.pkg)
			}
		}
		if (use == "optional" || use == "" || use == "block") && x.doc == "" {
			return nil, fmt.Errorf("%q of package %s has no comment", name, t.pkg)
		}
		if (use == "optional" || use == "") && x.typ == "" {
			return nil, fmt.Errorf("%q of package %s has no type tag", name, t.pkg)
		}
		out = append(out, x)
	}
	return out, nil
}

// target names the struct type of a field.
func target(pkg string, e ast.Expr) (name string, repeated, ok bool) {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ArrayType:
			e, repeated = x.Elt, true
		case *ast.Ident:
			return pkg + "." + x.Name, repeated, true
		case *ast.SelectorExpr:
			p, isName := x.X.(*ast.Ident)
			return fmt.Sprint(p) + "." + x.Sel.Name, repeated, isName
		default:
			return "", false, false
		}
	}
}
