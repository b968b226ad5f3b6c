package explanation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

// explain makes an explanation over services whose state is 12 seconds old.
func explain(t *testing.T, table, name string, request int) *Explanation {
	t.Helper()
	d, err := dtab.Parse(table)
	if err != nil {
		t.Fatal(err)
	}
	services := manual.New(1)
	services.SetEndpoints("redis1", "10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379", "10.0.0.4:6379")
	services.SetEndpoints("redis2", "10.0.1.1:6379")
	services.SetEndpoints("dry")
	services.Remove("redis")
	services.Set("dc9", namer.Answer{Status: namer.OK, Err: errors.New("500 (No path to\ndatacenter)")})
	services.Fail("broken", errors.New("403\nPermission\x1bdenied"))
	services.SetAddr("old", namer.Addr{Status: namer.OK, Stale: true, Endpoints: []namer.Endpoint{{Addr: "10.0.2.1:1", Weight: 2}}})
	in := namer.NewInterpreter(namer.Options{
		Mounts:            []namer.Mount{{Prefix: dtab.MustParsePath("/#/consul"), Namer: services}},
		EmptyFallsThrough: true, PendingLegTimeout: time.Second,
	})
	defer in.Close()
	stored, local := d[:len(d)-request], d[len(d)-request:]
	under := in.Under(watch.Fixed(namer.TableState{Status: namer.OK, Dtab: stored}), local)
	path := dtab.MustParsePath(name)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := under.Explain(ctx, path); err != nil { // now everything is known
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // shorter than watches outlive their users
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	x, err := under.Explain(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	e := Of(path, x, request, time.Now())
	e.Namespace = "default"
	return e
}

const pictureTable2 = `/cluster => /#/consul ; /svc => /cluster ; /svc/redis => 2 * /cluster/redis1 & /cluster/redis2`

const pictureTable = `/cluster => /#/consul ; /svc => /cluster ;
/svc/redis => 0.9 * /cluster/redis1 & 0.1 * /cluster/redis2 & /cluster/none`

func TestDraw(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, table, path string
		request           int
		style             Style
		want              string
	}{
		{"weights", strings.Replace(pictureTable, " & /cluster/none", " & 1 * /cluster/redis", 1), "/svc/redis", 0, Style{}, `
/svc/redis in default, under 3 entries

/svc/redis  first of 2
├─ 1. /svc/redis  by weight   [3] /svc/redis => 0.90*/cluster/redis1 & 0.10*/cluster/redis2 & /cluster/redis
│  ├─ 90%   /cluster/redis1
│  │  └─ ● /#/consul/redis1   [1] /cluster => /#/consul
│  │       4 endpoints since 5s: 10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3:6379, and 1 more
│  ├─ 10%   /cluster/redis2
│  │  └─ ● /#/consul/redis2   [1] /cluster => /#/consul
│  │       1 endpoint since 5s: 10.0.1.1:6379
│  └─  -    /cluster/redis
│     │ not taken: is nothing: its weight goes to the others
│     └─ ✗ /#/consul/redis    [1] /cluster => /#/consul
│          nothing since 5s
└─ 2. /cluster/redis          [2] /svc => /cluster
   │ not taken: is nothing
   └─ ✗ /#/consul/redis       [1] /cluster => /#/consul
        nothing since 5s

goes to    90%  /#/consul/redis1  4 endpoints
           10%  /#/consul/redis2  1 endpoint
`},
		{"narrow", pictureTable2, "/svc/redis", 0, Style{Width: 50}, `
/svc/redis in default, under 3 entries

/svc/redis  first of 2
├─ 1. /svc/redis  by weight
│  │ [3] /svc/redis => 2.00*/cluster/redis1 & /cl…
│  ├─ 66.7% /cluster/redis1
│  │  └─ ● /#/consul/redis1
│  │       [1] /cluster => /#/consul
│  │       4 endpoints since 5s: 10.0.0.1:6379, 1…
│  └─ 33.3% /cluster/redis2
│     └─ ● /#/consul/redis2
│          [1] /cluster => /#/consul
│          1 endpoint since 5s: 10.0.1.1:6379
└─ 2. /cluster/redis
   │ [2] /svc => /cluster
   │ not taken: is nothing
   └─ ✗ /#/consul/redis
        [1] /cluster => /#/consul
        nothing since 5s

goes to  66.7%  /#/consul/redis1  4 endpoints
         33.3%  /#/consul/redis2  1 endpoint
`},
		{"cut", pictureTable2, "/svc/redis", 0, Style{Width: 72}, `
/svc/redis in default, under 3 entries

/svc/redis  first of 2
├─ 1. /svc/redis  by weight   [3] /svc/redis => 2.00*/cluster/redis1 & …
│  ├─ 66.7% /cluster/redis1
│  │  └─ ● /#/consul/redis1   [1] /cluster => /#/consul
│  │       4 endpoints since 5s: 10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3…
│  └─ 33.3% /cluster/redis2
│     └─ ● /#/consul/redis2   [1] /cluster => /#/consul
│          1 endpoint since 5s: 10.0.1.1:6379
└─ 2. /cluster/redis          [2] /svc => /cluster
   │ not taken: is nothing
   └─ ✗ /#/consul/redis       [1] /cluster => /#/consul
        nothing since 5s

goes to  66.7%  /#/consul/redis1  4 endpoints
         33.3%  /#/consul/redis2  1 endpoint
`},
		{"coloured", "/svc => /#/consul | ! | /x", "/svc/redis2", 0, Style{Colour: true}, "\n" +
			"\x1b[1m/svc/redis2\x1b[0m in default, under 1 entry\n" +
			"\n" +
			"/svc/redis2  first of 3\n" +
			"\x1b[2m├─ \x1b[0m1. \x1b[32m● \x1b[0m/#/consul/redis2   \x1b[36m[1] /svc => /#/consul | ! | /x\x1b[0m\n" +
			"\x1b[2m│       \x1b[0m\x1b[2m1 endpoint since 5s: 10.0.1.1:6379\x1b[0m\n" +
			"\x1b[2m├─ \x1b[0m\x1b[2m2. \x1b[0m\x1b[31m✗ \x1b[0m\x1b[2m!\x1b[0m\n" +
			"\x1b[2m│       \x1b[0m\x1b[2mnot taken: an alternative before it is used\x1b[0m\n" +
			"\x1b[2m└─ \x1b[0m\x1b[2m3. \x1b[0m\x1b[31m✗ \x1b[0m\x1b[2m/x/redis2\x1b[0m\n" +
			"\x1b[2m        \x1b[0m\x1b[2mnothing\x1b[0m\n" +
			"\x1b[2m        \x1b[0m\x1b[2mnot taken: is nothing\x1b[0m\n" +
			"\n" +
			"goes to   100%  /#/consul/redis2  \x1b[32m1 endpoint\x1b[0m\n"},
		{"trouble", "/svc => /#/consul/dc9 | /#/fs", "/svc/x", 0, Style{}, `
/svc/x in default, under 1 entry

/svc/x  first of 2
├─ 1. ✗ /#/consul/dc9/x   [1] /svc => /#/consul/dc9 | /#/fs
│       nothing since 5s: 500 (No path to datacenter)
│       not taken: is nothing
└─ 2. ✗ /#/fs/x
        nothing: no namer is configured for it here
        not taken: is nothing

goes nowhere: every connection is refused
`},
		{"failed", "/a => /#/consul/broken | /#/consul/dry ; /svc/x => /a", "/svc/x", 1, Style{}, `
/svc/x in default, under 2 entries

/svc/x
└─ /a  first of 2             [-dtab 1] /svc/x => /a
   ├─ 1. ✗ /#/consul/broken   [1] /a => /#/consul/broken | /#/consul/dry
   │       failed since 5s: 403 Permission denied
   └─ 2. ○ /#/consul/dry
           no endpoints since 5s
           not taken: what comes before it has failed

cannot be bound: 403 Permission denied
`},
		{"dry, stale and deeper", "/a => /#/consul/dry & /#/consul/old/rest & $ ; /b => /#/consul/dry | /a | /#/consul/redis1", "/b", 0, Style{}, `
/b in default, under 2 entries

/b  first of 3
├─ 1. ○ /#/consul/dry         [2] /b => /#/consul/dry | /a | /#/consul/redis1
│       no endpoints since 5s
│       not taken: has no endpoints
├─ 2. /a  by weight
│  ├─ 33.3% ● /#/consul/dry   [1] /a => /#/consul/dry & /#/consul/old/rest & $
│  │          no endpoints since 5s
│  ├─ 33.3% ● /#/consul/old/rest
│  │          1 endpoint since 5s: 10.0.2.1:1 * 2
│  │          stale: the last that were known, their source is in trouble
│  └─ 33.3% ∅ $
│             no endpoints, on purpose
└─ 3. ○ /#/consul/redis1
        4 endpoints since 5s: 10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3:6379, and 1 more
        not taken: an alternative before it is used

goes to  33.3%  /#/consul/dry  no endpoints: its share goes to the others
         33.3%  /#/consul/old  1 endpoint
         33.3%  $              no endpoints: its share goes to the others
`},
		{"not known", "/a => /#/consul/silent", "/a", 0, Style{}, `
/a in default, under 1 entry

/a
└─ … /#/consul/silent   [1] /a => /#/consul/silent
     not known yet since 9s

not known: connections wait
`},
		{"nothing", "/a => ~ ; /b => !", "/a", 0, Style{}, `
/a in default, under 2 entries

/a
└─ ✗ ~   [1] /a => ~

goes nowhere: every connection is refused
`},
		{"no entry", "", "/a", 0, Style{}, `
/a in default, under an empty table

✗ /a
  nothing

goes nowhere: every connection is refused
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b strings.Builder
				if err := Draw(&b, explain(t, c.table, c.path, c.request), c.style); err != nil {
					t.Fatal(err)
				}
				if got := "\n" + b.String(); got != c.want {
					t.Errorf("drawn:%s\nwant:%s", got, c.want)
				}
			})
		})
	}
}

// What an agent does is drawn below the tree, and all of it survives the way over the wire.
func TestDrawAgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := explain(t, "/svc => /#/consul", "/svc/redis2", 0)
		x.Agent = &Agent{Name: "proxy", Followed: true, Status: "ok", LastGood: true, Bound: "/#/consul/redis1", Error: "403", Open: 3,
			Clusters: []AgentCluster{
				{Cluster: "/#/consul/redis1", Share: 1, Status: "ok", Open: 2, Stale: true, Endpoints: []AgentEndpoint{
					{"10.0.0.1:6379", "active", 1, 2}, {"10.0.0.12:6379", "ejected", 0.5, 0}}},
				{Cluster: "/#/consul/redis2", Status: "gone", Open: 1, Endpoints: []AgentEndpoint{{"10.0.1.1:6379", "draining", 1, 1}}},
			}}
		body, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var read Explanation
		if err := json.Unmarshal(body, &read); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := Draw(&b, &read, Style{}); err != nil {
			t.Fatal(err)
		}
		const want = `/svc/redis2 in default, under 1 entry

/svc/redis2
└─ ● /#/consul/redis2   [1] /svc => /#/consul
     1 endpoint since 5s: 10.0.1.1:6379

goes to   100%  /#/consul/redis2  1 endpoint

agent proxy, 3 connections open
  goes on with the last good binding: /#/consul/redis1
  because: 403
    100%  /#/consul/redis1  2 open  stale
          10.0.0.1:6379   active    2 open
          10.0.0.12:6379  ejected   0 open  weight 0.5
      0%  /#/consul/redis2  1 open  leaving: no new connections
          10.0.1.1:6379  draining  1 open
`
		if b.String() != want {
			t.Errorf("drawn:\n%s", b.String())
		}
	})
}

// A table that leads to one large service by thousands of ways does not fill the memory of those who explain it.
func TestLargeExplanation(t *testing.T) {
	t.Parallel()
	endpoints := make([]namer.Endpoint, 1000)
	for i := range endpoints {
		endpoints[i] = namer.Endpoint{Addr: fmt.Sprintf("10.0.%d.%d:1", i/250, i%250), Weight: 1}
	}
	services := manual.New(1)
	services.SetAddr("a", namer.Addr{Status: namer.OK, Endpoints: endpoints})
	table, err := dtab.Parse("/w => " + strings.Repeat("/#/s/a & ", 4000) + "/#/s/a/" + strings.Repeat("x", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	in := namer.NewInterpreter(namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/s"), Namer: services}},
		Dtab: watch.Fixed(namer.Table(table, nil))})
	defer in.Close()
	name := dtab.MustParsePath("/w")
	x, err := in.Explain(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	e := Of(name, x, 0, time.Now())
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	last := e.Tree.Steps[4000]
	if len(body) > 32<<20 || len(e.Tree.Steps) != 4001 || last.Bound.Count != 1000 || len(last.Bound.Endpoints) != 0 || len(last.Path) > 100 {
		t.Errorf("%d bytes, %d steps, the last %+v", len(body), len(e.Tree.Steps), last)
	}
}
