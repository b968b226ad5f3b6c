package settings

import (
	"encoding"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Show makes of a configuration what can be shown as JSON: keys in lower case with underscores, times as in 1m30s, what is not set
// left out, and secrets hidden, those in URLs too.
func Show(v any) any { return show(reflect.ValueOf(v)) }

// userInURL is the user, and so the password, of a URL.
var userInURL = regexp.MustCompile(`://[^/@\s]+@`)

func show(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	switch x := v.Interface().(type) {
	case Secret:
		if x.IsZero() {
			return nil
		}
		return hidden
	case time.Duration:
		return x.String()
	case fs.FileMode:
		return fmt.Sprintf("%04o", x.Perm())
	case encoding.TextMarshaler:
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return nil
		}
		text, err := x.MarshalText()
		if err != nil {
			return nil
		}
		return string(text)
	case fmt.Stringer:
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return nil
		}
		return x.String()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return show(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		showFields(v, out)
		return out
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = show(v.Index(i))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for key, value := range v.Seq2() {
			out[fmt.Sprint(show(key))] = show(value)
		}
		return out
	case reflect.String:
		return userInURL.ReplaceAllString(v.String(), "://"+hidden+"@")
	case reflect.Float64, reflect.Float32:
		if f := v.Float(); math.IsInf(f, 0) || math.IsNaN(f) { // JSON has none
			return fmt.Sprint(f)
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return nil
	}
	return v.Interface()
}

// showFields adds the fields of a struct, and those of structs that are embedded in it.
func showFields(v reflect.Value, out map[string]any) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported():
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			showFields(v.Field(i), out)
		default:
			if value := v.Field(i); !value.IsZero() {
				if shown := show(value); shown != nil {
					out[key(f.Name)] = shown
				}
			}
		}
	}
}

// key makes max_connections of MaxConnections, and client_ca_file of ClientCAFile.
func key(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
