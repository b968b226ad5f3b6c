package agent

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/internal/plan"
	"argosy/namer"
	"argosy/namer/mounts"
	"argosy/namer/static"
	"argosy/namerd"
	namerdnames "argosy/namerd/names"
	"argosy/namerd/store"
)

// withNamerd makes a configuration take its table from a namerd that serves the text.
func withNamerd(t *testing.T, cfg *config.Config, table string) *store.Memory {
	t.Helper()
	tables := store.NewMemory(map[string]dtab.Dtab{"default": mustDtab(table)})
	server := namerd.NewServer(tables, namerd.Options{})
	h := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		server.Close()
		h.CloseClientConnections()
		h.Close()
	})
	cfg.Dtab = config.Dtab{Namespace: "default", Namerd: &config.Namerd{Address: h.URL}}
	return tables
}

func (p *proxy) post(path, body string) (int, string) {
	p.t.Helper()
	r, err := http.Post("http://"+p.agent.AdminAddress()+path, "application/dtab", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestPlan: a proposal is judged by what is in use, and changes nothing.
func TestPlan(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	cfg := baseConfig(map[string][]string{"one": {one.addr}, "two": {two.addr, downAddress(t)}, "dry": {}})
	cfg.Namers = append(cfg.Namers, mounts.Namer{ // for ever silent
		Kind: "io.l5d.consul", Prefix: dtab.MustParsePath("/#/silent"), Consul: &mounts.Consul{}})
	cfg.Consul.Address = "http://" + silentAddress(t)
	const table = "/svc => /#/static ; /svc/redis => /svc/one ; /svc/off => !"
	withNamerd(t, cfg, table)
	cfg.Dtab.Local = mustDtab("/svc/kept => /#/static/one") // it wins over every proposal
	for _, name := range []string{"redis", "two", "off", "kept"} {
		cfg.Listeners = append(cfg.Listeners, listenerTo(name, "/svc/"+name))
	}
	p := startAgent(t, cfg)
	for range 3 {
		p.dial("redis")
	}
	p.dial("two")

	verdicts := func(table string) string {
		t.Helper()
		status, body := p.post("/v1/plan?namespace=default&wait=500ms", table)
		if status != 200 {
			t.Fatalf("status %d: %s", status, body)
		}
		a := decode[plan.Answer](t, body)
		if !a.Applies || a.Agent != "test" || a.Source != "namerd" {
			t.Errorf("answer %s", body)
		}
		text := ""
		for _, n := range a.Names {
			text += fmt.Sprintf("%s %s %d/%d; ", n.Name, n.Verdict, n.Touched, n.Connections)
		}
		return strings.TrimSpace(text)
	}
	const asNow = "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis same 0/3; /svc/two same 0/1;"
	// A backend's greeting may come before the books of its connection are complete.
	eventually(t, "all connections are counted", func() bool { return verdicts(table) == asNow })
	for _, c := range []struct{ table, want string }{
		{table, asNow},
		{"/svc => /#/static ; /svc/redis => /svc/two", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis moves 3/3; /svc/two same 0/1;"},
		{"/svc => /#/static ; /svc/redis => 0.9 * /svc/one & 0.1 * /svc/two", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis moves 0/3; /svc/two same 0/1;"},
		{"", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis lost 3/3; /svc/two lost 1/1;"},
		{"/svc => /#/static ; /svc/redis => /svc/dry", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis lost 3/3; /svc/two same 0/1;"},
		{"/svc => /#/static ; /svc/redis => /svc/one ; /svc/off => /svc/one", "/svc/kept same 0/0; /svc/off gained 0/0; /svc/redis same 0/3; /svc/two same 0/1;"},
		{"/svc => /svc", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis lost 3/3; /svc/two lost 1/1;"},
		{"/svc => /#/static ; /svc/redis => /svc/one & /#/silent/dc1/x", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis same 0/3; /svc/two same 0/1;"},
		{"/svc => /#/static ; /svc/redis => /#/silent/dc1/x", "/svc/kept same 0/0; /svc/off same 0/0; /svc/redis unknown 0/3; /svc/two same 0/1;"},
	} {
		if got := verdicts(c.table); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.table, got, c.want)
		}
	}
	c, who := p.dial("redis")
	if who != "one" {
		t.Errorf("after the plans %s answers", who)
	}
	echo(t, c, "still here")

	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/v1/plan?namespace=blue", "", 200, `"why": "its table is that of namespace default"`},
		{"/v1/plan?wait=1h", "", 400, `wait: `},
		{"/v1/plan", "/svc -> /a", 400, `the table: '=' expected`},
		{"/v1/plan", strings.Repeat("# \n", maxProposal/3+1), 413, "at most"},
	} {
		if status, body := p.post(c.path, c.body); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %.300s", c.path, status, body)
		}
	}
}

// silentAddress takes connections and never answers.
func silentAddress(t *testing.T) string {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return strings.TrimPrefix(h.URL, "http://")
}

func TestPlanOfStaticTable(t *testing.T) {
	cfg := baseConfig(nil)
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	if status, body := p.post("/v1/plan", ""); status != 200 || !strings.Contains(body, `"applies": false`) {
		t.Errorf("%d %s", status, body)
	}
}

// TestExplainView: the agent tells how it delegates a name, and what its balancer has.
func TestExplainView(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	cfg := baseConfig(map[string][]string{"one": {one.addr}, "two": {two.addr}})
	tables := withNamerd(t, cfg, "/svc => /#/static ; /svc/redis => /svc/one")
	cfg.Dtab.Local = mustDtab("/mine => /svc")
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	p.dial("redis")
	explain := func(name, request string) explanation.Explanation {
		t.Helper()
		status, body := p.get("/v1/explain?name=" + url.QueryEscape(name) + "&dtab=" + url.QueryEscape(request))
		if status != 200 {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		return decode[explanation.Explanation](t, body)
	}
	x := explain("/svc/redis", "")
	if a := x.Agent; x.Namespace != "default" || x.Total != 3 || a == nil || !a.Followed || a.Open != 1 || a.LastGood || a.Bound != "/#/static/one" ||
		len(a.Clusters) != 1 || a.Clusters[0].Endpoints[0].Address != one.addr || a.Clusters[0].Endpoints[0].State != "active" {
		t.Errorf("explanation %+v\n%+v", x, a)
	}
	x = explain("/mine/redis", "/svc/redis => /svc/two")
	if x.Agent.Followed || x.Total != 4 || len(x.Entries) != 4 || x.Entries[0].Table != "local" || x.Entries[1].Table != "request" {
		t.Errorf("explanation %+v", x)
	}
	// What is in force stays when the new table cannot be bound, and that is told.
	if err := tables.Put(t.Context(), "default", mustDtab("/svc/redis => /$/unknown")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent goes on with the last good binding", func() bool { return explain("/svc/redis", "").Agent.LastGood })
	x = explain("/svc/redis", "")
	if x.Tree.Steps[0].Kind != "exception" || x.Agent.Bound != "/#/static/one" || !strings.Contains(x.Agent.Error, "Unknown namer") {
		t.Errorf("explanation %+v\n%+v", x, x.Agent)
	}
	for _, path := range []string{"/v1/explain", "/v1/explain?name=redis", "/v1/explain?name=/a&dtab=x"} {
		if status, body := p.get(path); status != 400 || !strings.Contains(body, "error") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestQuestionsToNamerd: an agent whose names a namerd binds asks that, for explanations and for plans.
func TestQuestionsToNamerd(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	services, err := static.New(map[string][]string{"one": {one.addr}, "two": {two.addr}})
	if err != nil {
		t.Fatal(err)
	}
	tables := store.NewMemory(map[string]dtab.Dtab{"default": mustDtab("/svc => /#/static ; /svc/redis => /svc/one")})
	bound := namerdnames.New(tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/static"), Namer: services}}}, nil)
	server := namerd.NewServer(tables, namerd.Options{Names: bound})
	h := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		server.Close()
		bound.Close()
		h.CloseClientConnections()
		h.Close()
	})
	cfg := baseConfig(nil)
	cfg.Dtab, cfg.Namers = config.Dtab{}, nil
	cfg.Interpreter = &config.Interpreter{Namerd: config.Namerd{Address: h.URL}, Namespace: "default", Local: mustDtab("/mine => /svc/two"),
		Mode: "auto", PollInterval: time.Second, MaxStreams: 10}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis"), listenerTo("mine", "/mine")}
	p := startAgent(t, cfg)
	if _, who := p.dial("redis"); who != "one" {
		t.Errorf("%s answers", who)
	}
	status, body := p.get("/v1/explain?name=/mine&dtab=" + url.QueryEscape("/svc/two => /svc/one"))
	x := decode[explanation.Explanation](t, body)
	if status != 200 || x.Namespace != "default" || len(x.Entries) != 3 || x.Entries[0].Table != "local" || x.Entries[1] != (explanation.Entry{
		Table: "request", Number: 1, Prefix: "/svc/two", Dst: "/svc/one"}) || x.Agent == nil || x.Agent.Bound != "/#/static/two" {
		t.Errorf("%d %s", status, body)
	}
	for table, want := range map[string]string{
		"/svc => /#/static ; /svc/redis => /svc/one": "/mine same, /svc/redis same",
		"/svc => /#/static ; /svc/redis => /svc/two": "/mine same, /svc/redis moves",
		"/svc/redis => /#/static/one":                "/mine lost, /svc/redis same",
		"/svc => /svc":                               "/mine unknown, /svc/redis unknown",
	} {
		status, body := p.post("/v1/plan?wait=10s", table)
		a := decode[plan.Answer](t, body)
		var got []string
		for _, n := range a.Names {
			got = append(got, n.Name+" "+string(n.Verdict))
		}
		if status != 200 || a.Source != "interpreter" || strings.Join(got, ", ") != want {
			t.Errorf("%s: %d %s", table, status, body)
		}
	}
	if list, err := tables.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the plans have left the namespaces %v, %v", list, err)
	}
}
