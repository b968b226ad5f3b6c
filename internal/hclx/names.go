package hclx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"argosy/dtab"
)

// Path takes a name such as /svc/redis.
func (d *Decoder) Path(a Attr) dtab.Path {
	if a == nil {
		return nil
	}
	s, ok := d.text(a.Name, a.Expr)
	if !ok {
		return nil
	}
	p, err := dtab.ParsePath(s)
	if err != nil {
		d.syntax(a.Expr, a.Name+" is no path", pathHint(s, "/svc/redis"), err)
		return nil
	}
	return p
}

// Prefix takes a prefix, a path whose elements may be *. what says whose it is.
func (d *Decoder) Prefix(what string, t Text) dtab.Prefix {
	p, err := dtab.ParsePrefix(t.Value)
	if err == nil {
		return p
	}
	at := t.Range
	var syntax *dtab.SyntaxError
	if errors.As(err, &syntax) {
		at = inside(d.files[at.Filename], at, syntax.Offset)
		err = expected(syntax)
	}
	d.Errorf(at, pathHint(t.Value, "/svc/redis"), "%s is no prefix: %v", what, err)
	return nil
}

func pathHint(s, example string) string {
	switch {
	case s == "":
		return fmt.Sprintf("write a path such as %q", example)
	case !strings.HasPrefix(s, "/"):
		return fmt.Sprintf("paths start with a slash: %q", "/"+s)
	case len(s) > 1 && strings.HasSuffix(s, "/"):
		return fmt.Sprintf("paths do not end in a slash: %q", strings.TrimRight(s, "/"))
	}
	return `an element has letters, digits and _ : . # $ % -, or other bytes as \xhh`
}

// Dtab takes a table as text; mistakes in it are shown at their own line.
func (d *Decoder) Dtab(a Attr) dtab.Dtab {
	if a == nil {
		return nil
	}
	s, ok := d.text(a.Name, a.Expr)
	if !ok {
		return nil
	}
	t, err := dtab.Parse(s)
	if err != nil {
		d.syntax(a.Expr, a.Name+" is no dtab", dtabHint, err)
		return nil
	}
	return t
}

// DtabFile takes the name of a file that holds a table; mistakes are shown in that file.
func (d *Decoder) DtabFile(a Attr) dtab.Dtab {
	path := d.Readable(a)
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		d.Errorf(Place(a), "", "%s cannot be read: %v", a.Name, err)
		return nil
	}
	t, err := dtab.Parse(string(text))
	if err == nil {
		return t
	}
	d.dtabText(path, text, Place(a), err)
	return nil
}

// dtabText reports a mistake in a text that is a table as a whole.
func (d *Decoder) dtabText(name string, text []byte, at Range, err error) {
	var syntax *dtab.SyntaxError
	if errors.As(err, &syntax) {
		d.addSource(name, text)
		pos := hcl.Pos{Line: syntax.Line(), Column: syntax.Column(), Byte: syntax.Offset}
		at = Range{Filename: name, Start: pos, End: next(pos)}
		err = expected(syntax)
	}
	d.Errorf(at, dtabHint, "no dtab: %v", err)
}

const dtabHint = "write entries such as /svc => /#/io.l5d.consul/dc1, with ; between them"

// ParseDtab reads a table that stands alone, outside of any configuration. name is its file, or what to call it in the
// error, which shows the place as in a configuration.
func ParseDtab(name, text string) (dtab.Dtab, error) {
	table, err := dtab.Parse(text)
	if err == nil {
		return table, nil
	}
	var d Decoder
	d.dtabText(name, []byte(text), Range{Filename: name}, err)
	return nil, d.Err()
}

// addSource lets problems show lines of a file that is not HCL.
func (d *Decoder) addSource(name string, text []byte) {
	if d.files == nil {
		d.files = map[string]*hcl.File{}
	}
	if d.files[name] == nil {
		d.files[name] = &hcl.File{Bytes: text}
		d.order = append(d.order, name)
	}
}

// expected says what a syntax error is about. The text itself is left out: its line is shown anyway, and a table can be
// long.
func expected(e *dtab.SyntaxError) error {
	return fmt.Errorf("%s expected but %s found", e.Expected, e.Found)
}

func (d *Decoder) syntax(e hcl.Expression, what, hint string, err error) {
	at := e.Range()
	var syntax *dtab.SyntaxError
	if errors.As(err, &syntax) {
		err = expected(syntax)
		at = d.within(e, syntax)
	}
	d.Errorf(at, hint, "%s: %v", what, err)
}

// within finds the place in the file of an offset into the value of e: exactly where e is a plain string or a heredoc,
// else all of e.
func (d *Decoder) within(e hcl.Expression, at *dtab.SyntaxError) Range {
	f := d.files[e.Range().Filename]
	if f == nil {
		return e.Range()
	}
	var parts []hclsyntax.Expression
	switch e := e.(type) {
	case *hclsyntax.TemplateExpr:
		parts = e.Parts
	case *hclsyntax.LiteralValueExpr:
		parts = []hclsyntax.Expression{e}
	}
	if len(parts) != 1 {
		return e.Range()
	}
	lit, ok := parts[0].(*hclsyntax.LiteralValueExpr)
	if !ok {
		return e.Range()
	}
	// A heredoc may strip indentation, so each line of the value is the end of its line in the file.
	src := strings.Split(string(lit.SrcRange.SliceBytes(f.Bytes)), "\n")
	text := strings.Split(at.Input, "\n")
	n := at.Line() - 1
	if len(src) != len(text) || !strings.HasSuffix(src[n], text[n]) {
		return e.Range()
	}
	offset := len(src[n]) - len(text[n]) + at.Offset - len(strings.Join(text[:n], "\n"))
	if n == 0 {
		return inside(f, lit.SrcRange, offset)
	}
	return inside(f, lit.SrcRange, len(strings.Join(src[:n], "\n"))+offset)
}

// inside is the place of the byte at an offset from the start of r.
func inside(f *hcl.File, r Range, offset int) Range {
	if f == nil {
		return r
	}
	src := r.SliceBytes(f.Bytes)
	if len(src) > 0 && src[0] == '"' && r.End.Line == r.Start.Line {
		offset++ // the quote is in the range, and not in the value
	}
	if offset > len(src) {
		return r
	}
	before := src[:offset]
	pos := hcl.Pos{Line: r.Start.Line + bytes.Count(before, []byte("\n")), Byte: r.Start.Byte + offset}
	if nl := bytes.LastIndexByte(before, '\n'); nl >= 0 {
		pos.Column = utf8.RuneCount(before[nl+1:]) + 1
	} else {
		pos.Column = r.Start.Column + utf8.RuneCount(before)
	}
	return Range{Filename: r.Filename, Start: pos, End: next(pos)}
}

func next(p hcl.Pos) hcl.Pos { return hcl.Pos{Line: p.Line, Column: p.Column + 1, Byte: p.Byte + 1} }
