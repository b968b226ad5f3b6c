//go:build servers

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// redisHCL is an agent that leads /svc/redis wherever the table in Consul says.
func redisHCL(s *stack.Stack, listen string) string {
	return fmt.Sprintf(`
name = "proxy"
consul {
  address = %q
}
dtab {
  consul {}
}
namer "io.l5d.consul" {}
listener "in" {
  address     = %q
  destination = "/svc/redis"
}
`, s.Consul.Addr, listen)
}

// TestDtabUpdateShiftsAllTraffic moves all new connections from one Redis to another with one command, while
// redis-benchmark runs, and no command fails.
func TestDtabUpdateShiftsAllTraffic(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	startRedis(t, s, "redis1")
	startRedis(t, s, "redis2")
	const first = "/cluster => /#/io.l5d.consul/.local ; /svc/redis => /cluster/redis1"
	const second = "/cluster => /#/io.l5d.consul/.local ; /svc/redis => /cluster/redis2"

	// Through namerd's API; the agent watches Consul itself.
	namerd := startNamerd(t, s)
	run(t, s, "dtab", "create", "-addr", namerd, "default", "-dtab", first)
	listen := s.Addr()
	a := startAgent(t, s, "agent", redisHCL(s, listen))
	within(t, "redis1 answers", func(ctx context.Context) error { return redisIs(ctx, listen, "redis1") })

	load := startBenchmark(t, s, listen)
	within(t, "there is load", func(context.Context) error {
		if load.done() < 4000 {
			return fmt.Errorf("%d commands", load.done())
		}
		return nil
	})
	before := load.done()
	run(t, s, "dtab", "update", "-addr", namerd, "default", "-dtab", second)
	took := within(t, "redis2 answers", func(ctx context.Context) error { return redisIs(ctx, listen, "redis2") })

	// From now on redis1 gets no connection any more.
	opened := func(cluster string) float64 {
		v, err := a.metric(t.Context(), "argosy_cluster_connections_opened_total", `/`+cluster+`"`)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	one, two := opened("redis1"), opened("redis2")
	after := load.done()
	within(t, "the load goes on", func(context.Context) error {
		if load.done() < after+8000 {
			return fmt.Errorf("%d commands", load.done()-after)
		}
		return nil
	})
	if v := opened("redis1"); v != one {
		t.Errorf("redis1 got %v connections after the change", v-one)
	}
	if v := opened("redis2"); v < two+1000 {
		t.Errorf("redis2 got only %v connections", v-two)
	}
	total := load.finish(t)
	t.Logf("%d commands before and %d after the change, which took effect %s after the command", before, total-before, took.Round(time.Millisecond))
}

// TestWeightsSplitConnections: 90 % and 10 % are shares of connections.
func TestWeightsSplitConnections(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	for _, name := range []string{"web1", "web2"} {
		register(t, s, name, name, startNamed(t, name).Addr, nil)
	}
	putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => 0.9 * /c/web1 & 0.1 * /c/web2")
	listen := s.Addr()
	startAgent(t, s, "agent", redisHCL(s, listen))
	const n, p = 2000, 0.1
	got := whoAnswers(t, listen, n)
	// Five standard deviations: by chance once in two million runs.
	slack := 5 * math.Sqrt(n*p*(1-p))
	t.Logf("of %d connections %d went to the 10%% leg, expected %.0f ± %.0f", n, got["web2"], n*p, slack)
	if d := float64(got["web2"]) - n*p; math.Abs(d) > slack || got["web1"]+got["web2"] != n {
		t.Errorf("connections went to %v", got)
	}
}

// TestFailingEndpointLeavesAndComesBack follows a health check both ways.
func TestFailingEndpointLeavesAndComesBack(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	var sick atomic.Bool
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(health.Close)
	one, two := startNamed(t, "web1"), startNamed(t, "web2")
	check := func(url string) map[string]any {
		return map[string]any{"Check": map[string]any{"HTTP": url, "Interval": "200ms", "Timeout": "1s", "Status": "passing"}}
	}
	ok := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(ok.Close)
	register(t, s, "web1", "web", one.Addr, check(health.URL))
	register(t, s, "web2", "web", two.Addr, check(ok.URL))
	putDtab(t, s, "default", "/svc/redis => /#/io.l5d.consul/.local/web")
	listen := s.Addr()
	startAgent(t, s, "agent", redisHCL(s, listen))

	both := func(context.Context) error {
		got := whoAnswers(t, listen, 40)
		if got["web1"] == 0 || got["web2"] == 0 {
			return fmt.Errorf("connections went to %v", got)
		}
		return nil
	}
	within(t, "both get connections", both)
	// One connection on each, so that they are equally loaded and the choice between them is a matter of chance.
	old, err := dialTo(t, listen, "web1")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	other, err := dialTo(t, listen, "web2")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	sick.Store(true)
	took := within(t, "the failing one gets none", func(context.Context) error {
		if got := whoAnswers(t, listen, 20); got["web1"] > 0 {
			return fmt.Errorf("connections went to %v", got)
		}
		return nil
	})
	t.Logf("left within %s", took.Round(time.Millisecond))
	if got := whoAnswers(t, listen, 100); got["web1"] > 0 {
		t.Errorf("it came back while failing: %v", got)
	}
	if err := old.echo("still here"); err != nil {
		t.Errorf("a connection from before has been cut: %v", err)
	}
	sick.Store(false)
	took = within(t, "it gets connections again", both)
	t.Logf("came back within %s", took.Round(time.Millisecond))
}

// dialTo connects until the server of that name is at the other end.
func dialTo(t *testing.T, addr, name string) (*client, error) {
	for range 200 {
		c, err := dialNamed(t.Context(), addr)
		if err != nil || c.Name == name {
			return c, err
		}
		c.Close()
	}
	return nil, fmt.Errorf("200 connections, and none reached %s", name)
}

// startNamerd starts namerd on Consul's KV store and returns its address.
func startNamerd(t *testing.T, s *stack.Stack) string {
	t.Helper()
	addr := s.Addr()
	file := s.Path("namerd.hcl")
	writeFile(t, file, fmt.Sprintf("http {\n  address = %q\n}\nconsul {\n  address = %q\n}\nstore \"consul\" {}\nnamer \"io.l5d.consul\" {}\n", addr, s.Consul.Addr))
	p, err := s.Go("namerd", stack.Binary(t), []string{"namerd", "-config", file})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + addr
	within(t, "namerd answers", func(ctx context.Context) error {
		select {
		case <-p.Done():
			return fmt.Errorf("namerd has ended:\n%s", p.Output())
		default:
		}
		code, _, err := get(ctx, url+"/api/1/dtabs")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	return url
}
