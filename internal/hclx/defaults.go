package hclx

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// OrDefault returns block, or a block with nothing but its defaults where it was not written.
func OrDefault[T any](block *T) *T {
	if block != nil {
		return block
	}
	block = new(T)
	new(Decoder).fill(reflect.ValueOf(block).Elem())
	return block
}

// fill sets the keys that were not written and have a tag default, and reports those that have to be written, in v and
// in the blocks inside it.
func (d *Decoder) fill(v reflect.Value) {
	attr := reflect.TypeFor[Attr]()
	for i := range v.NumField() {
		field, sf := v.Field(i), v.Type().Field(i)
		name, use, _ := strings.Cut(sf.Tag.Get("hcl"), ",")
		if field.Type() == attr && field.IsNil() && name != "" {
			if text, ok := sf.Tag.Lookup("default"); ok {
				field.Set(reflect.ValueOf(&hcl.Attribute{Name: name, Expr: hcl.StaticExpr(cty.StringVal(text), Range{})}))
			} else if use == "" {
				d.Errorf(d.placeOf(v), fmt.Sprintf("add %s = ...", name), "%s is missing", name)
			}
		}
		if use == "block" {
			d.fillBlocks(field)
		}
	}
}

func (d *Decoder) fillBlocks(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			d.fill(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.fillBlocks(v.Index(i))
		}
	case reflect.Struct:
		d.fill(v)
	}
}

// placeOf is where a block starts, if its struct has a field for that.
func (d *Decoder) placeOf(block reflect.Value) Range {
	for i := range block.NumField() {
		if block.Type().Field(i).Tag.Get("hcl") != ",def_range" {
			continue
		}
		if r, ok := block.Field(i).Interface().(Range); ok {
			return r
		}
	}
	return d.Whole()
}
