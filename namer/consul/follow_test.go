package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/namer"
)

// inst makes an instance of the service web; status is that of its one check.
func inst(id, addr string, port int, status string) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1"},
		Service: &api.AgentService{ID: id, Service: "web", Address: addr, Port: port, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
		Checks:  api.HealthChecks{{CheckID: "c", Status: status}},
	}
}

// show prints an answer in short: "~", or the endpoints with their weights, and a star when they are stale.
func show(a namer.Answer) string {
	if a.Status != namer.OK {
		return a.Status.String()
	}
	if a.Tree.Kind == dtab.Neg {
		return "~"
	}
	var all []string
	for _, e := range a.Tree.Leaf.Bound.Addr.Endpoints {
		s := e.Addr
		if e.Weight != 1 {
			s += fmt.Sprintf("*%g", e.Weight)
		}
		if e.Connect != (namer.ConnectID{}) {
			s += "@" + e.Connect.Datacenter + "/" + e.Connect.Service
		}
		all = append(all, s)
	}
	s := strings.Join(all, " ")
	if a.Tree.Leaf.Bound.Addr.Stale {
		s += " stale"
	}
	return s
}

func TestWhatIsPublished(t *testing.T) {
	up, up2 := inst("a", "", 1, "passing"), inst("b", "", 2, "passing")
	down, down2 := inst("a", "", 1, "critical"), inst("b", "", 2, "critical")
	list := func(e ...*api.ServiceEntry) answer { return answer{entries: e} }
	broken := answer{err: errors.New("500 no cluster leader")}
	const one, both = "10.0.0.1:1", "10.0.0.1:1 10.0.0.1:2"

	type step struct {
		wait time.Duration
		a    *answer // nil: only time passes
		want string  // what stands afterwards
	}
	say := func(a answer, want string) step { return step{0, &a, want} }
	pause := func(d time.Duration, want string) step { return step{d, nil, want} }

	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"known", []step{say(list(up), one), say(list(up, up2), both), say(list(up), one)}},
		{"unknown is nothing", []step{say(list(), "~"), say(list(up), one)}},
		{"one fails", []step{say(list(up, up2), both), say(list(up, down2), one)}},
		{"never passed is nothing", []step{say(list(down), "~"), say(list(up), one)}},
		{"all fail: held, then given up", []step{say(list(up, up2), both), say(list(down, down2), both+" stale"),
			pause(14*time.Second, both+" stale"), pause(2*time.Second, "~"), say(list(up), one)}},
		{"all fail, again and again: the time runs from the first", []step{say(list(up), one), say(list(down), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(down), one+" stale"), pause(6*time.Second, "~"), say(list(down), "~")}},
		{"passing again in time", []step{say(list(up), one), say(list(down), one+" stale"), pause(10*time.Second, one+" stale"),
			say(list(up), one), pause(time.Minute, one)}},
		{"deregistered is nothing at once", []step{say(list(up), one), say(list(), "~")}},
		{"deregistered while held", []step{say(list(up), one), say(list(down), one+" stale"), say(list(), "~"), pause(time.Minute, "~")}},
		{"error keeps the last good set", []step{say(list(up), one), say(broken, one+" stale"), pause(time.Hour, one+" stale"), say(list(up), one)}},
		{"error with nothing known is nothing", []step{say(broken, "~"), say(broken, "~"), say(list(up), one)}},
		{"error after nothing stays nothing", []step{say(list(), "~"), say(broken, "~")}},
		{"error while held stops the clock", []step{say(list(up), one), say(list(down), one+" stale"), say(broken, one+" stale"),
			pause(time.Hour, one+" stale"), say(list(down), one+" stale"), pause(14*time.Second, one+" stale"), pause(2*time.Second, "~")}},
		{"consul lost its data: held", []step{say(list(up), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(up2), "10.0.0.1:2"), say(list(), "~")}},
		{"consul lost its data and nobody comes back", []step{say(list(up), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(16*time.Second, "~")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(nil, Options{UseHealth: true, HoldEmpty: 15 * time.Second}, hclog.NewNullLogger(), nil)
				var last atomic.Value
				last.Store("pending")
				w := &follower{namer: n, target: target{service: "web"}, logger: n.logger, metrics: n.metrics.follow("dc1", "", "web"),
					publish: func(a namer.Answer) { last.Store(show(a)) }}
				ctx, cancel := context.WithCancel(t.Context())
				answers, done := make(chan answer), make(chan struct{})
				go func() { defer close(done); w.follow(ctx, answers) }()
				for i, s := range c.steps {
					time.Sleep(s.wait)
					if s.a != nil {
						answers <- *s.a
					}
					synctest.Wait()
					if got := last.Load(); got != s.want {
						t.Fatalf("step %d: got %q, want %q", i, got, s.want)
					}
				}
				cancel()
				<-done
			})
		})
	}
}

