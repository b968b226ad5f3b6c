//go:build servers

package agent

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/internal/settings"
	"argosy/namer/consul"
	"argosy/namer/mounts"
	"argosy/namerd/store"
	consulstore "argosy/namerd/store/consul"
)

// consulConfig is a configuration that takes table, catalog and identity from Consul.
func consulConfig(c *consultest.Consul, connect bool) *config.Config {
	cfg := baseConfig(nil)
	cfg.Consul = settings.Consul{Address: c.URL(), Datacenter: "dc1"}
	cfg.Dtab = config.Dtab{Namespace: "default", Consul: &config.DtabConsul{PathPrefix: "namerd/dtabs"}}
	kind := consul.ConnectNever
	if connect {
		kind = consul.ConnectAlways
	}
	cfg.Namers = []mounts.Namer{{
		Kind: "io.l5d.consul", Prefix: dtab.MustParsePath("/#/io.l5d.consul"),
		Consul: &mounts.Consul{Options: consul.Options{UseHealth: true, PreferService: true, Connect: kind}},
	}}
	cfg.Register = &config.Register{
		Tags: []string{"v1"}, Meta: map[string]string{"team": "data"}, Check: "ttl",
		CheckInterval: time.Second, CheckTimeout: time.Second, DeregisterAfter: time.Minute,
	}
	return cfg
}

func addService(t *testing.T, c *consultest.Consul, b *backend) {
	t.Helper()
	host, port, _ := net.SplitHostPort(b.addr)
	n, _ := strconv.Atoi(port)
	c.Register(t, &api.AgentServiceRegistration{ID: b.name, Name: b.name, Address: host, Port: n})
}

