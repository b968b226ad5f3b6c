package nomad

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/namer"
)

func inst(id, addr string, port int, tags ...string) *api.ServiceRegistration {
	return &api.ServiceRegistration{ID: id, ServiceName: "web", Namespace: "default", NodeID: "n1", Datacenter: "dc1",
		JobID: "site", AllocID: "a-" + id, Tags: tags, Address: addr, Port: port}
}

// show prints an answer in short: "~", or the endpoints, and "stale" after them when they are.
func show(a namer.Answer) string {
	if a.Status != namer.OK {
		return a.Status.String()
	}
	if a.Tree.Kind == dtab.Neg {
		return "~"
	}
	var all []string
	for _, e := range a.Tree.Leaf.Bound.Addr.Endpoints {
		all = append(all, e.Addr)
	}
	if a.Tree.Leaf.Bound.Addr.Stale {
		all = append(all, "stale")
	}
	return strings.Join(all, " ")
}

func TestWhatIsPublished(t *testing.T) {
	list := func(e ...*api.ServiceRegistration) answer { return answer{entries: e} }
	broken := answer{err: errors.New("500 no cluster leader")}
	a, b := inst("a", "10.0.0.1", 1), inst("b", "10.0.0.1", 2)
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
		{"known", []step{say(list(a), one), say(list(b, a), both), say(list(a), one)}},
		{"unknown is nothing", []step{say(list(), "~"), say(list(a), one)}},
		{"stopped is nothing at once", []step{say(list(a), one), say(list(), "~")}},
		{"an instance without a port is none", []step{say(list(inst("c", "10.0.0.1", 0), inst("d", "", 1)), "~")}},
		{"registered twice", []step{say(list(a, inst("z", "10.0.0.1", 1)), one)}},
		{"IPv6", []step{say(list(inst("c", "::1", 80)), "[::1]:80")}},
		{"error keeps the last good set", []step{say(list(a), one), say(broken, one+" stale"), pause(time.Hour, one+" stale"), say(list(a), one)}},
		{"error with nothing known is nothing", []step{say(broken, "~"), say(broken, "~"), say(list(a), one)}},
		{"error after nothing stays nothing", []step{say(list(), "~"), say(broken, "~")}},
		{"nomad lost its data: held", []step{say(list(a), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(b), "10.0.0.1:2"), say(list(), "~")}},
		{"nomad lost its data and nobody comes back", []step{say(list(a), one), say(broken, one+" stale"), say(list(), one+" stale"),
			pause(10*time.Second, one+" stale"), say(list(), one+" stale"), pause(6*time.Second, "~"), say(list(), "~")}},
		{"error while held stops the clock", []step{say(list(a), one), say(broken, one+" stale"), say(list(), one+" stale"),
			say(broken, one+" stale"), pause(time.Hour, one+" stale"), say(list(), one+" stale"), pause(14*time.Second, one+" stale"),
			pause(2*time.Second, "~")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(nil, Options{}, hclog.NewNullLogger(), nil)
				var last atomic.Value
				last.Store("pending")
				w := &follower{target: target{service: "web"}, logger: n.logger, metrics: n.metrics.follow(target{service: "web"}),
					hold: 15 * time.Second, publish: func(a namer.Answer) { last.Store(show(a)) }}
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

func TestMetaOfEndpoints(t *testing.T) {
	got := endpoints([]*api.ServiceRegistration{inst("a", "10.0.0.1", 1)})
	if want := "map[alloc:a-a dc:dc1 id:a job:site node:n1]"; len(got) != 1 || fmt.Sprint(got[0].Meta) != want || got[0].Weight != 1 {
		t.Errorf("got %+v, want %s", got, want)
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
		{plain, dtab.Path{"default", "web"}, "/default/web", "/", true},
		{plain, dtab.Path{"default", "Web", "x", "y"}, "/default/Web", "/x/y", true},
		{plain, dtab.Path{"default"}, "", "", false},
		{plain, nil, "", "", false},
		{plain, dtab.Path{"*", "web"}, "", "", false},
		{plain, dtab.Path{"default", ".."}, "", "", false},
		{plain, dtab.Path{"default", "we/b"}, "", "", false},
		{plain, dtab.Path{"default", "w\xffb"}, "", "", false},
		{plain, dtab.Path{"default", strings.Repeat("x", 129)}, "", "", false},
		{tagged, dtab.Path{"default", "v 1", "web", "x"}, `/default/\x76\x20\x31/web`, "/x", true},
		{tagged, dtab.Path{"default", "web"}, "", "", false},
	} {
		key, residual, ok := c.n.Split(c.name)
		if ok != c.ok || ok && (key.String() != c.key || residual.String() != c.residual) {
			t.Errorf("%q: got %v %v %v", c.name, key, residual, ok)
		}
	}
}

// Strangers' names must not become labels, and namers share a registry.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, b := New(nil, Options{}, hclog.NewNullLogger(), reg), New(nil, Options{}, hclog.NewNullLogger(), reg)
	known := a.metrics.follow(target{"default", "", "web"})
	known.answered(true)
	unknown := b.metrics.follow(target{"default", "", "whatever"})
	unknown.answered(false)
	unknown.failed()
	count := func() (all []string) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				all = append(all, f.GetName()+"/"+m.Label[0].GetValue()+"/"+m.Label[1].GetValue())
			}
		}
		return all
	}
	if got, want := fmt.Sprint(count()), "[argosy_nomad_answered_timestamp_seconds/default/web argosy_nomad_errors_total//]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	known.stop()
	if got := count(); len(got) != 1 {
		t.Errorf("after the watch: %v", got)
	}
}
