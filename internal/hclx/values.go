package hclx

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"argosy/internal/settings"
)

// Text is a string with its place.
type Text struct {
	Value string
	Range Range
}

// Place is where the value of a is written, or an empty range where there is none.
func Place(a Attr) Range {
	if a == nil {
		return Range{}
	}
	return a.Expr.Range()
}

// eval evaluates an expression to a known value that is not null.
func (d *Decoder) eval(name string, e hcl.Expression) (cty.Value, bool) {
	v, diags := e.Value(d.ctx)
	if diags.HasErrors() {
		d.diagnose(diags, nil)
		return v, false
	}
	if v.IsNull() {
		d.Errorf(e.Range(), "leave the key out to have its default", "%s is null", name)
		return v, false
	}
	return v, v.IsWhollyKnown()
}

// text evaluates to a string. Numbers and booleans are not taken for strings.
func (d *Decoder) text(name string, e hcl.Expression) (string, bool) {
	v, ok := d.eval(name, e)
	if !ok {
		return "", false
	}
	if v.Type() != cty.String {
		d.Errorf(e.Range(), fmt.Sprintf("write it in quotes: %s = \"...\"", name), "%s must be a string, not %s", name, kind(v))
		return "", false
	}
	return v.AsString(), true
}

func kind(v cty.Value) string {
	switch t := v.Type(); {
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "a boolean"
	case t == cty.String:
		return "a string"
	case t.IsTupleType() || t.IsListType():
		return "a list"
	case t.IsObjectType() || t.IsMapType():
		return "a map"
	}
	return v.Type().FriendlyName()
}

// String takes a string; "" where the key was not written.
func (d *Decoder) String(a Attr) string {
	if a == nil {
		return ""
	}
	s, _ := d.text(a.Name, a.Expr)
	return s
}

// Name takes a string of letters, digits, '.', '_' and '-' that starts with a letter or a digit.
func (d *Decoder) Name(a Attr) string {
	s := d.String(a)
	if a != nil && s != "" {
		d.CheckName(a.Name, Text{s, Place(a)})
	} else if a != nil && !d.Failed(a) {
		d.Errorf(Place(a), "", "%s is empty", a.Name)
	}
	return s
}

// Failed reports whether the value of a has a problem already, so that there is no need for another one.
func (d *Decoder) Failed(a Attr) bool {
	r := a.Expr.Range()
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.File == r.Filename && p.Line >= r.Start.Line && p.Line <= r.End.Line
	})
}

// CheckName reports a name that is not made of letters, digits, '.', '_' and '-'. what says whose it is.
func (d *Decoder) CheckName(what string, name Text) {
	for i, c := range name.Value {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if letter || i > 0 && (c == '.' || c == '_' || c == '-') {
			continue
		}
		d.Errorf(name.Range, "letters, digits, '.', '_' and '-' are allowed, and the first is a letter or a digit",
			"%s %q has %q in it", what, name.Value, string(c))
		return
	}
}

// OneOf takes one of some words.
func (d *Decoder) OneOf(a Attr, words ...string) string {
	if a == nil {
		return ""
	}
	s, ok := d.text(a.Name, a.Expr)
	if ok && !slices.Contains(words, s) {
		d.Errorf(Place(a), "one of "+strings.Join(words, ", "), "%s cannot be %q", a.Name, s)
		return ""
	}
	return s
}

// Bool takes true or false, also as the text that env gives.
func (d *Decoder) Bool(a Attr) bool {
	if a == nil {
		return false
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return false
	}
	b, err := convert.Convert(v, cty.Bool)
	if err != nil {
		d.Errorf(Place(a), fmt.Sprintf("write %s = true", a.Name), "%s must be true or false, not %s", a.Name, shown(v))
		return false
	}
	return b.True()
}

// BoolOr takes true, false or one of some words, and returns it as text.
func (d *Decoder) BoolOr(a Attr, words ...string) string {
	if a == nil {
		return ""
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return ""
	}
	if v.Type() == cty.Bool {
		return strconv.FormatBool(v.True())
	}
	return d.OneOf(a, append([]string{"true", "false"}, words...)...)
}

// shown is a value in an error message.
func shown(v cty.Value) string {
	if v.Type() == cty.String {
		return fmt.Sprintf("%q", v.AsString())
	}
	return kind(v)
}

// Int takes a whole number from low to high, also as the text that env gives.
func (d *Decoder) Int(a Attr, low, high int) int {
	f, ok := d.number(a, "a whole number")
	if !ok {
		return 0
	}
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		d.Errorf(Place(a), "", "%s must be a whole number, not %s", a.Name, strconv.FormatFloat(f, 'g', -1, 64))
		return 0
	}
	n := int(f)
	if n < low || n > high {
		d.Errorf(Place(a), between(fmt.Sprint(low), fmt.Sprint(high), high >= math.MaxInt32), "%s cannot be %d", a.Name, n)
		return 0
	}
	return n
}

