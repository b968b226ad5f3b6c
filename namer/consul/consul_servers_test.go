//go:build servers

package consul

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namer"
)

// watching is a running watch, whose newest answer can be asked for.
type watching struct {
	mu      sync.Mutex
	last    string
	id      string
	history []string
}

func follow(t *testing.T, client *api.Client, o Options, path string) *watching {
	t.Helper()
	logger := hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Info})
	n := New(client, o, logger, nil)
	key, _, ok := n.Split(dtab.MustParsePath(path))
	if !ok {
		t.Fatalf("%s is not split", path)
	}
	w := &watching{last: "pending"}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		n.Watch(ctx, dtab.Path{"#", "io.l5d.consul"}, key, func(a namer.Answer) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last = show(a)
			if b := a.Tree.Leaf.Bound; b != nil && a.Tree.Kind == dtab.Leaf {
				w.id = b.ID.String()
			}
			if len(w.history) == 0 || w.history[len(w.history)-1] != w.last {
				w.history = append(w.history, w.last)
			}
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func (w *watching) expect(t *testing.T, want string) {
	t.Helper()
	consultest.Eventually(t, 20*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.last != want {
			return fmt.Errorf("got %q, want %q; so far %q", w.last, want, w.history)
		}
		return nil
	})
}

// await is expect, to the moment.
func (w *watching) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if last == want {
			return
		}
	}
	t.Fatalf("no %q within 20s", want)
}

func service(name, id string, port int) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{ID: id, Name: name, Port: port, Address: "127.0.0.9",
		Check: &api.AgentServiceCheck{CheckID: "ttl-" + id, TTL: "1h", Status: "passing"}}
}

var usual = Options{UseHealth: true, PreferService: true, HoldEmpty: 2 * time.Second}

func TestRealServices(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	dc1 := follow(t, c.Client, usual, "/dc1/Web/rest")
	own := follow(t, c.Client, usual, "/.local/web")
	tag := follow(t, c.Client, Options{UseHealth: true, IncludeTag: true}, "/dc1/V2/web")
	nowhere := follow(t, c.Client, usual, "/dc9/web")
	all := follow(t, c.Client, Options{}, "/dc1/web")
	for _, w := range []*watching{dc1, own, tag, nowhere, all} {
		w.expect(t, "~")
	}

	c.Register(t, service("web", "web1", 1))
	dc1.expect(t, "127.0.0.9:1")
	own.expect(t, "127.0.0.9:1")
	all.expect(t, "127.0.0.1:1")
	if dc1.id != "/#/io.l5d.consul/dc1/Web" || own.id != "/#/io.l5d.consul/.local/web" {
		t.Errorf("ids %s and %s", dc1.id, own.id)
	}
	two := service("web", "web2", 2)
	two.Tags, two.Weights = []string{"v2"}, &api.AgentWeights{Passing: 3, Warning: 1}
	c.Register(t, two)
	dc1.expect(t, "127.0.0.9:1 127.0.0.9:2*3")
	tag.expect(t, "127.0.0.1:2*3")

	c.SetTTL(t, "ttl-web1", "critical")
	dc1.expect(t, "127.0.0.9:2*3")
	all.expect(t, "127.0.0.1:1 127.0.0.1:2*3")
	c.SetTTL(t, "ttl-web1", "passing")
	dc1.expect(t, "127.0.0.9:1 127.0.0.9:2*3")
	c.SetTTL(t, "ttl-web1", "warning")
	dc1.expect(t, "127.0.0.9:2*3")
	if err := c.Client.Agent().EnableServiceMaintenance("web2", "test"); err != nil {
		t.Fatal(err)
	}
	dc1.expect(t, "127.0.0.9:2*3 stale")
	dc1.expect(t, "~") // after HoldEmpty
	if err := c.Client.Agent().DisableServiceMaintenance("web2"); err != nil {
		t.Fatal(err)
	}
	dc1.expect(t, "127.0.0.9:2*3")

	c.Deregister(t, "web2")
	c.Deregister(t, "web1")
	own.expect(t, "~")
	nowhere.expect(t, "~")
}

// The last of the instances goes: alternatives apply at once, with no time of holding.
func TestRealServiceStops(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.HoldEmpty = time.Hour
	w := follow(t, c.Client, o, "/dc1/web")
	c.Register(t, service("web", "web1", 1))
	w.expect(t, "127.0.0.9:1")
	c.Deregister(t, "web1")
	w.expect(t, "~")
}

