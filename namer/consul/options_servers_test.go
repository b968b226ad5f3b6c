//go:build servers

package consul

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/settings"
	"argosy/internal/snapshot"
)

func TestRealSelection(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	with := func(f func(*Options)) Options {
		o := usual
		f(&o)
		return o
	}
	two := service("web", "web2", 2)
	two.Tags, two.Meta = []string{"v2", "Canary"}, map[string]string{"version": "v2"}
	two.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: "198.51.100.7", Port: 9}}
	three := service("web", "web3", 3)
	three.Tags, three.Meta = []string{"v2"}, map[string]string{"version": "v3"}
	three.Weights = &api.AgentWeights{Passing: 4, Warning: 2}
	for _, r := range []*api.AgentServiceRegistration{service("web", "web1", 1), two, three} {
		c.Register(t, r)
	}
	for name, want := range map[string]struct {
		o    Options
		want string
	}{
		"tags":          {with(func(o *Options) { o.Tags = []string{"v2", "canary"} }), "127.0.0.9:2"},
		"filter":        {with(func(o *Options) { o.Filter = "Service.Meta.version == v3" }), "127.0.0.9:3*4"},
		"no canaries":   {with(func(o *Options) { o.Filter = "Canary not in Service.Tags" }), "127.0.0.9:1 127.0.0.9:3*4"},
		"bad filter":    {with(func(o *Options) { o.Filter = "Service.Meta.version = v3" }), "~"},
		"weights":       {with(func(o *Options) { o.Weights = []TagWeight{{"v2", 2}, {"canary", 0.5}} }), "127.0.0.9:1 127.0.0.9:2*2 127.0.0.9:3*8"},
		"tagged":        {with(func(o *Options) { o.TaggedAddress = "wan" }), "127.0.0.1:1 127.0.0.1:3*4 198.51.100.7:9"},
		"consistent":    {with(func(o *Options) { o.Consistency = ConsistencyConsistent }), "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4"},
		"stale":         {with(func(o *Options) { o.Consistency = ConsistencyStale }), "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4"},
		"cached":        {with(func(o *Options) { o.Cached = true }), "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4"},
		"near":          {with(func(o *Options) { o.Near, o.NearCount = "_agent", 5 }), "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4"},
		"near and none": {with(func(o *Options) { o.Near, o.NearCount, o.Filter = "_agent", 1, "Service.ID == web1" }), "127.0.0.9:1"},
		"connect":       {with(func(o *Options) { o.Connect = ConnectPrefer }), "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4"},
	} {
		t.Run(name, func(t *testing.T) { follow(t, c.Client, want.o, "/dc1/web").expect(t, want.want) })
	}

	// Statuses, with what a warning weighs, and maintenance, which is a check with a special id.
	warned := follow(t, c.Client, with(func(o *Options) { o.Statuses = []string{Passing, Warning} }), "/dc1/web")
	resting := follow(t, c.Client, with(func(o *Options) { o.Statuses = []string{Maintenance} }), "/dc1/web")
	c.SetTTL(t, "ttl-web3", "warning")
	c.SetTTL(t, "ttl-web1", "critical")
	warned.expect(t, "127.0.0.9:2 127.0.0.9:3*2")
	if err := c.Client.Agent().EnableServiceMaintenance("web2", "test"); err != nil {
		t.Fatal(err)
	}
	resting.expect(t, "127.0.0.9:2")
	if err := c.Client.Agent().EnableNodeMaintenance("test"); err != nil {
		t.Fatal(err)
	}
	resting.expect(t, "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3*4")
}

func TestRealConnectPreferred(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.Connect = ConnectPrefer
	w := follow(t, c.Client, o, "/dc1/web")
	w.expect(t, "~")
	c.Register(t, service("web", "plain", 1))
	w.expect(t, "127.0.0.9:1")
	native := service("web", "native", 2)
	native.Connect = &api.AgentServiceConnect{Native: true}
	c.Register(t, native)
	w.expect(t, "127.0.0.9:2@dc1/web")
	c.Deregister(t, "native")
	w.expect(t, "127.0.0.9:1")
}

func TestRealBadFilterIsNamed(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.Filter = "Service.Meta.version = v2"
	n := New(c.Client, o, hclog.NewNullLogger(), nil)
	_, _, err := n.ask(n.request("dc1", "web"), &api.QueryOptions{})
	if err == nil || !strings.HasPrefix(err.Error(), `filter "Service.Meta.version = v2" is no expression that Consul understands: `) {
		t.Errorf("got %v", err)
	}
	t.Log(err)
}

func setEntry(t *testing.T, c *consultest.Consul, e api.ConfigEntry) {
	t.Helper()
	if _, _, err := c.Client.ConfigEntries().Set(e, nil); err != nil {
		t.Fatal(err)
	}
}

