package dev

import (
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"argosy/internal/hclx"
	"argosy/scheduler/target/process"
)

// In a file, ${port.http}, ${proxy.redis}, ${tls.cert_file} and ${argosy} stand for what is known only when the service
// is started. Loading turns them into these placeholders; each is an environment variable of every service as well.
const (
	varBinary = "ARGOSY_BINARY"    // this program
	varCert   = "ARGOSY_CERT_FILE" // the service's certificate of the development CA
	varKey    = "ARGOSY_KEY_FILE"
	varCA     = "ARGOSY_CA_FILE"
)

// proxyVariable is the environment variable with a proxy's address: ARGOSY_PROXY_REDIS for "redis".
func proxyVariable(name string) string {
	return "ARGOSY_PROXY_" + strings.TrimPrefix(process.PortVariable(name), "ARGOSY_PORT_")
}

func placeholder(variable string) cty.Value { return cty.StringVal("${" + variable + "}") }

func evalContext(ports, proxies []string) *hcl.EvalContext {
	vars := map[string]cty.Value{
		"argosy": placeholder(varBinary),
		"tls": cty.ObjectVal(map[string]cty.Value{
			"cert_file": placeholder(varCert), "key_file": placeholder(varKey), "ca_file": placeholder(varCA),
		}),
	}
	object := func(name string, labels []string, variable func(string) string) {
		if len(labels) == 0 {
			return
		}
		fields := map[string]cty.Value{}
		for _, l := range labels {
			fields[l] = placeholder(variable(l))
		}
		vars[name] = cty.ObjectVal(fields)
	}
	object("port", ports, process.PortVariable)
	object("proxy", proxies, proxyVariable)
	return &hcl.EvalContext{Variables: vars, Functions: map[string]function.Function{"env": envFunction()}}
}

// envFunction is env("NAME"): the variable must be set.
func envFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, ok := os.LookupEnv(args[0].AsString())
			if !ok {
				return cty.NilVal, function.NewArgErrorf(0, "environment variable %s is not set", args[0].AsString())
			}
			return cty.StringVal(v), nil
		},
	})
}

// commandOf reads a list of strings with ports and proxies filled in.
func commandOf(d *hclx.Decoder, a hclx.Attr, ports, proxies []string) []string {
	if a == nil {
		return nil
	}
	elems, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() || len(elems) == 0 {
		d.Errorf(hclx.Place(a), `write command = ["program", "argument", ...]`, "command must be a list of strings")
		return nil
	}
	ctx := evalContext(ports, proxies)
	var out []string
	for _, e := range elems {
		out = append(out, text(d, "command", e, ctx))
	}
	return out
}

// envOf reads a map of strings with proxies filled in.
func envOf(d *hclx.Decoder, a hclx.Attr, proxies []string) []string {
	ctx := evalContext(nil, proxies)
	var out []string
	for _, item := range d.Items(a) {
		if item.Key.Value == "" || strings.ContainsAny(item.Key.Value, "=\x00") {
			d.Errorf(item.Key.Range, "", "%q is no name of a variable", item.Key.Value)
			continue
		}
		out = append(out, item.Key.Value+"="+text(d, item.Key.Value, item.Value.Expr, ctx))
	}
	return out
}

// text evaluates to a string; numbers are taken as written.
func text(d *hclx.Decoder, what string, e hcl.Expression, ctx *hcl.EvalContext) string {
	v, diags := e.Value(ctx)
	if diags.HasErrors() {
		for _, p := range diags.Errs() {
			at, message := e.Range(), p.Error()
			if g, ok := p.(*hcl.Diagnostic); ok {
				if g.Subject != nil {
					at = *g.Subject
				}
				message = strings.TrimSuffix(g.Detail, ".")
			}
			d.Errorf(at, "there are port.LABEL (in commands), proxy.NAME, tls.cert_file, tls.key_file, tls.ca_file, argosy and env(\"NAME\")", "%s: %s", what, message)
		}
		return ""
	}
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() || v.Type() == cty.Bool {
		d.Errorf(e.Range(), "", "%s: a string is needed here, not %s", what, v.Type().FriendlyName())
		return ""
	}
	return s.AsString()
}

// fill replaces the placeholders in s whose values are known.
func fill(s string, values map[string]string) string {
	for k, v := range values {
		s = strings.ReplaceAll(s, "${"+k+"}", v)
	}
	return s
}
