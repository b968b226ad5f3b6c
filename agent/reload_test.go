package agent

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer/mounts"
)

// edited is cfg with one thing changed; cfg stays as it is.
func edited(cfg *config.Config, edit func(*config.Config)) *config.Config {
	c := *cfg
	c.Listeners = append([]config.Listener(nil), cfg.Listeners...)
	c.Namers = append([]mounts.Namer(nil), cfg.Namers...)
	edit(&c)
	return &c
}

// TestReload: what a reload does to the sockets, to open connections, and to new ones.
func TestReload(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	services := map[string][]string{"one": {one.addr}, "two": {two.addr}}
	table := mustDtab("/svc/redis => /#/static/one; /svc/other => /#/static/two")
	moved := mustDtab("/svc/redis => /#/static/two")
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	spare := downAddress(t)

	cases := []struct {
		name   string
		edit   func(*config.Config)
		fails  string
		serves string // who answers afterwards on the listener redis; empty: nobody listens
		admin  bool   // the admin endpoint moves
	}{
		{name: "nothing", edit: func(*config.Config) {}, serves: "one"},
		{name: "table", edit: func(c *config.Config) { c.Dtab.Static = &moved }, serves: "two"},
		{name: "destination", edit: func(c *config.Config) { c.Listeners[0].Destination = dtab.MustParsePath("/svc/other") }, serves: "two"},
		{name: "local entries", edit: func(c *config.Config) { c.Dtab.Local = moved }, serves: "two"},
		{name: "namer", edit: func(c *config.Config) {
			c.Namers[0].Static = map[string][]string{"one": {two.addr}, "two": {two.addr}}
		}, serves: "two"},
		{name: "limit", edit: func(c *config.Config) { c.Listeners[0].MaxConnections = 100 }, serves: "one"},
		{name: "listener added", edit: func(c *config.Config) { c.Listeners = append(c.Listeners, listenerTo("more", "/svc/other")) }, serves: "one"},
		{name: "listener taken away", edit: func(c *config.Config) { c.Listeners = c.Listeners[1:] }},
		{name: "admin moved", edit: func(c *config.Config) { c.Admin.Address = "127.0.0.2:0" }, serves: "one", admin: true},
		{name: "port in use", fails: "address already in use", edit: func(c *config.Config) {
			l := listenerTo("more", "/svc/other")
			l.Address = occupied.Addr().String()
			c.Listeners = append(c.Listeners, l)
			c.Dtab.Static = &moved
		}, serves: "one"},
		{name: "admin port in use", fails: "address already in use", edit: func(c *config.Config) {
			c.Admin.Address = occupied.Addr().String()
			c.Dtab.Static = &moved
			l := listenerTo("more", "/svc/other")
			l.Address = spare
			c.Listeners = append(c.Listeners, l)
		}, serves: "one"},
		{name: "no such certificate", fails: "no such file", edit: func(c *config.Config) {
			c.Listeners = append(c.Listeners, listenerTo("more", "/svc/other"))
			c.Listeners[0].TLS = &config.ServerTLS{Certificates: []config.Certificate{{CertFile: "/does/not/exist", KeyFile: "/neither"}}}
			c.Dtab.Static = &moved
		}, serves: "one"},
		{name: "bad service", fails: "static", edit: func(c *config.Config) {
			c.Namers[0].Static = map[string][]string{"one": {"no address"}}
		}, serves: "one"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := baseConfig(services)
			cfg.Dtab.Static = &table
			cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis"), listenerTo("other", "/svc/other")}
			p := startAgent(t, cfg)
			open, who := p.dial("redis")
			if who != "one" {
				t.Fatalf("%s answers before the reload", who)
			}
			address, admin := p.address("redis"), p.agent.AdminAddress()
			goroutines, fds := settled(t)

			err := p.agent.Reload(edited(cfg, c.edit))
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("reload: %v", err)
				}
				p.expectMetric(`argosy_reloads_total{result="failed"}`, 1)
				eventually(t, fmt.Sprintf("nothing is left of it (%d goroutines, %d descriptors before)", goroutines, fds), func() bool {
					p.agent.AdminAddress()
					g, f := settled(t)
					return g <= goroutines+3 && f <= fds+2 // the request for metrics above keeps its connection
				})
				if l, err := net.Listen("tcp", spare); err != nil {
					t.Errorf("a socket is left: %v", err)
				} else {
					l.Close()
				}
				if p.metric(`argosy_connections_active{listener="more"}`) != -1 {
					t.Error("metrics of a listener that has never been")
				}
			} else {
				if err != nil {
					t.Fatalf("reload: %v", err)
				}
				p.expectMetric(`argosy_reloads_total{result="ok"}`, 1)
			}
			if moved := p.agent.AdminAddress() != admin; moved != c.admin {
				t.Errorf("admin endpoint went from %s to %s", admin, p.agent.AdminAddress())
			}
			echo(t, open, "the old connection lives")
			if c.serves == "" {
				if c, err := net.Dial("tcp", address); err == nil {
					c.Close()
					t.Error("the listener is still there")
				}
				p.expectMetric(`argosy_connections_active{listener="redis"}`, 1) // until the last connection ends
				open.Close()
				p.expectMetric(`argosy_connections_active{listener="redis"}`, -1)
				return
			}
			if p.address("redis") != address {
				t.Errorf("the socket moved from %s to %s", address, p.address("redis"))
			}
			if _, who := p.dial("redis"); who != c.serves {
				t.Errorf("%s answers, want %s", who, c.serves)
			}
			p.expectMetric(`argosy_connections_opened_total{listener="redis"}`, 2)
		})
	}
}

// TestRename: a socket follows its address to another listener.
func TestRename(t *testing.T) {
	one := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"one": {one.addr}})
	l := listenerTo("old", "/svc/one")
	l.Address = downAddress(t)
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	c, _ := p.dial("old")
	if err := p.agent.Reload(edited(cfg, func(c *config.Config) { c.Listeners[0].Name = "new" })); err != nil {
		t.Fatal(err)
	}
	p.dial("new")
	echo(t, c, "still here")
	p.expectMetric(`argosy_connections_active{listener="new"}`, 1)
	p.expectMetric(`argosy_connections_active{listener="old"}`, 1)
}

// TestReloadUnderLoad: no connection fails while the table is replaced again and again.
func TestReloadUnderLoad(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	cfg := baseConfig(map[string][]string{"one": {one.addr}, "two": {two.addr}})
	tables := []dtab.Dtab{mustDtab("/svc/redis => /#/static/one"), mustDtab("/svc/redis => /#/static/two")}
	cfg.Dtab.Static = &tables[0]
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := net.Dial("tcp", p.address("redis"))
			if err != nil {
				t.Error(err)
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			b := make([]byte, 4)
			if _, err := c.Read(b); err != nil {
				t.Errorf("a connection failed: %v", err)
			}
			c.Close()
		}
	}()
	for i := range 40 {
		if err := p.agent.Reload(edited(cfg, func(c *config.Config) { c.Dtab.Static = &tables[(i+1)%2] })); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
		if _, who := p.dial("redis"); who != []string{"two", "one"}[i%2] {
			t.Errorf("reload %d: %s answers", i, who)
		}
	}
	close(stop)
	<-done
}
