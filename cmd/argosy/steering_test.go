package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/agent"
	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/plan"
	"argosy/namer"
	"argosy/namer/mounts"
	"argosy/namer/static"
	"argosy/namerd"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

const steeredTable = "/cluster => /#/static ; /svc => /cluster ; /svc/redis => /cluster/redis1"

// fleetOfOne is a namerd and an agent that takes its table from it. Both know the services redis1, redis2 and dead.
type fleetOfOne struct {
	tables *store.Memory
	agent  *agent.Agent
	namerd http.Handler
}

func startFleet(t *testing.T) *fleetOfOne {
	t.Helper()
	services := map[string][]string{"redis1": {backend(t)}, "redis2": {backend(t)}, "dead": {closedAddress(t)}, "dry": {}}
	table, err := dtab.Parse(steeredTable)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleetOfOne{tables: newMemory(map[string]dtab.Dtab{"default": table})}
	known, err := static.New(services)
	if err != nil {
		t.Fatal(err)
	}
	n := names.New(f.tables, namer.Options{EmptyFallsThrough: true, Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/static"), Namer: known}}}, nil)
	api := namerd.NewServer(f.tables, namerd.Options{Names: n})
	f.namerd = api.Handler()
	server := httptest.NewServer(f.namerd)
	f.agent, err = agent.New(&config.Config{
		Name: "proxy", Admin: config.Admin{Address: "127.0.0.1:0"},
		Dtab:   config.Dtab{Namespace: "default", Namerd: &config.Namerd{Address: server.URL}},
		Namers: []mounts.Namer{{Kind: "static", Prefix: dtab.MustParsePath("/#/static"), Static: services}},
		Listeners: []config.Listener{{Name: "redis", Network: "tcp", Address: "127.0.0.1:0",
			Destination: dtab.MustParsePath("/svc/redis"), ConnectTimeout: 5 * time.Second}},
	}, agent.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.agent.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		f.agent.Cut()
		running.Wait()
		api.Close()
		n.Close()
		server.CloseClientConnections()
		server.Close()
	})
	for deadline := time.Now().Add(20 * time.Second); f.agent.Health().Status != "ok"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not become healthy")
		}
	}
	t.Setenv("ARGOSY_NAMERD_ADDR", server.URL)
	t.Setenv("ARGOSY_AGENTS", " "+f.agent.AdminAddress()+" ,")
	return f
}

