package consulacl

import (
	"strings"
	"testing"
)

// The texts are those of Consul 1.21.
func TestExplain(t *testing.T) {
	const token = "Permission denied: token with AccessorID '1234' lacks permission "
	for _, c := range []struct{ text, path, want string }{
		{token + `'service:write' on "web"`, "", `; add to its policy: service "web" { policy = "write" }`},
		{token + `'intention:read' on "web"`, "", `; add to its policy: service "web" { policy = "read" intentions = "read" }`},
		{"failed getting intention match: " + token + `'intention:read' on "web"`, "", `add to its policy: service "web" { policy = "read" intentions = "read" }`},
		{token + `'key:read' on "namerd/dtabs/default"`, "", `key "namerd/dtabs/default" { policy = "read" }`},
		{token + `'node:read'`, "", `node_prefix "" { policy = "read" }`},
		{"Permission denied", "/v1/health/connect/web", `the token lacks service:read on "web"; add to its policy: service "web" { policy = "read" }`},
		{"Permission denied", "/v1/kv/a/b", `key "a/b" { policy = "read" }`},
		{`Permission denied: anonymous token lacks permission 'service:write' on "web". The anonymous token is used implicitly when a request does not specify a token.`,
			"", `token. Set token_file, or CONSUL_HTTP_TOKEN, to a token whose policy has: service "web" { policy = "write" }`},
		{"ACL not found", "/v1/kv/x", "ACL not found: Consul does not know the token: it was deleted, has expired"},
		{"An ACL token must be provided (via the `x-consul-token` metadata field) to call this endpoint", "", "endpoint: set token_file, or CONSUL_HTTP_TOKEN"},
		{"rpc error making call: ACL not found", "", "Consul does not know the token"},
	} {
		if got := Explain(c.text+"\n", c.path); !strings.HasPrefix(got, c.text) || !strings.Contains(got, c.want) {
			t.Errorf("%q for %s:\n got %s\nwant %s", c.text, c.path, got, c.want)
		}
	}
	for _, text := range []string{"No cluster leader", "Permission denied", "", `<html>forbidden</html>`} {
		if got := Explain(text, "/v1/other"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestRule(t *testing.T) {
	for _, c := range []struct {
		right Right
		want  string
	}{
		{Right{"service", "web", false, Write}, `service "web" { policy = "write" }`},
		{Right{"service", "", true, Read}, `service_prefix "" { policy = "read" }`},
		{AllNodes(), `node_prefix "" { policy = "read" }`},
		{Right{"key", "a/", true, Write}, `key_prefix "a/" { policy = "write" }`},
		{Right{"key", `a"${b}`, false, Read}, `key "a\"$${b}" { policy = "read" }`},
	} {
		if got := c.right.Rule(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.right, got, c.want)
		}
	}
	want := `no endpoints visible: the token lacks service:read on "web" and node:read; add to its policy: service "web" { policy = "read" } node_prefix "" { policy = "read" }`
	if got := Lacks("no endpoints visible", ReadService("web"), AllNodes()); got != want {
		t.Errorf("got %s", got)
	}
}

func TestPolicy(t *testing.T) {
	got := Policy([]Need{
		{AllNodes(), "namer a"}, {Right{"key", "t/", true, Read}, "dtab"},
		{Right{"service", "web", false, Read}, "one"}, {Right{"service", "web", false, Write}, "two"}, {Right{"service", "web", false, Read}, "one"},
		{Right{"service", "", true, Read}, "namer a"}, {AllNodes(), "namer b"},
	})
	want := `# one; two
service "web" {
  policy = "write"
}

# namer a
service_prefix "" {
  policy = "read"
}

# namer a; namer b
node_prefix "" {
  policy = "read"
}

# dtab
key_prefix "t/" {
  policy = "read"
}
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
