package consul

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
)

func TestCompile(t *testing.T) {
	t.Parallel()
	n := New(nil, Options{Resolver: true, Filter: "Service.Meta.ok == 1"}, hclog.NewNullLogger(), nil)
	c := &compiler{namer: n, prefix: dtab.Path{"#", "c"}, id: dtab.Path{"#", "c", ".local", "Web"}, logger: n.logger}
	targets := map[string]*api.DiscoveryTarget{
		"self":   {Service: "web", Datacenter: "dc1"},
		"v1":     {Service: "web", Datacenter: "dc1", ServiceSubset: "v1", Subset: api.ServiceResolverSubset{Filter: "Service.Meta.v == 1", OnlyPassing: true}},
		"dc2":    {Service: "web", Datacenter: "dc2"},
		"db":     {Service: "DB", Datacenter: "dc1"},
		"peer":   {Service: "web"},
		"out":    {Service: "web", Datacenter: "dc1", External: true},
		"broken": {Service: "../agent", Datacenter: "dc1"},
	}
	for _, step := range []struct {
		name string
		uses []string
		want string
	}{
		{"without a resolver", []string{"self"}, "/#/c/.local/Web asks web@ (Service.Meta.ok == 1)"},
		{"a subset", []string{"v1"}, "/#/c/.subset/dc1/web/v1 asks web@dc1 ((Service.Meta.ok == 1) and (Service.Meta.v == 1)) passing"},
		{"failover", []string{"self", "dc2", "db"}, "/#/c/.local/Web asks web@ (Service.Meta.ok == 1); /#/c/.target/dc2/web asks web@dc2 (Service.Meta.ok == 1); " +
			"/#/c/.target/dc1/DB asks db@dc1 (Service.Meta.ok == 1)"},
		{"what cannot be followed is left out", []string{"peer", "out", "broken", "missing", "db"}, "/#/c/.target/dc1/DB asks db@dc1 (Service.Meta.ok == 1)"},
	} {
		chain := &api.CompiledDiscoveryChain{Datacenter: "dc1", StartNode: "n", Targets: targets, Nodes: map[string]*api.DiscoveryGraphNode{
			"n": {Type: "resolver", Resolver: &api.DiscoveryResolver{Target: step.uses[0], Failover: &api.DiscoveryFailover{Targets: step.uses[1:]}}},
		}}
		p, err := c.compile(n.request(".local", "Web"), chain)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, t := range p.targets {
			s := fmt.Sprintf("%s asks %s@%s (%s)", t.id, t.request.service, t.request.datacenter, t.request.filter)
			if t.request.passing {
				s += " passing"
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != step.want {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, s, step.want)
		}
	}
	for _, chain := range []*api.CompiledDiscoveryChain{nil, {}, {StartNode: "x"}, {StartNode: "n", Nodes: map[string]*api.DiscoveryGraphNode{"n": nil}},
		{StartNode: "n", Nodes: map[string]*api.DiscoveryGraphNode{"n": {Type: "router"}}}} {
		if _, err := c.compile(n.request(".local", "web"), chain); err == nil {
			t.Errorf("%+v was compiled", chain)
		}
	}
}

// A service-resolver that cannot be read any more stays in force; one that never could be makes the name nothing.
func TestResolverInTrouble(t *testing.T) {
	t.Parallel()
	const chain = `{"Chain": {"Datacenter": "dc1", "StartNode": "n", "Nodes": {"n": {"Type": "resolver", "Resolver": {"Target": "t"}}},
		"Targets": {"t": {"Service": "web", "Datacenter": "dc2"}}}}`
	routes := func(chain http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "discovery-chain") {
				chain(w, r)
			} else {
				answers(good(1), 5)(w, r)
			}
		}
	}
	s := script(t, Options{Resolver: true}, routes(answers(chain, 3)))
	last := s.watch(t)
	wantSoon(t, last, "10.0.0.1:1")
	for _, garbage := range []http.HandlerFunc{says(500, "no"), says(200, "<html>"), says(200, `{"Chain": null}`), says(200, `{}`), says(403, "")} {
		s.change(routes(garbage))
		before := s.asked.Load()
		for s.asked.Load() < before+10 {
			if last() != "10.0.0.1:1" {
				t.Fatalf("got %q", last())
			}
		}
	}
	never := script(t, Options{Resolver: true}, routes(says(403, "Permission denied")))
	wantSoon(t, never.watch(t), "~")
}
