//go:build servers

package discovery

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consultest"
	"argosy/internal/settings"
)

// The policy that comes with argosy is enough to find agents, and a right that is missing is named.
func TestPolicyOfScheduler(t *testing.T) {
	c := consultest.Start(t, consultest.Options{HCL: consultest.Deny, Token: consultest.Root})
	c.Register(t, &api.AgentServiceRegistration{
		ID: "p1", Name: "proxy", Port: 80, Meta: map[string]string{adminMeta: "10.0.0.1:9990"},
	})
	text, err := os.ReadFile("../../acl/scheduler.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, rules, says string }{
		{"policy", string(text), ""},
		{"no nodes", `service "proxy" { policy = "read" }`, `no endpoints visible: the token lacks node:read; add to its policy: node_prefix "" { policy = "read" }`},
		{"no service", `node_prefix "" { policy = "read" }`, `add to its policy: service "proxy" { policy = "read" }`},
	} {
		found, err := Find(t.Context(), settings.Consul{Address: c.URL(), Token: settings.NewSecret(c.Grant(t, test.rules))}, []string{"proxy"})
		if test.says == "" && (err != nil || len(found) != 1 || found[0] != "10.0.0.1:9990") {
			t.Errorf("%s: %v, %v", test.name, found, err)
		}
		if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.says)
		}
	}
}