func TestRealResolver(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.Resolver, o.HoldEmpty = true, 0
	w := follow(t, c.Client, o, "/.local/Web")
	one, two := service("web", "web1", 1), service("web", "web2", 2)
	one.Meta, two.Meta = map[string]string{"version": "v1"}, map[string]string{"version": "v2"}
	c.Register(t, one)
	c.Register(t, two)
	c.Register(t, service("backup", "backup1", 7))
	w.expect(t, "127.0.0.9:1 127.0.0.9:2") // without a service-resolver: the service, under its own name
	if w.id != "/#/io.l5d.consul/.local/Web" {
		t.Errorf("id %s", w.id)
	}

	const prefix = "/#/io.l5d.consul/"
	entry := &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: "web", DefaultSubset: "v1",
		Subsets:  map[string]api.ServiceResolverSubset{"v1": {Filter: "Service.Meta.version == v1"}, "v2": {Filter: "Service.Meta.version == v2"}},
		Failover: map[string]api.ServiceResolverFailover{"v1": {Service: "backup"}},
	}
	setEntry(t, c, entry)
	w.expect(t, prefix+".subset/dc1/web/v1=127.0.0.9:1 | "+prefix+".target/dc1/backup=127.0.0.9:7")
	for id, want := range map[string]string{ // which bind to themselves
		"/.subset/dc1/web/v1": "127.0.0.9:1", "/.subset/dc1/web/v2": "127.0.0.9:2", "/.subset/dc1/web/v9": "~",
		"/.target/dc1/web": "127.0.0.9:1 127.0.0.9:2", "/.target/dc1/backup": "127.0.0.9:7",
	} {
		again := follow(t, c.Client, o, id)
		again.expect(t, want)
		if want != "~" && again.id != "/#/io.l5d.consul"+id {
			t.Errorf("%s is bound to %s", id, again.id)
		}
	}

	c.SetTTL(t, "ttl-web1", "critical")
	w.expect(t, "127.0.0.9:7") // failover
	if w.id != prefix+".target/dc1/backup" {
		t.Errorf("id %s", w.id)
	}
	c.SetTTL(t, "ttl-web1", "passing")
	entry.DefaultSubset, entry.Failover = "v2", nil
	setEntry(t, c, entry)
	w.expect(t, "127.0.0.9:2")

	setEntry(t, c, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "web", Redirect: &api.ServiceResolverRedirect{Service: "backup"}})
	w.expect(t, "127.0.0.9:7")
	if w.id != prefix+".target/dc1/backup" {
		t.Errorf("id %s", w.id)
	}
}

// The identity that has to be proven is the target's, not that of the name that was asked for.
func TestRealResolverWithConnect(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	o := usual
	o.Resolver, o.Connect = true, ConnectAlways
	native := service("backup", "backup1", 7)
	native.Connect = &api.AgentServiceConnect{Native: true}
	c.Register(t, native)
	setEntry(t, c, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "web", Redirect: &api.ServiceResolverRedirect{Service: "backup"}})
	follow(t, c.Client, o, "/dc1/web").expect(t, "127.0.0.9:7@dc1/backup")
}

// An agent that starts while Consul is down serves from its snapshots, and goes over to Consul's answer when it is back.
func TestRealSnapshot(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Keep: true})
	var err error
	o := usual
	o.Resolver = true
	dir := t.TempDir()
	if o.Snapshots, err = snapshot.Open(dir+"/s", c.URL(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	one := service("web", "web1", 1)
	one.Connect = &api.AgentServiceConnect{Native: true}
	c.Register(t, one)
	c.SetTTL(t, "ttl-web1", "passing")
	setEntry(t, c, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "www", Redirect: &api.ServiceResolverRedirect{Service: "web"}})
	t.Run("before", func(t *testing.T) {
		follow(t, c.Client, o, "/dc1/web").expect(t, "127.0.0.9:1@dc1/web")
		follow(t, c.Client, o, "/dc1/www").expect(t, "127.0.0.9:1@dc1/web")
	})
	c.Kill()
	t.Run("consul is down", func(t *testing.T) {
		w, www := follow(t, c.Client, o, "/dc1/web"), follow(t, c.Client, o, "/dc1/www")
		w.expect(t, "127.0.0.9:1@dc1/web stale")
		www.expect(t, "127.0.0.9:1@dc1/web stale")
		follow(t, c.Client, o, "/dc1/other").expect(t, "~")
		c.MustRestart(t)
		w.expect(t, "127.0.0.9:1@dc1/web")
		www.expect(t, "127.0.0.9:1@dc1/web")
		for _, h := range slices.Concat(w.history, www.history) {
			if h == "~" {
				t.Errorf("there was nothing for a moment: %q, %q", w.history, www.history)
			}
		}
	})
	c.Kill()
	t.Run("consul hangs", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() }) // accepts nothing, and says nothing
		client, err := consulclient.New(settings.Consul{Address: "http://" + l.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		follow(t, client, o, "/dc1/web").expect(t, "127.0.0.9:1@dc1/web stale")
	})
}

// How long a change in Consul takes to the endpoints that are published.
func TestRealLatency(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	w := follow(t, c.Client, usual, "/dc1/web")
	c.Register(t, service("web", "web1", 1))
	c.Register(t, service("web", "web2", 2))
	w.expect(t, "127.0.0.9:1 127.0.0.9:2")
	var took []time.Duration
	for i := range 20 {
		// The loop asks five times a second at most, so that a service that changes all the time cannot keep it spinning.
		time.Sleep(400 * time.Millisecond)
		status, want := "critical", "127.0.0.9:1"
		if i%2 == 1 {
			status, want = "passing", "127.0.0.9:1 127.0.0.9:2"
		}
		start := time.Now()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("%s/v1/agent/check/update/ttl-web2", c.URL()),
			strings.NewReader(fmt.Sprintf(`{"Status":%q}`, status)))
		if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(err, resp)
		}
		w.await(t, want)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("from a change to the published endpoints: median %v, longest %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 100*time.Millisecond {
		t.Errorf("the median of %v is over 100ms", took)
	}
}
