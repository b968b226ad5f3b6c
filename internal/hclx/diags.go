package hclx

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

var (
	quoted = regexp.MustCompile(`"([^"]*)"`)
	place  = regexp.MustCompile(`(\S+):(\d+),(\d+)-`)
)

// first takes the place out of a detail that tells where something was defined before.
func first(detail string) string {
	if m := place.FindStringSubmatch(detail); m != nil {
		return fmt.Sprintf("%s:%s:%s", m[1], m[2], m[3])
	}
	return detail
}

// diagnose turns HCL's diagnostics into problems in our own words. raw is what was decoded into: it knows which keys
// there are.
func (d *Decoder) diagnose(diags hcl.Diagnostics, raw any) {
	for _, g := range diags {
		if g.Severity != hcl.DiagError {
			continue
		}
		at := Range{}
		if g.Subject != nil {
			at = *g.Subject
		}
		message, hint := d.words(g, at, raw)
		d.add(at, message, hint)
	}
}

func (d *Decoder) words(g *hcl.Diagnostic, at Range, raw any) (message, hint string) {
	name := ""
	if m := quoted.FindStringSubmatch(g.Detail); m != nil {
		name = m[1]
	}
	switch g.Summary {
	case "Unsupported argument", "Unsupported block type":
		return d.unknown(at, name, g.Summary == "Unsupported block type", raw)
	case "Attribute redefined", "Duplicate argument":
		return fmt.Sprintf("%s is set twice", name), "the first is at " + first(g.Detail)
	case "Argument definition required":
		if m := quoted.FindStringSubmatch(g.Detail); m != nil && strings.HasPrefix(g.Detail, "A single-line block") {
			return "a block inside another needs lines of its own", fmt.Sprintf("put %s { ... } on a new line", name)
		}
	case "Variables not allowed":
		return "there are no variables", "text goes in quotes; the environment is read with env(\"NAME\")"
	case "Call to unknown function":
		return fmt.Sprintf("unknown function %q", name), "the functions are " + functionNames
	case "Invalid function argument":
		if _, why, ok := strings.Cut(g.Detail, "parameter: "); ok {
			why = strings.TrimSuffix(why, ".")
			message, hint, _ = strings.Cut(why, "; ")
			return message, hint
		}
	}
	if strings.HasPrefix(g.Summary, "Duplicate ") && strings.HasSuffix(g.Summary, " block") {
		block := strings.TrimSuffix(strings.TrimPrefix(g.Summary, "Duplicate "), " block")
		d.doubled = append(d.doubled, block)
		return fmt.Sprintf("second %s block", block),
			"only one is allowed; the first is at " + first(g.Detail)
	}
	return lowerFirst(g.Summary), g.Detail
}

// unknown words a key or block that does not exist.
func (d *Decoder) unknown(at Range, name string, isBlock bool, raw any) (message, hint string) {
	kind := "key"
	if isBlock {
		kind = "block"
	}
	where, keys, blocks, inside := d.allowedAt(at, name, raw)
	message = fmt.Sprintf("unknown %s %q%s", kind, name, where)
	switch {
	case isBlock && slices.Contains(keys, name):
		return message, fmt.Sprintf("%s is a key: write %s = ...", name, name)
	case !isBlock && slices.Contains(blocks, name):
		return message, fmt.Sprintf("%s is a block: write %s { ... }", name, name)
	case !isBlock && len(inside) > 0:
		return message, fmt.Sprintf("it is a key of the block %s { ... }", strings.Join(inside, ", or of "))
	}
	closest, best := math.MaxInt, ""
	for _, known := range slices.Concat(keys, blocks) {
		if d := levenshtein.Distance(name, known, nil); d < closest {
			closest, best = d, known
		}
	}
	if best != "" && closest <= min((len(best)+1)/2, 3) {
		return message, fmt.Sprintf("did you mean %q?", best)
	}
	var parts []string
	if len(keys) > 0 {
		parts = append(parts, "keys here: "+strings.Join(keys, ", "))
	}
	if len(blocks) > 0 {
		parts = append(parts, "blocks here: "+strings.Join(blocks, ", "))
	}
	return message, strings.Join(parts, "; ")
}

// allowedAt finds the keys and blocks that may stand at a place, and those of the blocks in which name is a key.
func (d *Decoder) allowedAt(at Range, name string, raw any) (where string, keys, blocks, inside []string) {
	f := d.files[at.Filename]
	if raw == nil || f == nil {
		return "", nil, nil, nil
	}
	around := f.BlocksAtPos(at.Start)
	if n := len(around); n > 0 && around[n-1].TypeRange.Start == at.Start {
		around = around[:n-1] // the unknown block itself
	}
	if n := len(around); n > 0 {
		where = " in " + strings.Join(append([]string{around[n-1].Type}, quoteAll(around[n-1].Labels)...), " ")
	}
	// raw may be the struct of the file or, through Body, that of a block somewhere in it.
	for from := range len(around) + 1 {
		t := reflect.TypeOf(raw).Elem()
		for _, b := range around[from:] {
			if t = blockType(t, b.Type); t == nil {
				break
			}
		}
		if t == nil {
			continue
		}
		schema, _ := gohcl.ImpliedBodySchema(reflect.New(t).Interface())
		for _, a := range schema.Attributes {
			keys = append(keys, a.Name)
		}
		for _, b := range schema.Blocks {
			blocks = append(blocks, b.Type)
			child := blockType(t, b.Type)
			if child == nil || child.Kind() != reflect.Struct {
				continue
			}
			below, _ := gohcl.ImpliedBodySchema(reflect.New(child).Interface())
			if slices.ContainsFunc(below.Attributes, func(a hcl.AttributeSchema) bool { return a.Name == name }) {
				inside = append(inside, b.Type)
			}
		}
		return where, keys, blocks, inside
	}
	return where, nil, nil, nil
}

// blockType returns the struct type of the block with that name in the struct type t, or nil.
func blockType(t reflect.Type, name string) reflect.Type {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("hcl") != name+",block" {
			continue
		}
		ft := t.Field(i).Type
		for ft.Kind() == reflect.Slice || ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		return ft
	}
	return nil
}

func quoteAll(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return out
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