// Float takes a finite number from low to high.
func (d *Decoder) Float(a Attr, low, high float64) float64 {
	f, ok := d.number(a, "a number")
	if !ok {
		return 0
	}
	if f < low || f > high || math.IsInf(f, 0) {
		d.Errorf(Place(a), between(fmt.Sprint(low), fmt.Sprint(high), math.IsInf(high, 0) || high == math.MaxFloat64),
			"%s cannot be %s", a.Name, strconv.FormatFloat(f, 'g', -1, 64))
		return 0
	}
	return f
}

func between(low, high string, open bool) string {
	if open {
		return low + " or more"
	}
	return "from " + low + " to " + high
}

func (d *Decoder) number(a Attr, what string) (float64, bool) {
	if a == nil {
		return 0, false
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return 0, false
	}
	n, err := convert.Convert(v, cty.Number)
	if err != nil || v.Type() == cty.Bool {
		d.Errorf(Place(a), fmt.Sprintf("write %s = 10", a.Name), "%s must be %s, not %s", a.Name, what, shown(v))
		return 0, false
	}
	f, _ := n.AsBigFloat().Float64()
	return f, true
}

// Texts takes a list of strings, each with its place.
func (d *Decoder) Texts(a Attr) []Text {
	if a == nil {
		return nil
	}
	return d.texts(a.Name, a.Expr)
}

func (d *Decoder) texts(name string, e hcl.Expression) []Text {
	if elems, diags := hcl.ExprList(e); !diags.HasErrors() {
		out := make([]Text, 0, len(elems))
		for _, elem := range elems {
			if s, ok := d.text(name, elem); ok {
				out = append(out, Text{s, elem.Range()})
			}
		}
		return out
	}
	v, ok := d.eval(name, e) // a function's result
	if !ok {
		return nil
	}
	list, err := convert.Convert(v, cty.List(cty.String))
	if err != nil || v.Type().IsMapType() || v.Type().IsObjectType() {
		d.Errorf(e.Range(), fmt.Sprintf("write %s = [\"...\", \"...\"]", name), "%s must be a list of strings, not %s", name, kind(v))
		return nil
	}
	var out []Text
	for _, s := range list.AsValueSlice() {
		if s.IsNull() {
			d.Errorf(e.Range(), "", "%s has a null in it", name)
			return nil
		}
		out = append(out, Text{s.AsString(), e.Range()})
	}
	return out
}

// Strings takes a list of strings.
func (d *Decoder) Strings(a Attr) []string {
	var out []string
	for _, t := range d.Texts(a) {
		out = append(out, t.Value)
	}
	return out
}

// Item is one entry of a map: its key, and its value to be taken with the Decoder's methods.
type Item struct {
	Key   Text
	Value Attr
}

// Items takes the entries of a map written as { key = value }, in their order.
func (d *Decoder) Items(a Attr) []Item {
	if a == nil {
		return nil
	}
	pairs, diags := hcl.ExprMap(a.Expr)
	if diags.HasErrors() {
		d.Errorf(Place(a), fmt.Sprintf("write %s = { name = ... }", a.Name), "%s must be a map", a.Name)
		return nil
	}
	var out []Item
	seen := map[string]Range{}
	for _, p := range pairs {
		key, ok := d.text("the key", p.Key)
		if !ok {
			continue
		}
		if first, again := seen[key]; again {
			d.Errorf(p.Key.Range(), "the first is at "+At(first), "%q is in %s twice", key, a.Name)
			continue
		}
		seen[key] = p.Key.Range()
		out = append(out, Item{Text{key, p.Key.Range()}, &hcl.Attribute{Name: key, Expr: p.Value, Range: p.Value.Range(), NameRange: p.Key.Range()}})
	}
	return out
}

// StringMap takes a map of strings.
func (d *Decoder) StringMap(a Attr) map[string]string {
	var out map[string]string
	for _, item := range d.Items(a) {
		if out == nil {
			out = map[string]string{}
		}
		out[item.Key.Value] = d.String(item.Value)
	}
	return out
}

// Secret takes a secret from a key or from the file that another key names; both may be missing.
func (d *Decoder) Secret(value, file Attr) settings.Secret {
	switch {
	case value != nil && file != nil:
		d.Errorf(file.NameRange, "leave one of them out", "%s and %s are both set", value.Name, file.Name)
	case value != nil:
		return settings.NewSecret(strings.TrimSpace(d.String(value))) // file() has the line's end
	case file != nil:
		path := d.String(file)
		if path == "" {
			break
		}
		s, err := settings.SecretFromFile(path)
		if err != nil {
			d.Errorf(Place(file), "", "%s cannot be read: %v", file.Name, unread(file, path, err))
		} else if s.IsZero() {
			d.Errorf(Place(file), "", "%s %q is empty", file.Name, path)
		}
		return s
	}
	return settings.Secret{}
}

// Readable takes the name of a file that must be there and be readable.
func (d *Decoder) Readable(a Attr) string {
	path := d.String(a)
	if a == nil || path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		d.Errorf(Place(a), "", "%s is a directory", a.Name)
		return ""
	}
	if err == nil && info.Mode().IsRegular() { // opening a pipe would wait for its writer
		var f *os.File
		if f, err = os.Open(path); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		d.Errorf(Place(a), "", "%s cannot be read: %v", a.Name, unread(a, path, err))
		return ""
	}
	return path
}
