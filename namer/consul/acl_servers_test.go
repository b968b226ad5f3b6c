//go:build servers

package consul

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namer"
)

const (
	allServices = `service_prefix "" { policy = "read" }`
	allNodes    = `node_prefix "" { policy = "read" }`
)

// lastAnswer follows a name, and returns what it last was.
func lastAnswer(t *testing.T, c *api.Client, o Options, service string) func() namer.Answer {
	n := New(c, o, hclog.NewNullLogger(), nil)
	var mu sync.Mutex
	var last namer.Answer
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		n.Watch(ctx, dtab.Path{"#", "c"}, dtab.Path{local, service}, func(a namer.Answer) {
			mu.Lock()
			defer mu.Unlock()
			last = a
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() namer.Answer {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// A token that lacks a right is told which rule is missing. Consul itself says nothing but that there are no instances.
func TestMissingRules(t *testing.T) {
	c := consultest.Start(t, consultest.Options{HCL: consultest.Deny, Token: consultest.Root})
	c.Register(t, &api.AgentServiceRegistration{ID: "web1", Name: "web", Port: 8080, Connect: &api.AgentServiceConnect{Native: true}})
	const nodeRule = `: the token lacks node:read; add to its policy: node_prefix "" { policy = "read" }`
	always := Options{Connect: ConnectAlways}
	for _, test := range []struct {
		name, rules string // no rules: no token
		options     Options
		service     string
		says        string // "": there is no error
		found       bool
	}{
		{"all", allServices + allNodes, Options{}, "web", "", true},
		{"all for Connect", allServices + allNodes, always, "web", "", true},
		{"no such service", allServices + allNodes, Options{}, "nothing", "", false},
		{"nodes", allServices, Options{}, "web", "no endpoints visible" + nodeRule, false},
		{"nodes for Connect", allServices, always, "web", "no endpoints visible" + nodeRule, false},
		{"nodes, service not there yet", allServices, Options{}, "nothing", "no endpoints visible" + nodeRule, false},
		{"service", allNodes, Options{}, "web", `: the token lacks service:read on "web"; add to its policy: service "web" { policy = "read" }`, false},
		{"service for Connect", allNodes, always, "web", `: the token lacks service:read on "web"; add to its policy: service "web" { policy = "read" }`, false},
		{"resolver", allNodes, Options{Resolver: true}, "web", `add to its policy: service "web" { policy = "read" }`, false},
		{"other nodes only", allServices + `node "other" { policy = "read" }`, Options{}, "web", "no endpoints visible", false},
		{"no token", "", Options{}, "web", `service "web" { policy = "read" } node_prefix "" { policy = "read" }`, false},
		{"no token for Connect", "", always, "web", `service "web" { policy = "read" }`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			secret := ""
			if test.rules != "" {
				secret = c.Grant(t, test.rules)
			}
			last := lastAnswer(t, c.ClientWith(t, secret), test.options, test.service)
			ok := func() bool {
				a := last()
				if found := a.Status == namer.OK && a.Tree.Kind != dtab.Neg; found != test.found || a.Status != namer.OK {
					return false
				}
				return test.says == "" && a.Err == nil || test.says != "" && a.Err != nil && strings.Contains(a.Err.Error(), test.says)
			}
			if !waitFor(ok) {
				t.Errorf("got %+v", last())
			}
		})
	}
}

// Rights that are taken away from a token while a service is followed do not take its instances away, whether Consul
// streams changes or is asked in the classic way, as it is with near.
func TestRightsTakenAway(t *testing.T) {
	c := consultest.Start(t, consultest.Options{HCL: consultest.Deny, Token: consultest.Root})
	web := &api.AgentServiceRegistration{ID: "web1", Name: "web", Port: 8080}
	c.Register(t, web)
	policy, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "reader", Rules: allServices + allNodes}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := c.ClientWith(t, token.SecretID)
	streamed, classic := lastAnswer(t, client, Options{}, "web"), lastAnswer(t, client, Options{Near: "_agent"}, "web")
	used := func(a namer.Answer) (used, stale bool) {
		if a.Status != namer.OK || a.Tree.Kind != dtab.Leaf {
			return false, false
		}
		addr := a.Tree.Leaf.Bound.Addr
		return len(addr.Endpoints) == 1, addr.Stale
	}
	fresh := func() bool {
		s, old := used(streamed())
		k, older := used(classic())
		return s && k && !old && !older
	}
	if !waitFor(fresh) {
		t.Fatalf("got %+v and %+v", streamed(), classic())
	}
	change := func(rules, meta string) {
		t.Helper()
		policy.Rules = rules
		if _, _, err := c.Client.ACL().PolicyUpdate(policy, nil); err != nil {
			t.Fatal(err)
		}
		web.Meta = map[string]string{"state": meta}
		c.Register(t, web) // wakes those who wait
	}
	change(allServices, "without nodes")
	if !waitFor(func() bool { _, stale := used(classic()); return stale }) {
		t.Errorf("without nodes, it is not known that nothing is known: %+v", classic())
	}
	for range 3000 { // for some seconds
		s, _ := used(streamed())
		if k, _ := used(classic()); !s || !k {
			t.Fatalf("without nodes: %+v and %+v", streamed(), classic())
		}
		time.Sleep(time.Millisecond)
	}
	change(allServices+allNodes, "with nodes")
	if !waitFor(fresh) {
		t.Errorf("with nodes again: %+v and %+v", streamed(), classic())
	}
}