// TestOnConsul: two agents, one behind the other, with everything from a real Consul: table, catalog, mutual TLS,
// registration, and all of it changing while connections flow.
func TestOnConsul(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Keep: true})
	one, two := startBackend(t, "redis1"), startBackend(t, "redis2")
	addService(t, c, one)
	addService(t, c, two)
	tables := consulstore.New(c.Client, "namerd/dtabs", hclog.NewNullLogger())
	put := func(text string) {
		t.Helper()
		if err := tables.Put(context.Background(), "default", mustDtab(text)); err != nil {
			t.Fatal(err)
		}
	}
	var _ store.Store = tables
	put("/svc => /#/io.l5d.consul/dc1; /svc/redis => /#/io.l5d.consul/dc1/redis1")

	cfg := consulConfig(c, false)
	l := listenerTo("redis", "/svc/redis")
	l.TLS = &config.ServerTLS{Connect: "fleet"}
	l.Register = &config.ListenerEntry{Service: "fleet", Native: true}
	l.Deny = config.Deny{Action: config.DenyDrain, Grace: patience, Rate: 1000} // web is allowed again before that
	cfg.Listeners = []config.Listener{l}
	cfg.Drain = config.Drain{Propagation: time.Second, Timeout: 5 * time.Second}
	fleet := startAgent(t, cfg)
	var entry *api.ServiceEntry
	eventually(t, "the fleet agent is in the catalog", func() bool {
		all, _, err := c.Client.Health().Service("fleet", "", true, nil)
		if err != nil || len(all) != 1 {
			return false
		}
		entry = all[0]
		return true
	})
	s := entry.Service
	if !strings.HasPrefix(s.ID, "fleet-") || s.Meta["version"] != "test" || s.Meta["admin"] != fleet.agent.AdminAddress() ||
		s.Meta["routes"] != "redis=/svc/redis" || s.Meta["team"] != "data" || !slices.Equal(s.Tags, []string{"v1"}) ||
		net.JoinHostPort(s.Address, fmt.Sprint(s.Port)) != fleet.address("redis") {
		t.Errorf("registered as %+v", s)
	}

	in := consulConfig(c, true)
	in.Register = nil
	il := listenerTo("in", "/svc/fleet")
	in.Listeners = []config.Listener{il}
	in.Clients = []config.Client{{
		Prefix: dtab.MustParsePrefix("/#/io.l5d.consul/dc1/fleet"), ConnectTimeout: 5 * time.Second, Retries: 1,
		TLS: &config.ClientTLS{Connect: "web"},
	}}
	entryAgent := startAgent(t, in)
	conn, who := entryAgent.dial("in")
	if who != "redis1" {
		t.Errorf("%s answers", who)
	}
	echo(t, conn, "through Connect")
	if _, body := fleet.get("/v1/connections"); !strings.Contains(body, `"peer": "web"`) {
		t.Errorf("the fleet does not know its client: %s", body)
	}

	t.Run("shift", func(t *testing.T) {
		began := time.Now()
		put("/svc => /#/io.l5d.consul/dc1; /svc/redis => /#/io.l5d.consul/dc1/redis2")
		eventually(t, "new connections go to redis2", func() bool {
			c, who := entryAgent.dial("in")
			defer c.Close()
			return who == "redis2"
		})
		t.Logf("the shift took %v", time.Since(began))
		echo(t, conn, "the old connection lives")
	})

	t.Run("intention", func(t *testing.T) {
		deny := &api.ServiceIntentionsConfigEntry{
			Kind: api.ServiceIntentions, Name: "fleet",
			Sources: []*api.SourceIntention{{Name: "web", Action: api.IntentionActionDeny}},
		}
		if _, _, err := c.Client.ConfigEntries().Set(deny, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "web is denied", func() bool {
			c, err := net.Dial("tcp", entryAgent.address("in"))
			if err != nil {
				return false
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			return err != nil
		})
		if fleet.metric(`argosy_connections_closed_total{listener="redis",outcome="denied"}`) < 1 ||
			entryAgent.metric(`argosy_connections_closed_total{listener="in",outcome="denied"}`) < 1 {
			t.Error("the refusal has no outcome denied on both sides")
		}
		if _, err := c.Client.ConfigEntries().Delete(api.ServiceIntentions, "fleet", nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "web is allowed again", func() bool {
			c, err := net.Dial("tcp", entryAgent.address("in"))
			if err != nil {
				return false
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			return err == nil
		})
	})

	t.Run("outage", func(t *testing.T) {
		c.MustRestart(t)
		for range 10 {
			conn, who := entryAgent.dial("in")
			if who != "redis2" {
				t.Errorf("%s answers", who)
			}
			conn.Close()
			time.Sleep(20 * time.Millisecond)
		}
		echo(t, conn, "through the restart")
		put("/svc => /#/io.l5d.consul/dc1; /svc/redis => /#/io.l5d.consul/dc1/redis1")
		eventually(t, "changes are followed again", func() bool {
			c, who := entryAgent.dial("in")
			defer c.Close()
			return who == "redis1"
		})
	})

	t.Run("leave", func(t *testing.T) {
		fleet.leave()
		began := time.Now()
		eventually(t, "nobody is sent to the fleet agent", func() bool {
			all, _, err := c.Client.Health().Service("fleet", "", true, nil)
			return err == nil && len(all) == 0
		})
		if took := time.Since(began); took < cfg.Drain.Propagation {
			raw, err := net.Dial("tcp", fleet.address("redis")) // still accepting
			if err != nil {
				t.Errorf("%v after it began to leave: %v", took, err)
			} else {
				raw.Close()
			}
		}
		all, _, err := c.Client.Health().Service("fleet", "", false, nil)
		if err != nil || len(all) != 1 || all[0].Checks.AggregatedStatus() != api.HealthCritical {
			t.Errorf("while it drains: %+v, %v", all, err)
		}
		conn.Close()
		fleet.wait()
		if all, _, err := c.Client.Catalog().Service("fleet", "", nil); err != nil || len(all) != 0 {
			t.Errorf("it is left in the catalog: %+v, %v", all, err)
		}
	})
}