func TestEndpoints(t *testing.T) {
	with := func(f func(*api.ServiceEntry)) *api.ServiceEntry {
		e := inst("a", "10.0.0.9", 80, "passing")
		f(e)
		return e
	}
	health := Options{UseHealth: true, PreferService: true}
	connect := Options{UseHealth: true, PreferService: true, Connect: true}
	sidecar := func(of string) *api.ServiceEntry {
		return with(func(e *api.ServiceEntry) {
			e.Service.Kind, e.Service.Service = api.ServiceKindConnectProxy, "web-sidecar-proxy"
			e.Service.Proxy = &api.AgentServiceConnectProxyConfig{DestinationServiceName: of}
		})
	}
	native := with(func(e *api.ServiceEntry) { e.Service.Connect = &api.AgentServiceConnect{Native: true} })
	for _, c := range []struct {
		name string
		o    Options
		in   []*api.ServiceEntry
		want string
	}{
		{"service address first", health, []*api.ServiceEntry{inst("a", "10.0.0.9", 80, "passing")}, "10.0.0.9:80"},
		{"node address where the service has none", health, []*api.ServiceEntry{inst("a", "", 80, "passing")}, "10.0.0.1:80"},
		{"always the node's", Options{}, []*api.ServiceEntry{inst("a", "10.0.0.9", 80, "passing")}, "10.0.0.1:80"},
		{"IPv6", health, []*api.ServiceEntry{inst("a", "::1", 80, "passing")}, "[::1]:80"},
		{"sorted", health, []*api.ServiceEntry{inst("a", "10.0.0.9", 81, "passing"), inst("b", "10.0.0.9", 80, "passing")}, "10.0.0.9:80 10.0.0.9:81"},
		{"registered twice", health, []*api.ServiceEntry{inst("b", "10.0.0.9", 80, "passing"), inst("a", "10.0.0.9", 80, "passing")}, "10.0.0.9:80"},
		{"no port", health, []*api.ServiceEntry{inst("a", "10.0.0.9", 0, "passing")}, ""},
		{"warning is not passing", health, []*api.ServiceEntry{inst("a", "", 80, "warning")}, ""},
		{"without health all count", Options{}, []*api.ServiceEntry{inst("a", "", 80, "critical")}, "10.0.0.1:80"},
		{"maintenance is not passing", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) {
			e.Checks = append(e.Checks, &api.HealthCheck{CheckID: api.ServiceMaintPrefix + "a", Status: "critical"})
		})}, ""},
		{"no checks is passing", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Checks = nil })}, "10.0.0.9:80"},
		{"weights", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Service.Weights.Passing = 5 })}, "10.0.0.9:80*5"},
		{"no weight", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Service.Weights.Passing = 0 })}, "10.0.0.9:80"},
		{"case does not matter", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Service.Service = "Web" })}, "10.0.0.9:80"},
		{"another service is refused", health, []*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Service.Service = "db" })}, ""},
		{"sidecar", connect, []*api.ServiceEntry{sidecar("web")}, "10.0.0.9:80@dc1/web"},
		{"sidecar of another service is refused", connect, []*api.ServiceEntry{sidecar("db")}, ""},
		{"native", connect, []*api.ServiceEntry{native}, "10.0.0.9:80@dc1/web"},
		{"native without asking for it", health, []*api.ServiceEntry{native}, "10.0.0.9:80@dc1/web"},
		{"broken entries", health, []*api.ServiceEntry{{}, {Node: &api.Node{}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := New(nil, c.o, hclog.NewNullLogger(), nil)
			got := n.endpoints(target{service: "web"}, c.in, n.logger)
			a := namer.Answer{Status: namer.OK, Tree: dtab.LeafOf(namer.Leaf{Bound: &namer.Bound{Addr: namer.Addr{Endpoints: got}}})}
			if s := show(a); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
	n := New(nil, health, hclog.NewNullLogger(), nil)
	got := n.endpoints(target{service: "web"}, []*api.ServiceEntry{inst("b", "", 80, "passing"), inst("a", "", 80, "passing")}, n.logger)
	if len(got) != 1 || got[0].Meta["id"] != "a" || got[0].Meta["node"] != "n1" || got[0].Meta["dc"] != "dc1" {
		t.Errorf("of two with one address: %v", got)
	}
}

func TestSplit(t *testing.T) {
	plain := New(nil, Options{}, hclog.NewNullLogger(), nil)
	tagged := New(nil, Options{IncludeTag: true}, hclog.NewNullLogger(), nil)
	for _, c := range []struct {
		n             *Namer
		name          dtab.Path
		key, residual string
		ok            bool
	}{
		{plain, dtab.Path{"dc1", "web"}, "/dc1/web", "/", true},
		{plain, dtab.Path{".local", "Web", "x", "y"}, "/.local/Web", "/x/y", true},
		{plain, dtab.Path{"dc1"}, "", "", false},
		{plain, nil, "", "", false},
		{plain, dtab.Path{"dc1", "we/b"}, "", "", false},
		{plain, dtab.Path{"dc1", ".."}, "", "", false},
		{plain, dtab.Path{"dc1", "we b"}, "", "", false},
		{plain, dtab.Path{"dc1", "w\xffb"}, "", "", false},
		{plain, dtab.Path{"dc1?x", "web"}, "", "", false},
		{plain, dtab.Path{"dc1", strings.Repeat("x", 256)}, "", "", false},
		{tagged, dtab.Path{"dc1", "v1", "web", "x"}, "/dc1/v1/web", "/x", true},
		{tagged, dtab.Path{"dc1", "web"}, "", "", false},
	} {
		key, residual, ok := c.n.Split(c.name)
		if ok != c.ok || ok && (key.String() != c.key || residual.String() != c.residual) {
			t.Errorf("%q: got %v %v %v", c.name, key, residual, ok)
		}
	}
}

func TestNamersShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, b := New(nil, Options{}, hclog.NewNullLogger(), reg), New(nil, Options{}, hclog.NewNullLogger(), reg)
	a.metrics.follow("dc1", "", "web").answered(true)
	unknown := b.metrics.follow("dc1", "", "whatever")
	unknown.answered(false)
	unknown.failed()
	if got := labels(t, reg); got != "argosy_consul_answered_timestamp_seconds{dc1 web}; argosy_consul_errors_total{ }" {
		t.Errorf("got %s", got)
	}
}

func labels(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.Metric {
			var values []string
			for _, l := range m.Label {
				if l.GetName() != "tag" {
					values = append(values, l.GetValue())
				}
			}
			all = append(all, f.GetName()+"{"+strings.Join(values, " ")+"}")
		}
	}
	return strings.Join(all, "; ")
}
