package remote

import (
	"fmt"
	"math"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// ours is a namerd of this project.
type ours struct {
	tables *store.Memory
	namer  *manual.Namer
	http   *httptest.Server
}

func startOurs(t *testing.T, table string) *ours {
	t.Helper()
	o := &ours{tables: store.NewMemory(map[string]dtab.Dtab{"default": mustDtab(t, table)}), namer: manual.New(1)}
	n := names.New(o.tables, namer.Options{Mounts: []namer.Mount{{Prefix: path("/#/catalog"), Namer: o.namer}}}, hclog.NewNullLogger())
	api := namerd.NewServer(o.tables, namerd.Options{Names: n})
	o.http = httptest.NewServer(api.Handler())
	t.Cleanup(func() {
		o.http.CloseClientConnections()
		api.Close()
		o.http.Close()
		n.Close()
	})
	return o
}

func (o *ours) put(t *testing.T, table string) {
	t.Helper()
	if err := o.tables.Put(t.Context(), "default", mustDtab(t, table)); err != nil {
		t.Fatal(err)
	}
}

// What our own namerd says is bound as if there was no wire between.
func TestWithOurNamerd(t *testing.T) {
	for _, mode := range []Mode{Auto, Stream, Poll} {
		t.Run(string(mode), func(t *testing.T) {
			o := startOurs(t, "/svc => /#/catalog")
			o.namer.SetEndpoints("redis", "10.0.0.1:1")
			o.namer.SetAddr("heavy", namer.Addr{Status: namer.OK, Endpoints: []namer.Endpoint{
				{Addr: "10.0.0.2:2", Weight: 2.5}, {Addr: "10.0.0.3:3", Weight: 1}}})
			o.namer.Remove("none")
			in, err := New(Options{Address: o.http.URL, Mode: mode, Local: mustDtab(t, "/svc/local => /svc/redis")})
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			in.times = quick
			in.Start()
			s := &scripted{t: t, http: o.http}
			flat := mode == Poll
			id := func(name, polled string) string {
				if flat {
					return polled
				}
				return name
			}
			r := in.Bind(t.Context(), path("/svc/redis"))
			s.want(r, "{"+id("/#/catalog/redis", "/svc/redis")+" ok 10.0.0.1:1}")
			local := in.Bind(t.Context(), path("/svc/local"))
			s.want(local, "{"+id("/#/catalog/redis", "/svc/local")+" ok 10.0.0.1:1}")
			o.namer.SetEndpoints("redis", "10.0.0.1:1", "10.0.0.9:9")
			s.want(r, "{"+id("/#/catalog/redis", "/svc/redis")+" ok 10.0.0.1:1 10.0.0.9:9}")
			s.want(local, "{"+id("/#/catalog/redis", "/svc/local")+" ok 10.0.0.1:1 10.0.0.9:9}")
			s.want(in.Bind(t.Context(), path("/svc/none")), "~")

			begun := time.Now()
			o.put(t, "/svc => /#/catalog; /svc/redis => /svc/heavy")
			s.want(r, "{"+id("/#/catalog/heavy", "/svc/redis")+" ok 10.0.0.2:2*2.5 10.0.0.3:3}")
			t.Logf("a change of the table took %v", time.Since(begun))
			if flat {
				return
			}
			o.put(t, "/svc => /#/catalog; /svc/redis => 3 * /svc/heavy & 1 * /#/catalog/redis")
			b := s.want(r, "3.00*{/#/catalog/heavy ok 10.0.0.2:2*2.5 10.0.0.3:3} & {/#/catalog/redis ok 10.0.0.1:1 10.0.0.9:9}")
			if len(b.Clusters) != 2 || math.Abs(b.Clusters[0].Share-0.75) > 1e-9 {
				t.Errorf("clusters %+v", b.Clusters)
			}
			o.put(t, "/svc/redis => !")
			s.want(r, "!")
			o.put(t, "/svc/redis => /$/inet/10.1.1.1/80/rest")
			s.want(r, "{/$/inet/10.1.1.1/80 + /rest ok 10.1.1.1:80}")
			if known, err := in.Known(); !known || err != nil {
				t.Errorf("known %v, %v", known, err)
			}
		})
	}
}

// Many names over one namerd: one change reaches all of them, and the memory is bounded.
func TestManyNames(t *testing.T) {
	const count = 400
	o := startOurs(t, "/svc => /#/catalog/one")
	o.namer.SetEndpoints("one", "10.0.0.1:1")
	o.namer.SetEndpoints("two", "10.0.0.2:2")
	in, err := New(Options{Address: o.http.URL, Mode: Stream})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	before := heap()
	var bound []watch.Reader[namer.Binding]
	for i := range count {
		bound = append(bound, in.Bind(t.Context(), path(fmt.Sprintf("/svc/n%d", i))))
	}
	leads := func(addr string) func() bool {
		return func() bool {
			for _, r := range bound {
				b, _ := r.Load()
				if b.Status != namer.OK || len(b.Clusters) != 1 || len(b.Clusters[0].Addr.Endpoints) != 1 ||
					b.Clusters[0].Addr.Endpoints[0].Addr != addr {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all names are bound", leads("10.0.0.1:1"))
	if n := in.Streams(); n != count+1 {
		t.Errorf("%d streams for %d names that lead to one cluster", n, count)
	}
	used := heap() - before
	begun := time.Now()
	o.put(t, "/svc => /#/catalog/two")
	eventually(t, "all names have moved", leads("10.0.0.2:2"))
	t.Logf("%d names: all moved after %v; %d kB of heap for each, with the namerd's side", count, time.Since(begun), used/count/1024)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