// backend echoes.
func backend(t *testing.T) string {
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
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

func closedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// connect opens a connection through the agent, and makes sure that it has reached an endpoint.
func (f *fleetOfOne) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.agent.Listeners()[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c
}

// load opens connections through the agent, one after the other, until the test ends.
func (f *fleetOfOne) load(t *testing.T) {
	address := f.agent.Listeners()[0].Address
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if c, err := net.Dial("tcp", address); err == nil {
				c.SetDeadline(time.Now().Add(time.Second))
				c.Write([]byte("x"))
				c.Read(make([]byte, 1))
				c.Close()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (f *fleetOfOne) table(t *testing.T) string {
	t.Helper()
	e, err := f.tables.Get(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	return e.Dtab.String()
}

var varying = regexp.MustCompile(`127\.0\.0\.1:\d+|since <?[0-9]+[smhd]|[0-9]+ bytes in, [0-9]+ out`)

// constant replaces what differs from run to run.
func constant(text string) string {
	return varying.ReplaceAllStringFunc(text, func(s string) string {
		switch {
		case strings.HasPrefix(s, "since"):
			return "since AGE"
		case strings.HasSuffix(s, "out"): // the last bytes may not have been counted yet
			return "N bytes in, N out"
		}
		return "ADDR"
	})
}

func TestDtabExplain(t *testing.T) {
	f := startFleet(t)
	f.connect(t)
	const tree = `/svc/redis in default, under 3 entries

/svc/redis  first of 2
├─ 1. /cluster/redis1      [3] /svc/redis => /cluster/redis1
│  └─ ● /#/static/redis1   [1] /cluster => /#/static
│       1 endpoint since AGE: ADDR
└─ 2. /cluster/redis       [2] /svc => /cluster
   │ not taken: is nothing
   └─ ✗ /#/static/redis    [1] /cluster => /#/static
        nothing

goes to   100%  /#/static/redis1  1 endpoint
`
	agentURL := "http://" + f.agent.AdminAddress()
	for _, c := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"/svc/redis"}, 0, tree, ""},
		{[]string{"/svc/redis", "default"}, 0, tree, ""},
		{[]string{"/svc/redis", "-agent", agentURL}, 0, tree + `
agent proxy, 1 connection open
    100%  /#/static/redis1  1 open
          ADDR  active    1 open
`, ""},
		{[]string{"-connection", "1", "-agent", agentURL}, 0, strings.Replace(tree, "\n", `
connection 1 of listener redis, from ADDR, open since AGE, N bytes in, N out
it went to ADDR of /#/static/redis1, at attempt 1
  [3] /svc/redis => /cluster/redis1
  [1] /cluster => /#/static
`, 1) + `
agent proxy, 1 connection open
    100%  /#/static/redis1  1 open
          ADDR  active    1 open
`, ""},
		{[]string{"-connection", "99", "-agent", agentURL}, 1, "", "argosy: agent at http://ADDR: connection: \"99\" is none that is open\n"},
		{[]string{"-connection", "1"}, 2, "", "argosy: dtab explain: -connection goes with -agent, and without a name\n" + hintLine},
		{[]string{"/svc/x", "-agent", agentURL, "-dtab", "/svc/x => /svc/dry | /svc/redis2"}, 0, `/svc/x in default, under 4 entries

/svc/x  first of 3
├─ 1. /svc/dry                [-dtab 1] /svc/x => /svc/dry | /svc/redis2
│  │ not taken: has no endpoints
│  └─ /cluster/dry            [2] /svc => /cluster
│     └─ ○ /#/static/dry      [1] /cluster => /#/static
│          no endpoints since AGE
├─ 2. /svc/redis2
│  └─ /cluster/redis2         [2] /svc => /cluster
│     └─ ● /#/static/redis2   [1] /cluster => /#/static
│          1 endpoint since AGE: ADDR
└─ 3. /cluster/x              [2] /svc => /cluster
   │ not taken: is nothing
   └─ ✗ /#/static/x           [1] /cluster => /#/static
        nothing

goes to   100%  /#/static/redis2  1 endpoint

agent proxy does not use this name now: no listener leads to it, and no connection has asked for it lately
`, ""},
		{[]string{"/svc/redis", "nobody"}, 0, `/svc/redis in nobody, under an empty table
there is no namespace nobody: its table is empty

✗ /svc/redis
  nothing

goes nowhere: every connection is refused
`, ""},
		{[]string{"redis"}, 2, "", "argosy: dtab explain: the name: '/' expected but 'r' found at '[r]edis'\n"},
		{[]string{}, 2, "", "argosy: dtab explain: give a name such as /svc/redis, and perhaps a namespace\n" + hintLine},
		{[]string{"/a", "b", "-agent", agentURL}, 2, "", "argosy: dtab explain: an agent has one table: give no namespace with -agent\n" + hintLine},
		{[]string{"/a", "-agent", "http://" + closedAddress(t)}, 1, "",
			"argosy: agent at http://ADDR: cannot be reached: connect: connection refused\n"},
		{[]string{"/a", "-agent", os.Getenv("ARGOSY_NAMERD_ADDR")}, 1, "", "argosy: agent at http://ADDR: is no agent, or an older one\n"},
	} {
		code, out, errs := call(t, "", append([]string{"dtab", "explain"}, c.args...)...)
		if out, errs = constant(out), constant(errs); code != c.code || out != c.out || errs != c.errs {
			t.Errorf("%q: exit %d\n%s%s\nwant exit %d\n%s%s", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
	code, out, _ := call(t, "", "dtab", "explain", "/svc/redis", "-json")
	var x struct {
		Name string
		Tree struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != 0 || x.Name != "/svc/redis" || x.Tree.Kind != "alt" {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}

// A Namerd 1.x knows no explain: what it tells by delegate is drawn.
func TestDtabExplainOfNamerd1(t *testing.T) {
	f := startFleet(t)
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/1/explain") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		f.namerd.ServeHTTP(w, r)
	}))
	defer old.Close()
	code, out, errs := call(t, "", "dtab", "explain", "-addr", old.URL, "/svc/w", "-dtab",
		"/svc/w => 3 * /svc/redis & 1 * /svc/redis2 & 1 * /nothing ; /svc/redis2 => /$/unknown | /svc/redis1")
	const want = `/svc/w in default, under 5 entries

/svc/w  first of 2
├─ 1. /svc/w  by weight             [-dtab 1] /svc/w => 3.00*/svc/redis & /svc/redis2 & /nothing
│  ├─ 100%  /svc/redis  first of 2
│  │  ├─ 1. /cluster/redis1         [3] /svc/redis => /cluster/redis1
│  │  │  └─ ● /#/static/redis1      [1] /cluster => /#/static
│  │  │       1 endpoint: ADDR
│  │  └─ 2. /cluster/redis          [2] /svc => /cluster
│  │     │ not taken: an alternative before it is used
│  │     └─ ✗ /#/static/redis       [1] /cluster => /#/static
│  │          nothing
│  ├─  -    /svc/redis2  first of 3
│  │  │ not taken: failed: its weight goes to the others
│  │  ├─ 1. ✗ /$/unknown            [-dtab 2] /svc/redis2 => /$/unknown | /svc/redis1
│  │  │       failed: Unknown namer: unknown for path: /$/unknown
│  │  ├─ 2. /svc/redis1
│  │  │  │ not taken: an alternative before it is used
│  │  │  └─ /cluster/redis1         [2] /svc => /cluster
│  │  │     └─ ○ /#/static/redis1   [1] /cluster => /#/static
│  │  │          1 endpoint: ADDR
│  │  └─ 3. /cluster/redis2         [2] /svc => /cluster
│  │     │ not taken: an alternative before it is used
│  │     └─ ○ /#/static/redis2      [1] /cluster => /#/static
│  │          1 endpoint: ADDR
│  └─  -    ✗ /nothing
│             nothing
│             not taken: is nothing: its weight goes to the others
└─ 2. /cluster/w                    [2] /svc => /cluster
   │ not taken: an alternative before it is used
   └─ ✗ /#/static/w                 [1] /cluster => /#/static
        nothing

goes to   100%  /#/static/redis1  1 endpoint
`
	if got := constant(out); code != 0 || errs != "" || got != want {
		t.Errorf("exit %d %s\n%s", code, errs, got)
	}
}

func TestDtabPlan(t *testing.T) {
	f := startFleet(t)
	f.connect(t)
	f.connect(t)
	const good, losing = "/cluster => /#/static ; /svc => /cluster ; /svc/redis => 0.9 * /svc/redis1 & 0.1 * /svc/redis2", "/cluster => /#/static"
	for _, s := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"plan", "-dtab", good}, 0, `1 agent asked about namespace default: 1 name in use, 2 connections open

moves    /svc/redis  2 connections open
         now     100%  /#/static/redis1  1 endpoint
         then     90%  /#/static/redis1  1 endpoint
                  10%  /#/static/redis2  1 endpoint

names: 1 moves
connections: 0 touched; those that are open stay open, new ones go elsewhere
nothing would be lost
`, ""},
		{[]string{"plan", "-dtab", losing}, 2, `1 agent asked about namespace default: 1 name in use, 2 connections open

lost     /svc/redis  2 connections open, 2 touched
         now     100%  /#/static/redis1  1 endpoint
         then  nothing

names: 1 lost
connections: 2 touched; those that are open stay open, new ones go elsewhere
1 name would be lost, with 2 connections open now
`, ""},
		{[]string{"plan", "-dtab", good, "-namespace", "blue"}, 1, `0 agents asked about namespace blue: 0 names in use, 0 connections open
  not counted: proxy (http://ADDR): its table is that of namespace default

nothing is known: no agent that uses this namespace could be asked
`, ""},
		{[]string{"plan"}, 2, "", "argosy: dtab plan: the table is missing: name a file, - for standard input, or give -dtab '/svc => ...'\n"},
		{[]string{"plan", "-dtab", "", "-agent", "ftp://x"}, 1, "", "argosy: address of an agent \"ftp://x\" is no URL: give that of its admin endpoint, such as http://ADDR or unix:/run/argosy/admin.sock\n"},
		{[]string{"plan", "-dtab", "", "-wait", "1h"}, 2, "", "argosy: dtab plan: -wait is more than 0 and at most 30s\n" + hintLine},
		{[]string{"update", "default", "-dtab", "/cluster => /#/static"}, 2, "", `1 agent asked about namespace default: 1 name in use, 2 connections open

lost     /svc/redis  2 connections open, 2 touched
         now     100%  /#/static/redis1  1 endpoint
         then  nothing

names: 1 lost
connections: 2 touched; those that are open stay open, new ones go elsewhere
1 name would be lost, with 2 connections open now
argosy: nothing changed: something would be lost; -force does it all the same
`},
		{[]string{"update", "default", "-dtab", good, "-agent", closedAddress(t)}, 1, "",
			"argosy: nothing changed, cannot tell what would be lost: agent at http://ADDR cannot be reached: connect: connection refused; -force asks no agent\n"},
		{[]string{"update", "default", "-dtab", good, "-agent", closedAddress(t), "-agent", f.agent.AdminAddress()}, 0, "Updated default\n",
			"argosy: warning: 1 of 2 agents do not answer; what only they use is not known\n"},
		{[]string{"update", "default", "-force", "-dtab", losing}, 0, "Updated default\n", ""},
	} {
		code, out, errs := call(t, "", append([]string{"dtab"}, s.args...)...)
		if out, errs = constant(out), constant(errs); code != s.code || out != s.out || errs != s.errs {
			t.Errorf("%q: exit %d\n%s%s\nwant exit %d\n%s%s", s.args, code, out, errs, s.code, s.out, s.errs)
		}
	}
	if got := f.table(t); got != "/cluster=>/#/static" {
		t.Errorf("the table is %s", got)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // until the agent has the table
		code, out, _ := call(t, "", "dtab", "plan", "-json", "-dtab", "/svc => /#/static/redis1")
		var p plan.Fleet
		err := json.Unmarshal([]byte(out), &p)
		if err == nil && code == 0 && len(p.Names) == 1 && p.Names[0].Verdict == plan.Gained {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("exit %d, %v\n%s", code, err, out)
			break
		}
	}
	t.Setenv("ARGOSY_AGENTS", "")
	if code, _, errs := call(t, "", "dtab", "plan", "-dtab", good); code != 1 || !strings.Contains(errs, "no agents are known: name them with -agent URL") {
		t.Errorf("without agents: exit %d %s", code, errs)
	}
	step{args: "dtab|update|default|-dtab|" + steeredTable, out: "Updated default\n"}.check(t) // nobody is asked
}

