package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"argosy/agent/balance"
	"argosy/agent/config"
	"argosy/agent/socket"
	"argosy/dtab"
)

// clientBlock is a client block for everything, changed by change.
func clientBlock(change func(*config.Client)) []config.Client {
	prefix, err := dtab.ParsePrefix("/")
	if err != nil {
		panic(err)
	}
	c := config.DefaultClient()
	c.Prefix, c.Socket = prefix, socket.Options{}
	change(&c)
	return []config.Client{c}
}

// serveEach runs handle for each connection to addr.
func serveEach(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// TestResetsEject: an endpoint that accepts and resets is taken out, and shown as such.
func TestResetsEject(t *testing.T) {
	good := startBackend(t, "good")
	bad := serveEach(t, func(c net.Conn) {
		c.Read(make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
	})
	cfg := baseConfig(map[string][]string{"redis": {bad, good.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.Clients = clientBlock(func(c *config.Client) {
		c.Ejection.Resets, c.Ejection.Time, c.Ejection.MaxTime = 3, time.Hour, time.Hour
	})
	p := startAgent(t, cfg)
	eventually(t, "it is ejected", func() bool {
		c, err := net.Dial("tcp", p.address("redis"))
		if err != nil {
			return false
		}
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("x"))
		c.Read(make([]byte, 1))
		c.Close()
		return p.metric(`argosy_endpoints_ejected{cluster="/#/static/redis",destination="/svc/redis"}`) == 1
	})
	p.expectMetric(`argosy_endpoint_ejections_total{cluster="/#/static/redis",destination="/svc/redis",reason="reset"}`, 1)
	for range 20 {
		if _, who := p.dial("redis"); who != "good" {
			t.Fatalf("%q answers", who)
		}
	}
	for _, e := range p.agent.names.find(dtab.MustParsePath("/svc/redis")).balancer.State()[0].Endpoints {
		if (e.Address == bad) != (e.State == balance.Ejected) {
			t.Errorf("%s is %s", e.Address, e.State)
		}
	}
}

// TestClusterLimit: connections above a cluster's limit are refused, or wait for a place.
func TestClusterLimit(t *testing.T) {
	b := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"redis": {b.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.Listeners[0].ConnectTimeout = patience
	cfg.Clients = clientBlock(func(c *config.Client) { c.MaxConnections = 2 })
	p := startAgent(t, cfg)
	first, _ := p.dial("redis")
	p.dial("redis")
	p.refusal("redis")
	p.expectClosed("redis", "limit", 1)

	queue := edited(cfg, func(c *config.Config) {
		c.Clients = clientBlock(func(c *config.Client) { c.MaxConnections, c.AtLimit = 2, config.Queue })
	})
	if err := p.agent.Reload(queue); err != nil {
		t.Fatal(err)
	}
	third, err := net.Dial("tcp", p.address("redis"))
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := third.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the third of two does not wait: %v", err)
	}
	eventually(t, "it waits", func() bool {
		return p.agent.names.find(dtab.MustParsePath("/svc/redis")).balancer.State()[0].Waiting == 1
	})
	first.Close()
	third.SetReadDeadline(time.Now().Add(patience))
	if who := greeting(t, third); who != "one" {
		t.Errorf("%q answers", who)
	}
	if n := b.open.Load(); n > 2 {
		t.Errorf("%d are open", n)
	}
}

// TestConnectionsMove: after endpoints have gone and come, connections are ended as the client block says.
func TestConnectionsMove(t *testing.T) {
	for _, goroutines := range []bool{false, true} {
		a, b := startBackend(t, "a"), startBackend(t, "b")
		cfg := baseConfig(map[string][]string{"redis": {a.addr}})
		cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
		if goroutines {
			cfg.Relay.Engine = "goroutines"
		}
		cfg.Clients = clientBlock(func(c *config.Client) {
			c.Rebalance = &config.Rebalance{Rate: 100}
			c.Removed = config.Removed{Action: config.ActionCut, Rate: 100}
		})
		p := startAgent(t, cfg)
		for range 10 {
			p.dial("redis")
		}
		serve := func(addrs ...string) {
			t.Helper()
			if err := p.agent.Reload(edited(cfg, func(c *config.Config) {
				c.Namers[0].Static = map[string][]string{"redis": addrs}
			})); err != nil {
				t.Fatal(err)
			}
		}
		serve(a.addr, b.addr)
		p.expectClosed("redis", "drained", 5)
		eventually(t, "the excess has gone", func() bool { return a.open.Load() == 5 })
		for range 5 {
			if _, who := p.dial("redis"); who != "b" {
				t.Errorf("%q answers", who)
			}
		}
		p.expectClosed("redis", "drained", 5)
		serve(b.addr)
		p.expectClosed("redis", "drained", 10)
		if a.open.Load() != 0 || b.open.Load() != 5 {
			t.Errorf("%d and %d are open", a.open.Load(), b.open.Load())
		}
		p.leave()
		p.agent.Cut()
		p.wait()
	}
}
