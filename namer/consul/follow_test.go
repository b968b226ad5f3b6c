package consul

import (
	"errors"
	"fmt"
	"maps"
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
	if a.Tree.Kind != dtab.Leaf {
		return dtab.Show(a.Tree, func(l namer.Leaf) string { return l.Bound.ID.String() + "=" + showAddr(l.Bound.Addr) })
	}
	return showAddr(a.Tree.Leaf.Bound.Addr)
}

func showAddr(a namer.Addr) string {
	if a.Status != namer.OK {
		return "~"
	}
	var all []string
	for _, e := range a.Endpoints {
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
	if a.Stale {
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

	hold := Options{UseHealth: true, HoldEmpty: 15 * time.Second}
	guard := hold
	guard.GuardHold, guard.GuardShare = 20*time.Second, 0.5
	giveUp := guard
	giveUp.MaxStale = time.Minute
	many := func(status string, ports ...int) answer {
		var a answer
		for _, p := range ports {
			a.entries = append(a.entries, inst(fmt.Sprint("i", p), "", p, status))
		}
		return a
	}
	indexed := func(index uint64, e ...*api.ServiceEntry) answer { return answer{entries: e, index: index} }
	changed := func(e *api.ServiceEntry, index uint64) *api.ServiceEntry {
		e, s := &api.ServiceEntry{Node: e.Node, Checks: e.Checks}, *e.Service
		s.ModifyIndex, e.Service = index, &s
		return e
	}
	with := func(a answer, more answer) answer { a.entries = append(a.entries, more.entries...); return a }
	at := func(ports ...int) string {
		var all []string
		for _, p := range ports {
			all = append(all, fmt.Sprint("10.0.0.1:", p))
		}
		return strings.Join(all, " ")
	}
	const stale = " stale"
	for _, c := range []struct {
		name  string
		o     Options
		steps []step
	}{
		{"known", hold, []step{say(list(up), one), say(list(up, up2), both), say(list(up), one)}},
		{"unknown is nothing", hold, []step{say(list(), "~"), say(list(up), one)}},
		{"one fails", hold, []step{say(list(up, up2), both), say(list(up, down2), one)}},
		{"never passed is nothing", hold, []step{say(list(down), "~"), say(list(up), one)}},
		{"all fail: held, then given up", hold, []step{say(list(up, up2), both), say(list(down, down2), both+" stale"),
			pause(14*time.Second, both+" stale"), pause(2*time.Second, "~"), say(list(up), one)}},
		{"all fail, again and again: the time runs from the first", hold, []step{say(list(up), one), say(list(down), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(down), one+" stale"), pause(6*time.Second, "~"), say(list(down), "~")}},
		{"passing again in time", hold, []step{say(list(up), one), say(list(down), one+" stale"), pause(10*time.Second, one+" stale"),
			say(list(up), one), pause(time.Minute, one)}},
		{"deregistered is nothing at once", hold, []step{say(list(up), one), say(list(), "~")}},
		{"deregistered while held", hold, []step{say(list(up), one), say(list(down), one+" stale"), say(list(), "~"), pause(time.Minute, "~")}},
		{"error keeps the last good set", hold, []step{say(list(up), one), say(broken, one+" stale"), pause(time.Hour, one+" stale"), say(list(up), one)}},
		{"error with nothing known is nothing", hold, []step{say(broken, "~"), say(broken, "~"), say(list(up), one)}},
		{"error after nothing stays nothing", hold, []step{say(list(), "~"), say(broken, "~")}},
		{"error while held stops the clock", hold, []step{say(list(up), one), say(list(down), one+" stale"), say(broken, one+" stale"),
			pause(time.Hour, one+" stale"), say(list(down), one+" stale"), pause(14*time.Second, one+" stale"), pause(2*time.Second, "~")}},
		{"consul lost its data: held", hold, []step{say(list(up), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(up2), "10.0.0.1:2"), say(list(), "~")}},
		{"consul lost its data and nobody has noticed", hold, []step{say(indexed(9, changed(up, 7)), one), say(indexed(5), one+" stale"),
			pause(10*time.Second, one+" stale"), say(indexed(6), one+" stale"), say(indexed(8, changed(up2, 7)), "10.0.0.1:2"), say(indexed(9), "~")}},
		{"deregistered, with an index from before what was read last", hold, []step{say(indexed(9, changed(up, 7)), one), say(indexed(8), "~")}},
		{"consul lost its data and nobody comes back", hold, []step{say(list(up), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(16*time.Second, "~")}},

		{"some go: as they are gone", guard, []step{say(many("passing", 1, 2, 3, 4), at(1, 2, 3, 4)), say(many("passing", 1, 2), at(1, 2)),
			say(many("passing", 1), at(1)), say(list(), "~")}},
		{"most go at once: kept, then given up", guard, []step{say(many("passing", 1, 2, 3, 4), at(1, 2, 3, 4)),
			say(many("passing", 1), at(1, 2, 3, 4)+stale), pause(19*time.Second, at(1, 2, 3, 4)+stale), pause(2*time.Second, at(1))}},
		{"most go at once, and come back", guard, []step{say(many("passing", 1, 2, 3, 4), at(1, 2, 3, 4)),
			say(many("passing", 1), at(1, 2, 3, 4)+stale), pause(10*time.Second, at(1, 2, 3, 4)+stale),
			say(many("passing", 1, 2, 4), at(1, 2, 3, 4)+stale), pause(11*time.Second, at(1, 2, 4)),
			say(many("passing", 1, 4), at(1, 4))}},
		{"most fail at once", guard, []step{say(many("passing", 1, 2, 3), at(1, 2, 3)),
			say(with(many("passing", 1), many("critical", 2, 3)), at(1, 2, 3)+stale), pause(21*time.Second, at(1))}},
		{"all go at once", guard, []step{say(many("passing", 1, 2), at(1, 2)), say(list(), at(1, 2)+stale), pause(21*time.Second, "~")}},
		{"the only one goes", guard, []step{say(list(up), one), say(list(), "~")}},
		{"all are replaced at once", guard, []step{say(many("passing", 1, 2, 3), at(1, 2, 3)), say(many("passing", 4, 5, 6), at(4, 5, 6))}},
		{"all are replaced, a new one at first", guard, []step{say(many("passing", 1, 2, 3), at(1, 2, 3)),
			say(many("passing", 4), at(1, 2, 3, 4)+stale), say(many("passing", 4, 5, 6), at(1, 2, 3, 4, 5, 6)+stale),
			pause(21*time.Second, at(4, 5, 6))}},
		{"after a total failure the first that passes is not all", guard, []step{say(many("passing", 1, 2), at(1, 2)),
			say(many("critical", 1, 2), at(1, 2)+stale), pause(10*time.Second, at(1, 2)+stale),
			say(with(many("passing", 1), many("critical", 2)), at(1, 2)+stale), pause(19*time.Second, at(1, 2)+stale),
			pause(2*time.Second, at(1))}},
		{"after trouble the first that is there is not all", guard, []step{say(many("passing", 1, 2), at(1, 2)), say(broken, at(1, 2)+stale),
			say(many("passing", 1), at(1, 2)+stale), pause(21*time.Second, at(1))}},
		{"the guard's clock stops in trouble", guard, []step{say(many("passing", 1, 2, 3), at(1, 2, 3)), say(many("passing", 1), at(1, 2, 3)+stale),
			say(broken, at(1, 2, 3)+stale), pause(time.Hour, at(1, 2, 3)+stale), say(many("passing", 1), at(1, 2, 3)+stale),
			pause(19*time.Second, at(1, 2, 3)+stale), pause(2*time.Second, at(1))}},
		{"too stale", giveUp, []step{say(list(up), one), say(broken, one+stale), pause(59*time.Second, one+stale), say(broken, one+stale),
			pause(2*time.Second, "~"), say(broken, "~"), say(list(up), one)}},
		{"the agent's cache without its servers", guard, []step{say(answer{entries: list(up).entries, cached: true}, one+stale), say(list(up), one)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, last := following(t, c.o)
				for i, s := range c.steps {
					time.Sleep(s.wait)
					if s.a != nil {
						w.take(*s.a)
					}
					synctest.Wait()
					if got := last(); got != s.want {
						t.Fatalf("step %d: got %q, want %q", i, got, s.want)
					}
				}
			})
		})
	}
}

func weighted(id string, port int, status string, passing, warning int) *api.ServiceEntry {
	e := inst(id, "", port, status)
	e.Service.Weights = api.AgentWeights{Passing: passing, Warning: warning}
	return e
}

func tagged(e *api.ServiceEntry, tags ...string) *api.ServiceEntry { e.Service.Tags = tags; return e }

func maintained(e *api.ServiceEntry, check string) *api.ServiceEntry {
	e.Checks = append(e.Checks, &api.HealthCheck{CheckID: check, Status: "critical"})
	return e
}

// following starts a follower, and returns what it says last.
func following(t *testing.T, o Options) (w *follower, last func() string) {
	n := New(nil, o, hclog.NewNullLogger(), nil)
	var said atomic.Value
	said.Store("pending")
	r := n.request("dc1", "web")
	w = &follower{namer: n, request: r, logger: n.logger, metrics: n.metrics.follow(r), saved: n.saved("set", r),
		set: func(a namer.Addr) bool { return said.Swap(showAddr(a)) != showAddr(a) }}
	w.start()
	t.Cleanup(w.stop)
	return w, func() string { return said.Load().(string) }
}

func TestEndpoints(t *testing.T) {
	with := func(f func(*api.ServiceEntry)) *api.ServiceEntry {
		e := inst("a", "10.0.0.9", 80, "passing")
		f(e)
		return e
	}
	health := Options{UseHealth: true, PreferService: true}
	connect := Options{UseHealth: true, PreferService: true, Connect: ConnectAlways}
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
		{"broken entries", health, []*api.ServiceEntry{nil, {}, {Node: &api.Node{}}, with(func(e *api.ServiceEntry) { e.Checks = api.HealthChecks{nil} })}, "10.0.0.9:80"},
		{"an address that is none", health, []*api.ServiceEntry{inst("a", "a b", 80, "passing"), inst("b", "/sock", 80, "passing"),
			inst("c", "10.0.0.9", 65536, "passing"), inst("d", "a\x00b", 80, "passing")}, ""},
		{"a host name", health, []*api.ServiceEntry{inst("a", "db.example", 80, "passing")}, "db.example:80"},
		{"warning counts if asked for", Options{UseHealth: true, Statuses: []string{Passing, Warning}}, []*api.ServiceEntry{
			inst("a", "", 80, "warning"), inst("b", "", 81, "passing"), inst("c", "", 82, "critical")}, "10.0.0.1:80 10.0.0.1:81"},
		{"with its own weight", Options{UseHealth: true, Statuses: []string{Passing, Warning}}, []*api.ServiceEntry{
			weighted("a", 80, "warning", 6, 2), weighted("b", 81, "passing", 6, 2), weighted("c", 82, "warning", 6, 0)}, "10.0.0.1:80*2 10.0.0.1:81*6"},
		{"those in maintenance only", Options{UseHealth: true, Statuses: []string{Maintenance}}, []*api.ServiceEntry{
			inst("b", "", 81, "passing"), inst("c", "", 82, "critical"), maintained(inst("a", "", 80, "passing"), api.ServiceMaintPrefix+"a"),
			maintained(inst("d", "", 83, "passing"), api.NodeMaint)}, "10.0.0.1:80 10.0.0.1:83"},
		{"weights by tag, the heaviest", Options{Weights: []TagWeight{{"big", 3}, {"huge", 10}, {"tiny", 0.1}}}, []*api.ServiceEntry{
			tagged(inst("a", "", 80, "passing"), "big", "Huge", "x"), tagged(inst("b", "", 81, "passing"), "tiny"),
			tagged(weighted("c", 82, "passing", 2, 1), "big"), inst("d", "", 83, "passing")},
			"10.0.0.1:80*10 10.0.0.1:81*0.1 10.0.0.1:82*6 10.0.0.1:83"},
		{"by tagged address", Options{PreferService: true, TaggedAddress: "wan"}, []*api.ServiceEntry{
			with(func(e *api.ServiceEntry) {
				e.Service.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: "198.51.100.1", Port: 8080}}
			}),
			with(func(e *api.ServiceEntry) { e.Node.TaggedAddresses = map[string]string{"wan": "198.51.100.2"} }),
			inst("c", "10.0.0.3", 82, "passing")}, "198.51.100.1:8080 198.51.100.2:80"},
		{"the nearest, in the order that Consul gives", Options{Near: "_agent", NearCount: 2}, []*api.ServiceEntry{
			inst("c", "", 3, "passing"), inst("a", "", 1, "passing"), inst("b", "", 2, "passing")}, "10.0.0.1:1 10.0.0.1:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := New(nil, c.o, hclog.NewNullLogger(), nil)
			r := n.request("dc1", "web")
			got := nearest(n.instances(r, c.in, n.logger), c.o.NearCount)
			if s := showAddr(namer.Addr{Status: namer.OK, Endpoints: got}); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
	n := New(nil, health, hclog.NewNullLogger(), nil)
	got := n.instances(n.request("dc1", "web"), []*api.ServiceEntry{inst("b", "", 80, "passing"), inst("a", "", 80, "passing")}, n.logger)
	if len(got) != 1 || got[0].Meta["id"] != "a" || got[0].Meta["node"] != "n1" || got[0].Meta["dc"] != "dc1" {
		t.Errorf("of two with one address: %v", got)
	}
}

