//go:build servers

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/consultest"
)

// allowOnly lets one source into a destination, and nobody else.
func allowOnly(t *testing.T, c *consultest.Consul, destination, source string) {
	t.Helper()
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: destination, Sources: []*api.SourceIntention{
		{Name: source, Action: api.IntentionActionAllow}, {Name: "*", Action: api.IntentionActionDeny},
	}}
	consultest.Eventually(t, 10*time.Second, func() error {
		_, _, err := c.Client.ConfigEntries().Set(e, nil)
		return err
	})
}

// TestManyIdentities: one agent that accepts as two services and dials as two others, each with its own certificate and
// intentions, first from Consul's agent, then, after a reload under a connection, from Consul's servers.
func TestManyIdentities(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	for destination, source := range map[string]string{"db1": "web", "db2": "api"} {
		allowOnly(t, c, destination, source)
	}
	inner := consulConfig(c, false)
	inner.Namers = nil
	inner.Dtab = config.Dtab{Namespace: "default", Static: new(mustDtab("/svc => /$/inet/127.1"))}
	for _, name := range []string{"db1", "db2"} {
		b := startBackend(t, name)
		l := listenerTo(name, "/svc/"+b.addr[strings.LastIndexByte(b.addr, ':')+1:])
		l.TLS = &config.ServerTLS{Connect: name}
		l.Register = &config.ListenerEntry{Service: name, Native: true}
		inner.Listeners = append(inner.Listeners, l)
	}
	behind := startAgent(t, inner)

	outer := consulConfig(c, true)
	outer.Register = nil
	outer.Dtab = config.Dtab{Namespace: "default", Static: new(mustDtab(
		"/svc => /#/io.l5d.consul/dc1; /as/web => /svc; /as/api => /svc"))}
	for _, as := range []string{"web", "api"} {
		for _, to := range []string{"db1", "db2"} {
			outer.Listeners = append(outer.Listeners, listenerTo(as+"-"+to, "/as/"+as+"/"+to))
		}
		outer.Clients = append(outer.Clients, config.Client{
			Prefix: dtab.MustParsePrefix("/as/" + as), ConnectTimeout: 5 * time.Second, TLS: &config.ClientTLS{Connect: as},
		})
	}
	front := startAgent(t, outer)
	check := func() {
		t.Helper()
		for _, allowed := range []string{"web-db1", "api-db2"} {
			as, to, _ := strings.Cut(allowed, "-")
			conn, who := front.dial(allowed)
			if who != to {
				t.Errorf("%s answers to %s", who, allowed)
			}
			if _, body := behind.get("/v1/connections"); !strings.Contains(body, fmt.Sprintf(`"peer": %q`, as)) {
				t.Errorf("%s: the other side does not know its client: %s", allowed, body)
			}
			conn.Close()
		}
		front.refusal("web-db2")
		front.refusal("api-db1")
	}
	eventually(t, "both are in the catalog", func() bool {
		for _, name := range []string{"db1", "db2"} {
			all, _, err := c.Client.Health().Connect(name, "", true, nil)
			if err != nil || len(all) != 1 {
				return false
			}
		}
		return true
	})
	check()

	conn, _ := front.dial("web-db1")
	for _, p := range []struct {
		*proxy
		cfg *config.Config
	}{{behind, inner}, {front, outer}} {
		reload := func(address string) {
			t.Helper()
			next := *p.cfg
			next.Connect = config.Connect{Source: config.FromServers, Address: address}
			if err := p.agent.Reload(&next); err != nil {
				t.Fatal(err)
			}
			if h := p.agent.Health(); h.Status != "ok" {
				t.Errorf("after the reload: %+v", h)
			}
		}
		services := []string{"db1", "db2"}
		if p.proxy == front {
			services = []string{"web", "api"}
		}
		total := func(series string) (sum float64) {
			for _, s := range services {
				sum += max(p.metric(fmt.Sprintf(series, s)), 0)
			}
			return sum
		}
		// Where nobody signs, what is known stays in use.
		reload(downAddress(t))
		eventually(t, "errors are counted", func() bool { return total(`argosy_identity_errors_total{request="roots",service=%q}`) >= 2 })
		check()
		reload(c.GRPCAddr)
		check()
		eventually(t, "there are new certificates", func() bool { return total(`argosy_identity_rotations_total{service=%q,what="leaf"}`) == 2 })
		check()
	}
	echo(t, conn, "through the reload")
	for _, series := range []string{"argosy_identity_roots", "argosy_identity_root_expiry_timestamp_seconds",
		"argosy_identity_certificate_expiry_timestamp_seconds"} {
		for service, p := range map[string]*proxy{"web": front, "api": front, "db1": behind, "db2": behind} {
			if v := p.metric(fmt.Sprintf("%s{service=%q}", series, service)); v < 1 {
				t.Errorf("%s of %s is %v", series, service, v)
			}
		}
	}
}
