package namer_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/inet"
	"argosy/namer/namertest"
)

func TestSystemContract(t *testing.T) {
	for _, name := range []dtab.Path{{"inet", "127.1", "80"}, {"fixedinet", "80"}, {"inet", "db.example", "80"}} {
		namertest.Run(t, func(t *testing.T) namertest.Fixture {
			lookup := func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
			}
			return namertest.Fixture{Namer: namer.System{Resolver: inet.Resolver{Lookup: lookup}}, Name: name}
		})
	}
}

func TestSystemPaths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "", nil)
		for _, c := range []struct{ path, want string }{
			{"/$/inet/127.0.0.1/80/a/b", "/$/inet/127.0.0.1/80[127.0.0.1:80] /a/b"},
			{"/$/fixedinet/10.1/80", "/$/fixedinet/10.1/80[10.0.0.1:80] /"},
			{"/$/inet/80/a", "/$/inet/80[127.0.0.1:80] /a"},
			{"/$/inet/1234/5678", "/$/inet/1234/5678[0.0.4.210:5678] /"},
			{"/$/inet/localhost/80", "/$/inet/localhost/80[127.0.0.1:80] /"},
			{"/$/inet/::1/80", "/$/inet/::1/80[[::1]:80] /"},
			{"/$/fail", "!"}, {"/$/fail/a", "!"}, {"/$/nil", "$"}, {"/$/nil/a", "$"}, {"/$", "~"}, {"/", "~"}, {"/#/x", "~"},
			{"/$/inet", "failed"}, {"/$/inet/a", "failed"}, {"/$/inet/a/b", "failed"}, {"/$/inet/a/1_0", "failed"},
			{"/$/inet/a/0", "/$/inet/a/0[] /"}, {"/$/inet/80/65536/x", "/$/inet/80/65536[] /x"}, {"/$/inet/0/a", "/$/inet/0[] /a"}, {"/$/failure", "failed"}, {"/$/nilly", "failed"},
			{`/$/\xff\x20/x`, "failed"},
		} {
			b, _ := r.bind(c.path).Load() // known at once
			got := show(b)
			if len(b.Clusters) > 0 && b.Clusters[0].ID != nil {
				got += " " + b.Clusters[0].Residual.String()
			}
			if got != c.want {
				t.Errorf("%s: got %s, want %s", c.path, got, c.want)
			}
		}
	})
}

func TestSystemResolvesNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var known atomic.Bool
		r := newRig(t, "/svc => /$/inet/db.example/5432 | /#/m/b", func(o *namer.Options) {
			o.EmptyFallsThrough = true
			o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
				if time.Sleep(time.Second); known.Load() {
					return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
				}
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
		})
		r.m.SetEndpoints("b", "10.0.0.2:1")
		b := r.bind("/svc")
		r.want(b, "/$/inet/db.example/5432[]")
		if v, _ := b.Load(); v.Clusters[0].Addr.Status != namer.Pending {
			t.Errorf("address %s, want pending", v.Clusters[0].Addr.Status)
		}
		time.Sleep(time.Second)
		r.want(b, "/#/m/b[10.0.0.2:1]")
		known.Store(true)
		time.Sleep(inet.Refresh + time.Second)
		r.want(b, "/$/inet/db.example/5432[10.0.0.1:5432]")
	})
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a 1", "{a 1 1}"}, {"a:1", "{a 1 1}"}, {"[::1]:2", "{::1 2 1}"}, {"::1 2", "{::1 2 1}"}, {"[::1] 2", "{::1 2 1}"},
		{"a:1*2", "{a 1 2}"}, {" a:1 * 0.5 ", "{a 1 0.5}"}, {"a 1 * 0", "{a 1 0}"}, {":80", "{ 80 1}"}, {"/run/x.sock * 2", "{/run/x.sock 0 2}"},
		{"", ""}, {"a", ""}, {"a:", ""}, {"a:b", ""}, {"::1:2:x", ""}, {"a 1 2", ""}, {"a:1 * -1", ""}, {"a:1 *", ""}, {"a:1 * 1 * 1", ""},
		{"a:1 * inf", ""}, {"a:1 * nan", ""}, {"* 2", ""}, {"/run/x 2", ""},
		{"a/b 2", ""}, {"é 2", ""}, {"[a 2", ""}, {"[[::1]] 2", ""}, {"/run/\x01", ""},
	} {
		got := ""
		if target, err := namer.ParseTarget(c.text); err == nil {
			got = fmt.Sprint("{", target.Host, " ", target.Port, " ", target.Weight, "}")
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

// Real goroutines, real time: many names bound and dropped while table and namers change, for the race detector and for
// the law that in the end every binding is that of the end.
func TestStress(t *testing.T) {
	r := newRig(t, "/svc => /#/m", func(o *namer.Options) { o.Linger = time.Millisecond })
	keys := []string{"a", "b", "c"}
	for _, k := range keys {
		r.m.SetEndpoints(k)
	}
	var readers []watch.Reader[namer.Binding]
	for i := range 60 {
		readers = append(readers, r.bind("/svc/"+keys[i%3]))
	}
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		r.in.Bind(ctx, dtab.Path{"svc", keys[i%3], "x"})
		r.m.SetEndpoints(keys[i%3], fmt.Sprintf("10.0.%d.%d:1", i/250, i%250))
		if i%3 == 0 {
			r.set([]string{"/svc => /#/m", "/svc => /#/m/a & 2*/#/m", "/svc => /svc", "/svc => /#/m/none | /#/m"}[i/3%4])
		}
		cancel()
	}
	r.set("/svc => /#/m")
	for _, k := range keys {
		r.m.SetEndpoints(k, "10.1.1.1:1")
	}
	for i, b := range readers {
		want := "/#/m/" + keys[i%3] + "[10.1.1.1:1]"
		for {
			v, superseded := b.Load()
			if show(v) == want {
				break
			}
			select {
			case <-superseded:
			case <-time.After(20 * time.Second):
				t.Fatalf("got %s, want %s", show(v), want)
			}
		}
	}
}