func TestDtabShift(t *testing.T) {
	f := startFleet(t)
	f.load(t)
	code, out, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redis2", "--over", "600ms", "--steps", "2", "-check", "50ms")
	at := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `)
	lines := strings.Split(at.ReplaceAllString(out, ""), "\n")
	if code != 0 || errs != "" || len(lines) != 7 || lines[0] != "/svc/redis in default: from /cluster/redis1 to /svc/redis2 in 2 steps of 300ms" ||
		lines[1] != "  50%  /svc/redis => 0.50*/cluster/redis1 & 0.50*/svc/redis2  600ms left" || lines[3] != " 100%  /svc/redis => /svc/redis2  300ms left" ||
		!strings.Contains(lines[4], "new connections: 100.0% /#/static/redis2; 0 failures") {
		t.Errorf("exit %d %s\n%s", code, errs, out)
	}
	if got := f.table(t); got != "/cluster=>/#/static;/svc=>/cluster;/svc/redis=>/svc/redis2" {
		t.Errorf("the table is %s", got)
	}
	// Back again, to what is dead: it comes back by itself.
	before := f.table(t)
	code, out, errs = call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/dead", "--over", "1m", "--steps", "2", "-check", "20ms", "-json")
	if code != 1 || !strings.Contains(errs, "attempts to connect /#/static/dead have failed, more than 5%; the table is what it was before") ||
		!strings.Contains(out, `"event":"rollback"`) || f.table(t) != before {
		t.Errorf("exit %d %s\n%s\nthe table is %s", code, errs, out, f.table(t))
	}
	for line := range strings.Lines(out) {
		var l shiftLine
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Event == "" || l.Steps != 2 {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		errs string
	}{
		{[]string{"--to", "/svc/nothing"}, 2, "1 name would be lost"},
		{[]string{"--to", "/svc/redis/v2"}, 2, "lies below /svc/redis"},
		{[]string{"--to", "/svc/redis1", "-namespace", "nobody"}, 1, "no such namespace"},
		{[]string{"--to", "/svc/redis1", "--abort-on", "x > 1", "--prometheus", "http://" + closedAddress(t)}, 1, "not begun: ask prometheus"},
		{[]string{}, 2, "give one name, and with --to"},
		{[]string{"--to", "/a", "--steps", "0"}, 2, "-steps is 1 to 100"},
		{[]string{"--to", "/a", "--steps", "100", "--over", "1ms"}, 2, "-over is too short"},
		{[]string{"--to", "a"}, 2, "-to: '/' expected"},
		{[]string{"--to", "/a", "-max-failures", "NaN"}, 2, "-max-failures is 0 to 100"},
	} {
		code, out, errs := call(t, "", append([]string{"dtab", "shift", "/svc/redis"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.errs) || f.table(t) != before {
			t.Errorf("%q: exit %d\n%s%s\nwant exit %d and %s; the table is %s", c.args, code, out, errs, c.code, c.errs, f.table(t))
		}
	}
	step{args: "dtab|shift|/svc/redis|--to|/svc/redis2", out: "/svc/redis in default goes to /svc/redis2 already\n"}.check(t)
	// What the name stands for has no endpoints: the first step would move all.
	if err := f.tables.Put(t.Context(), "default", mustParse(t, "/svc => /#/static ; /svc/redis => /svc/dry")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		code, _, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redis1", "--over", "100ms")
		if code == 2 && strings.Contains(errs, "not begun: with 10% on /svc/redis1 agents would send it 100%") {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("exit %d %s", code, errs)
			break
		}
	}
}

func mustParse(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newMemory(tables map[string]dtab.Dtab) *store.Memory {
	return store.NewMemory(tables, store.Limits{})
}