func TestMetadata(t *testing.T) {
	e := tagged(inst("a", "", 80, "passing"), "v1")
	e.Service.Meta, e.Node.Meta = map[string]string{"version": "2", "id": "x"}, map[string]string{"rack": "7"}
	n := New(nil, Options{IncludeTag: true, Metadata: true, Authority: "consul"}, hclog.NewNullLogger(), nil)
	got := n.instances(n.request("dc1", "Web", "v1"), []*api.ServiceEntry{e}, n.logger)[0].Meta
	want := map[string]string{"id": "a", "node": "n1", "dc": "dc1", "meta.version": "2", "meta.id": "x", "node_meta.rack": "7",
		"authority": "v1.web.service.dc1.consul"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestSplit(t *testing.T) {
	resolver := New(nil, Options{Resolver: true}, hclog.NewNullLogger(), nil)
	plain := New(nil, Options{}, hclog.NewNullLogger(), nil)
	marked := New(nil, Options{IncludeTag: true}, hclog.NewNullLogger(), nil)
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
		{marked, dtab.Path{"dc1", "v1", "web", "x"}, "/dc1/v1/web", "/x", true},
		{marked, dtab.Path{"dc1", "web"}, "", "", false},
		{resolver, dtab.Path{"dc1", "web", "x"}, "/dc1/web", "/x", true},
		{resolver, dtab.Path{".target", "dc1", "web", "x"}, "/.target/dc1/web", "/x", true},
		{resolver, dtab.Path{".subset", "dc1", "web", "v1", "x"}, "/.subset/dc1/web/v1", "/x", true},
		{resolver, dtab.Path{".subset", "dc1", "web"}, "", "", false},
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
	a.metrics.follow(a.request("dc1", "web")).answered(answer{entries: []*api.ServiceEntry{inst("a", "", 1, "passing")}})
	unknown := b.metrics.follow(b.request("dc1", "whatever"))
	unknown.answered(answer{})
	unknown.failed()
	want := "argosy_consul_answered_timestamp_seconds{dc1 web}; argosy_consul_changed_timestamp_seconds{dc1 web}; " +
		"argosy_consul_endpoints{dc1 web}; argosy_consul_errors_total{ }; argosy_consul_index{dc1 web}; " +
		"argosy_consul_staleness_seconds{dc1 web}"
	if got := labels(t, reg); got != want {
		t.Errorf("got %s", got)
	}
}

// The gauge of staleness runs while Consul is in trouble, and is 0 otherwise.
func TestStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := following(t, Options{})
		stale := func() time.Duration {
			for _, s := range w.namer.metrics.services() {
				return s.stale
			}
			return -1
		}
		w.take(answer{err: errors.New("down")})
		if stale() != -1 {
			t.Error("a service that is not known has labels")
		}
		w.take(answer{entries: []*api.ServiceEntry{inst("a", "", 1, "passing")}, index: 7})
		time.Sleep(time.Minute)
		if got := stale(); got != 0 {
			t.Errorf("in quiet times: %v", got)
		}
		w.take(answer{err: errors.New("down")})
		time.Sleep(30 * time.Second)
		if got := stale(); got != 90*time.Second {
			t.Errorf("in trouble: %v", got)
		}
		w.take(answer{})
		if got := stale(); got != 0 {
			t.Errorf("afterwards: %v", got)
		}
		w.metrics.stop()
		if got := stale(); got != -1 {
			t.Errorf("when it is not watched any more: %v", got)
		}
	})
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
