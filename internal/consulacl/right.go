// Package consulacl knows the rules of Consul's access control: which rule gives a right, which one a refusal asks for,
// and how a policy is written (https://developer.hashicorp.com/consul/docs/security/acl/acl-rules).
package consulacl

import (
	"fmt"
	"regexp"
	"strings"
)

// Kinds of accesses.
const (
	Read  = "read"
	Write = "write"
)

// Right is leave to do something with the things of one name, or with all whose names start with it.
type Right struct {
	Resource string // service, node, key, intention, as Consul names them
	Name     string
	Prefix   bool
	Access   string // Read or Write
}

// String names the right as Consul's errors do, such as: service:write on "web".
func (r Right) String() string {
	if r.Prefix && r.Name == "" {
		return r.Resource + ":" + r.Access
	}
	return fmt.Sprintf("%s:%s on %q", r.Resource, r.Access, r.Name)
}

// Kind is how a policy names what the right is about, such as service_prefix.
func (r Right) Kind() string {
	kind := r.Resource
	if kind == "intention" { // these rights are part of the destination's
		kind = "service"
	}
	if r.Prefix {
		kind += "_prefix"
	}
	return kind
}

// Rule is the rule of a policy that gives the right, on one line.
func (r Right) Rule() string {
	access := fmt.Sprintf("policy = %q", r.Access)
	if r.Resource == "intention" {
		access = fmt.Sprintf("policy = \"read\" intentions = %q", r.Access)
	}
	return fmt.Sprintf("%s %s { %s }", r.Kind(), quoted(r.Name), access)
}

// quoted is a name as HCL has it, which is JSON's way but for its templates.
func quoted(name string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(fmt.Sprintf("%q", name))
}

// AllNodes is the right without which Consul leaves the instances on a node out of its answers, and says nothing.
func AllNodes() Right { return Right{Resource: "node", Prefix: true, Access: Read} }

// ReadService is the right to find a service.
func ReadService(name string) Right { return Right{Resource: "service", Name: name, Access: Read} }

var (
	lacking   = regexp.MustCompile(`lacks permission '([a-z]+):([a-z]+)' on "([^"]*)"`)
	unlimited = regexp.MustCompile(`lacks permission '([a-z]+):([a-z]+)'`)
)

// Explain adds to a refusal what to do about it. text is what Consul said, path that of the request; it is needed where
// Consul says nothing but "Permission denied". A text that is no refusal is returned as it is.
func Explain(text, path string) string {
	text = strings.TrimSpace(text)
	switch {
	case strings.Contains(text, "ACL not found"):
		return text + ": Consul does not know the token: it was deleted, has expired or is of another Consul; give another one"
	case strings.Contains(text, "ACL token must be provided"): // as gRPC says it
		return text + ": set token_file, or CONSUL_HTTP_TOKEN"
	case !strings.Contains(text, "Permission denied"):
		return text
	}
	wanted, known := missing(text, path)
	if !known {
		return text
	}
	if strings.Contains(text, "anonymous token") {
		return fmt.Sprintf("%s Set token_file, or CONSUL_HTTP_TOKEN, to a token whose policy has: %s", text, wanted.Rule())
	}
	if strings.Contains(text, "lacks permission") {
		return fmt.Sprintf("%s; add to its policy: %s", text, wanted.Rule())
	}
	return fmt.Sprintf("%s: the token lacks %s; add to its policy: %s", text, wanted, wanted.Rule())
}

// missing finds out which right a refusal is about.
func missing(text, path string) (Right, bool) {
	if m := lacking.FindStringSubmatch(text); m != nil {
		return Right{Resource: m[1], Access: m[2], Name: m[3]}, true
	}
	if m := unlimited.FindStringSubmatch(text); m != nil {
		return Right{Resource: m[1], Access: m[2], Prefix: true}, true
	}
	for _, p := range []struct{ prefix, resource, access string }{
		{"/v1/health/connect/", "service", Read},
		{"/v1/health/service/", "service", Read},
		{"/v1/discovery-chain/", "service", Read},
		{"/v1/agent/connect/ca/leaf/", "service", Write},
		{"/v1/kv/", "key", Read},
	} {
		if name, ok := strings.CutPrefix(path, p.prefix); ok && name != "" {
			return Right{Resource: p.resource, Name: name, Access: p.access}, true
		}
	}
	return Right{}, false
}

// Lacks says which rights a token lacks to see something, as an error text; what names it.
func Lacks(what string, rights ...Right) string {
	var names, rules []string
	for _, r := range rights {
		names, rules = append(names, r.String()), append(rules, r.Rule())
	}
	return fmt.Sprintf("%s: the token lacks %s; add to its policy: %s", what, strings.Join(names, " and "), strings.Join(rules, " "))
}
