// Package hclx loads HCL configurations: one or more files or directories, decoded into a raw struct by its tags, with
// every mistake collected at its file, line and column.
//
// A raw struct has fields of type Attr for keys, and structs for blocks:
//
//	type rawServer struct {
//		// Where to listen.
//		Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:4180"`
//		Range   hclx.Range `hcl:",def_range"`
//	}
//
// The tag default stands in for a key that is not written; the tag type and the doc comment make the reference. A key
// without ",optional" is reported where it is missing, at the struct's def_range if it has one. Values are taken out with the Decoder's methods, which check them, report what is wrong and then return a zero value, so that
// a loader goes on to the end and Err returns all problems at once:
//
//	d := hclx.Decode(paths, &raw)
//	cfg := Config{Address: d.Address(raw.Address)}
//	return cfg, d.Err()
//
// Expressions may call env("NAME"), env("NAME", "default"), file("path"), format, join, split, lower, tonumber and trim.
package hclx

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Attr is a key and its value, not yet evaluated; nil where it was not written and has no default.
type Attr = *hcl.Attribute

// Range is a place in a file.
type Range = hcl.Range

// Body is the inside of a block, for blocks whose keys depend on their label: a field tagged `hcl:",remain"`, which is
// given to Decoder.Body.
type Body = hcl.Body

// Decoder evaluates one configuration and collects its problems. It is used by one goroutine.
type Decoder struct {
	files    map[string]*hcl.File
	order    []string // file names, as read
	ctx      *hcl.EvalContext
	problems []Problem
	loaded   bool
	doubled  []string // blocks that may be there once
}

// Decode reads the files and directories into raw, a pointer to a struct. It never fails: see Err.
func Decode(paths []string, raw any) *Decoder {
	parser := hclparse.NewParser()
	d := &Decoder{ctx: evalContext(os.LookupEnv)}
	sources := d.read(paths)
	var parsed []*hcl.File
	for _, s := range sources {
		if d.tooDeep(s) {
			continue
		}
		f, diags := parser.ParseHCL(s.text, s.name)
		d.files = parser.Files()
		d.diagnose(diags, nil)
		if f != nil {
			parsed = append(parsed, f)
		}
	}
	// What does not parse is missing keys and blocks, so checking on would report things that are there.
	if len(d.problems) > 0 {
		return d
	}
	d.loaded = true
	d.diagnose(gohcl.DecodeBody(merged(parsed), d.ctx, raw), raw)
	d.fill(reflect.ValueOf(raw).Elem())
	return d
}

// merged joins the files. A single one is left as it is, because it knows better where something is missing.
func merged(files []*hcl.File) hcl.Body {
	if len(files) == 1 {
		return files[0].Body
	}
	return hcl.MergeFiles(files)
}

// Body decodes the rest of a block into raw, a pointer to a struct.
func (d *Decoder) Body(body Body, raw any) {
	if body == nil {
		return
	}
	d.diagnose(gohcl.DecodeBody(body, d.ctx, raw), raw)
	d.fill(reflect.ValueOf(raw).Elem())
}

// Loaded reports whether all files could be read and parsed, so that it makes sense to check values: keys and blocks
// that are missing then are really missing.
func (d *Decoder) Loaded() bool { return d.loaded }

// Doubled reports whether a block that may be there once is there twice; then it was reported and not decoded.
func (d *Decoder) Doubled(block string) bool { return slices.Contains(d.doubled, block) }

// TopLevel returns the names of the keys and blocks that stand at the top of the files, to tell what kind of
// configuration they are. What cannot be read or parsed is left out; Decode reports it.
func TopLevel(paths []string) []string {
	var d Decoder
	var names []string
	for _, s := range d.read(paths) {
		if d.tooDeep(s) {
			continue
		}
		f, _ := hclparse.NewParser().ParseHCL(s.text, s.name)
		if f == nil {
			continue
		}
		body, ok := f.Body.(*hclsyntax.Body)
		if !ok {
			continue
		}
		for name := range body.Attributes {
			names = append(names, name)
		}
		for _, b := range body.Blocks {
			names = append(names, b.Type)
		}
	}
	slices.Sort(names)
	return names
}

// Whole is the place for what is missing from the configuration as a whole: its first file.
func (d *Decoder) Whole() Range {
	if len(d.order) == 0 {
		return Range{}
	}
	return Range{Filename: d.order[0]}
}

// Errorf reports a problem at a place. hint says what would be right, and may be empty.
func (d *Decoder) Errorf(at Range, hint, format string, a ...any) {
	d.add(at, fmt.Sprintf(format, a...), hint)
}

// Err returns an *Error with all problems in the order of the files, or nil.
func (d *Decoder) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return &Error{Problems: d.sorted(), Syntax: !d.loaded}
}

// At tells a place as people write it: file:line:column.
func At(r Range) string { return fmt.Sprintf("%s:%d:%d", r.Filename, r.Start.Line, r.Start.Column) }
