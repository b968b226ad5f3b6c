package agent

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namerd"
	"argosy/namerd/store"
)

// TestTableShift: a change of the stored table moves new connections at once and leaves the open ones; a table that
// goes away with its server stays in force.
func TestTableShift(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	tables := store.NewMemory(map[string]dtab.Dtab{"default": mustDtab("/svc/redis => /#/static/one")})
	server := namerd.NewServer(tables, namerd.Options{Logger: hclog.NewNullLogger(), Registry: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h := httptest.NewServer(server.Handler())
	defer h.Close()
	defer h.CloseClientConnections()

	cfg := baseConfig(map[string][]string{"one": {one.addr}, "two": {two.addr}})
	cfg.Dtab = config.Dtab{Namespace: "default", Namerd: &config.Namerd{Address: h.URL}}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	old, who := p.dial("redis")
	if who != "one" {
		t.Fatalf("%s answers", who)
	}
	began := time.Now()
	if err := tables.Put(ctx, "default", mustDtab("/svc/redis => /#/static/two")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new connections go to two", func() bool {
		c, who := p.dial("redis")
		defer c.Close()
		return who == "two"
	})
	t.Logf("the shift took %v", time.Since(began))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the shift took %v", took)
	}
	echo(t, old, "the old connection lives")

	staysWithout(t, p, cfg, h, "two")
}

// staysWithout checks that a reload of something else asks for nothing anew, and that connections go where they went when
// the server that names depend on is gone.
func staysWithout(t *testing.T, p *proxy, cfg *config.Config, h *httptest.Server, want string) {
	t.Helper()
	if err := p.agent.Reload(edited(cfg, func(c *config.Config) { c.Listeners[0].MaxConnections = 1000 })); err != nil {
		t.Fatal(err)
	}
	h.CloseClientConnections()
	h.Listener.Close()
	for range 5 {
		if _, who := p.dial("redis"); who != want {
			t.Errorf("without the server %s answers", who)
		}
	}
	if code, body := p.get("/health"); code != 200 {
		t.Errorf("health without the server: %s", body)
	}
}
