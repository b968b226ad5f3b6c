package agent

import (
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer/mounts"
)

// TestNowhereToGo: each way of having no endpoint has its word.
func TestNowhereToGo(t *testing.T) {
	cfg := baseConfig(map[string][]string{"none": {}, "down": {downAddress(t), downAddress(t)}})
	for name, destination := range map[string]string{
		"no_route": "/nowhere/at/all", "empty": "/svc/none", "dial": "/svc/down", "unknown": "/svc/unknown",
	} {
		cfg.Listeners = append(cfg.Listeners, listenerTo(name, destination))
	}
	p := startAgent(t, cfg)
	for listener, outcome := range map[string]string{"no_route": "no_route", "empty": "empty", "dial": "dial", "unknown": "no_route"} {
		p.refusal(listener)
		p.expectClosed(listener, outcome, 1)
		p.expectMetric(fmt.Sprintf("argosy_connections_active{listener=%q}", listener), 0)
	}
	p.expectMetric(`argosy_dial_failures_total{cluster="/#/static/down",destination="/svc/down",reason="refused"}`, 2)
}

// TestPendingTimeout: while it is not known what a name stands for, connections wait, but not for ever.
func TestPendingTimeout(t *testing.T) {
	cfg := baseConfig(nil)
	dead := "http://" + downAddress(t)
	cfg.Dtab = config.Dtab{Namespace: "default", Namerd: &config.Namerd{Address: dead}}
	l := listenerTo("redis", "/svc/redis")
	l.ConnectTimeout = 200 * time.Millisecond
	cfg.Listeners = []config.Listener{l}
	p := startUnready(t, cfg)
	began := time.Now()
	c, err := net.Dial("tcp", p.address("redis"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.expectMetric(`argosy_connections_waiting{listener="redis"}`, 1)
	p.expectClosed("redis", "pending_timeout", 1)
	if took := time.Since(began); took < l.ConnectTimeout {
		t.Errorf("gave up after %v", took)
	}
	p.expectMetric(`argosy_connections_waiting{listener="redis"}`, 0)
	if code, body := p.get("/health"); code != 503 || len(decode[Health](t, body).Reasons) != 1 {
		t.Errorf("health without a table: %d %s", code, body)
	}
}

// TestRetryElsewhere: endpoints that refuse cost a connection nothing but time.
func TestRetryElsewhere(t *testing.T) {
	up := startBackend(t, "up")
	cfg := baseConfig(map[string][]string{"redis": {downAddress(t), up.addr, downAddress(t)}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	for range 30 {
		c, who := p.dial("redis")
		if who != "up" {
			t.Errorf("%s answers", who)
		}
		c.Close()
	}
	p.expectClosed("redis", "dial", 0)
}

// TestWeights: 90/10 is by connections, whatever the number of endpoints.
func TestWeights(t *testing.T) {
	main := startBackend(t, "main")
	services := map[string][]string{"main": {main.addr}}
	for i := range 50 { // fifty addresses that one server answers
		canary := startBackend(t, "canary")
		services["canary"] = append(services["canary"], canary.addr)
		_ = i
	}
	cfg := baseConfig(services)
	table := mustDtab("/svc/redis => 9 * /#/static/main & 1 * /#/static/canary")
	cfg.Dtab.Static = &table
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	const n = 1500
	for range n {
		c, _ := p.dial("redis")
		c.Close()
	}
	got := float64(main.accepted.Load())
	if mean, sd := n*0.9, math.Sqrt(n*0.9*0.1); math.Abs(got-mean) > 5*sd {
		t.Errorf("of %d connections %v went to the cluster of one, want %v", n, got, mean)
	}
}

// TestCatalogChange: endpoints that come and go are followed at once, and open connections are left alone.
func TestCatalogChange(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	dir := t.TempDir()
	put := func(b *backend) {
		host, port, _ := net.SplitHostPort(b.addr)
		tmp := filepath.Join(t.TempDir(), "redis")
		if err := os.WriteFile(tmp, []byte(host+" "+port+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "redis")); err != nil {
			t.Fatal(err)
		}
	}
	put(one)
	cfg := baseConfig(nil)
	cfg.Namers = []mounts.Namer{{Kind: "io.l5d.fs", Prefix: dtab.MustParsePath("/#/static"), FS: &mounts.FS{RootDir: dir}}}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	c, who := p.dial("redis")
	if who != "one" {
		t.Fatalf("%s answers", who)
	}
	put(two)
	eventually(t, "new connections go to two", func() bool {
		c, who := p.dial("redis")
		defer c.Close()
		return who == "two"
	})
	echo(t, c, "still here")
	_, body := p.get("/v1/connections")
	if live := decode[[]ConnectionInfo](t, body); len(live) == 0 || !live[0].Draining {
		t.Errorf("the endpoint of an old connection is not draining: %s", body)
	}
	_, body = p.get("/v1/routes")
	states := map[string]string{}
	for _, e := range decode[RoutesInfo](t, body).Destinations[0].Clusters[0].Endpoints {
		states[e.Address] = string(e.State)
	}
	if states[one.addr] != "draining" || states[two.addr] != "active" {
		t.Errorf("states %v", states)
	}
	if err := os.Remove(filepath.Join(dir, "redis")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the name is nothing", func() bool {
		return len(p.agent.names.all()[0].binding.Value().Clusters) == 0
	})
	p.refusal("redis")
	p.expectClosed("redis", "no_route", 1)
	echo(t, c, "still")
}

func TestLimit(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	l := listenerTo("redis", "/svc/redis")
	l.MaxConnections = 3
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	var open []net.Conn
	for range 3 {
		c, _ := p.dial("redis")
		open = append(open, c)
	}
	for range 5 {
		p.refusal("redis")
	}
	p.expectClosed("redis", "limit", 5)
	p.expectMetric(`argosy_connections_active{listener="redis"}`, 3)
	echo(t, open[0], "not touched")
	open[1].Close()
	p.expectClosed("redis", "ok", 1)
	c, _ := p.dial("redis")
	echo(t, c, "a place is free")
}

func TestIdle(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	l := listenerTo("redis", "/svc/redis")
	l.Timeouts.Idle = 100 * time.Millisecond
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	p.dial("redis")
	p.expectClosed("redis", "idle", 1)
}

// TestOnEmpty: an alternative without endpoints gives way to the next, unless the configuration says otherwise.
func TestOnEmpty(t *testing.T) {
	redis := startBackend(t, "redis1")
	for _, stops := range []bool{false, true} {
		cfg := baseConfig(map[string][]string{"none": {}, "redis": {redis.addr}})
		table := mustDtab("/svc => /#/static/none | /#/static/redis")
		cfg.Dtab.Static, cfg.Dtab.EmptyStops = &table, stops
		cfg.Listeners = []config.Listener{listenerTo("redis", "/svc")}
		p := startAgent(t, cfg)
		if stops {
			p.refusal("redis")
			p.expectClosed("redis", "empty", 1)
		} else if _, who := p.dial("redis"); who != "redis1" {
			t.Errorf("%s answers", who)
		}
	}
}

// TestAlternativeTimeout: a Consul that accepts and never answers does not hang what has another place to go.
func TestAlternativeTimeout(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	redis := startBackend(t, "redis1")
	for _, timeout := range []time.Duration{100 * time.Millisecond, 0} {
		cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
		table := mustDtab("/svc => /#/io.l5d.consul/dc2/redis | /#/static/redis")
		cfg.Dtab.Static, cfg.Dtab.AlternativeTimeout = &table, timeout
		cfg.Consul.Address, cfg.Consul.Timeout = dead.Addr().String(), time.Minute
		cfg.Namers = append(cfg.Namers, mounts.Namer{Kind: mounts.KindConsul, Prefix: dtab.MustParsePath("/#/io.l5d.consul"), Consul: &mounts.Consul{}})
		l := listenerTo("redis", "/svc")
		if timeout == 0 {
			l.ConnectTimeout = 300 * time.Millisecond
		}
		cfg.Listeners = []config.Listener{l}
		p := startUnready(t, cfg)
		if timeout == 0 {
			p.refusal("redis")
			p.expectClosed("redis", "pending_timeout", 1)
		} else if _, who := p.dial("redis"); who != "redis1" {
			t.Errorf("%s answers", who)
		}
	}
}
