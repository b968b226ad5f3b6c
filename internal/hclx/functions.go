package hclx

import (
	"fmt"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// evalContext has the functions that expressions may call. There are no variables.
func evalContext(lookup func(string) (string, bool)) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{
		"env":      envFunction(lookup),
		"file":     fileFunction(),
		"format":   stdlib.FormatFunc,
		"join":     stdlib.JoinFunc,
		"lower":    stdlib.LowerFunc,
		"split":    stdlib.SplitFunc,
		"tonumber": stdlib.MakeToFunc(cty.Number),
		"trim":     stdlib.TrimSpaceFunc,
	}}
}

// functionNames lists them for error messages.
const functionNames = `env, file, format, join, lower, split, tonumber and trim`

// envFunction is env("NAME") and env("NAME", "default"). A variable that is set but empty counts as set.
func envFunction(lookup func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) > 2 {
				return cty.NilVal, function.NewArgErrorf(2, "env takes a name and at most one default")
			}
			name := args[0].AsString()
			if v, ok := lookup(name); ok {
				return cty.StringVal(v), nil
			}
			if len(args) == 2 {
				return args[1], nil
			}
			return cty.NilVal, function.NewArgErrorf(0, "environment variable %s is not set; "+
				"set it, or give a default: env(%q, \"...\")", name, name)
		},
	})
}

// fileFunction is file("path"): the text of a file, relative to the working directory.
func fileFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			info, err := os.Stat(args[0].AsString())
			if err == nil && !info.Mode().IsRegular() {
				err = fmt.Errorf("%s is not a regular file", args[0].AsString())
			}
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			text, err := readFile(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			return cty.StringVal(string(text)), nil
		},
	})
}
