package hclx

import (
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
	fillDefaults(block)
	return block
}

// fillDefaults sets the keys that were not written and have a tag default, in raw and in the blocks inside it.
func fillDefaults(raw any) { fill(reflect.ValueOf(raw).Elem()) }

func fill(v reflect.Value) {
	attr := reflect.TypeFor[Attr]()
	for i := range v.NumField() {
		field, sf := v.Field(i), v.Type().Field(i)
		tag := sf.Tag.Get("hcl")
		name, _, _ := strings.Cut(tag, ",")
		if field.Type() == attr {
			if text, ok := sf.Tag.Lookup("default"); ok && field.IsNil() {
				field.Set(reflect.ValueOf(&hcl.Attribute{Name: name, Expr: hcl.StaticExpr(cty.StringVal(text), Range{})}))
			}
			continue
		}
		if !strings.HasSuffix(tag, ",block") {
			continue
		}
		switch field.Kind() {
		case reflect.Pointer:
			if !field.IsNil() {
				fill(field.Elem())
			}
		case reflect.Slice:
			for j := range field.Len() {
				if e := field.Index(j); e.Kind() == reflect.Pointer {
					fill(e.Elem())
				} else {
					fill(e)
				}
			}
		case reflect.Struct:
			fill(field)
		}
	}
}