func TestRealConnectEndpoints(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.Connect = ConnectAlways
	web := follow(t, c.Client, o, "/dc1/web")
	db := follow(t, c.Client, o, "/dc1/db")
	c.Register(t, service("web", "plain", 1))
	native := service("web", "native", 2)
	native.Connect = &api.AgentServiceConnect{Native: true}
	c.Register(t, native)
	web.expect(t, "127.0.0.9:2@dc1/web")
	c.Register(t, service("db", "db1", 3))
	c.Register(t, &api.AgentServiceRegistration{Kind: api.ServiceKindConnectProxy, ID: "px", Name: "db-sidecar-proxy", Port: 4, Address: "127.0.0.9",
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "db", DestinationServiceID: "db1"}})
	db.expect(t, "127.0.0.9:4@dc1/db")
}

func TestRealConsulIsKilled(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			c := consultest.Start(t, consultest.Options{Keep: keep})
			o := usual
			o.HoldEmpty = 20 * time.Second
			c.Register(t, service("web", "web1", 1))
			c.Register(t, service("web", "web2", 2))
			for _, id := range []string{"ttl-web1", "ttl-web2"} {
				c.SetTTL(t, id, "passing") // which Consul keeps over a restart, unlike the initial status
			}
			w := follow(t, c.Client, o, "/dc1/web")
			unknown := follow(t, c.Client, o, "/dc1/unknown")
			w.expect(t, "127.0.0.9:1 127.0.0.9:2")
			unknown.expect(t, "~")
			c.Kill()
			w.expect(t, "127.0.0.9:1 127.0.0.9:2 stale")
			late := follow(t, c.Client, o, "/dc1/web")
			late.expect(t, "~") // nothing known, nobody to ask
			c.MustRestart(t)
			if keep {
				w.expect(t, "127.0.0.9:1 127.0.0.9:2")
			}
			// Changes are followed again.
			if !keep {
				c.Register(t, service("web", "web1", 1))
			}
			c.Register(t, service("web", "web3", 3))
			want := "127.0.0.9:1 127.0.0.9:3"
			if keep {
				want = "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3"
			}
			w.expect(t, want)
			late.expect(t, want)
			unknown.expect(t, "~")
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, h := range w.history {
				if h == "~" && h != w.history[0] {
					t.Errorf("the last good set was dropped: %q", w.history)
				}
			}
		})
	}
}

// Consul's HTTP and TCP checks are critical after a restart until the first probe, so that a restart looks as if
// everything had failed.
func TestRealChecksAfterARestart(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Keep: true})
	r := service("web", "web1", 1)
	r.Check = &api.AgentServiceCheck{HTTP: c.URL() + "/v1/status/leader", Interval: "3s", Timeout: "1s", Status: "passing"}
	c.Register(t, r)
	o := usual
	o.HoldEmpty = 15 * time.Second
	w := follow(t, c.Client, o, "/dc1/web")
	w.expect(t, "127.0.0.9:1")
	c.MustRestart(t)
	w.expect(t, "127.0.0.9:1")
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("seen: %q", w.history)
	for _, h := range w.history[1:] {
		if h == "~" {
			t.Errorf("the last good set was dropped: %q", w.history)
		}
	}
}

const aclHCL = `acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "11111111-1111-1111-1111-111111111111"
    agent              = "11111111-1111-1111-1111-111111111111"
  }
}`

const management = "11111111-1111-1111-1111-111111111111"

func TestRealPermissions(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{HCL: aclHCL, Token: management})
	c.Register(t, service("web", "web1", 1))
	token := func(rules string) string {
		t.Helper()
		name := fmt.Sprintf("p%d", len(rules))
		if _, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
			t.Fatal(err)
		}
		tok, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: name}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tok.SecretID
	}
	full := token(`service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
	noNode := token(`service_prefix "" { policy = "read" }`)

	w := follow(t, c.ClientWith(t, full), usual, "/dc1/web")
	w.expect(t, "127.0.0.9:1")
	follow(t, c.ClientWith(t, noNode), usual, "/dc1/web").expect(t, "~")
	o := usual
	o.Connect = ConnectAlways
	follow(t, c.ClientWith(t, ""), o, "/dc1/web").expect(t, "~") // 403

	// The token dies under the watch: what is known stays.
	self, _, err := c.ClientWith(t, full).ACL().TokenReadSelf(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.ACL().TokenDelete(self.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "127.0.0.9:1 stale")
}
