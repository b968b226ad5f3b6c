package static

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/inet"
	"argosy/namer/namertest"
)

func TestContract(t *testing.T) {
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		n, err := New(map[string][]string{"redis": {"localhost:6379", "127.1:6380 * 2", "127.0.0.1 6381"}, "team/web": {"[::1]:80"}})
		if err != nil {
			t.Fatal(err)
		}
		return namertest.Fixture{Namer: n, Name: dtab.Path{"redis"}, Missing: dtab.Path{"team"}}
	})
}

func TestSplitTakesTheLongestName(t *testing.T) {
	n, err := New(map[string][]string{"a": nil, "a/b/c": nil})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, key string }{
		{"/a", "/a"}, {"/a/b", "/a"}, {"/a/b/c", "/a/b/c"}, {"/a/b/c/d/e", "/a/b/c"}, {"/b", ""}, {"/", ""}, {"/ab", ""},
	} {
		key, residual, ok := n.Split(dtab.MustParsePath(c.name))
		if ok != (c.key != "") || ok && (key.String() != c.key || key.Concat(residual).String() != c.name) {
			t.Errorf("%s splits into %s and %s, %v", c.name, key, residual, ok)
		}
	}
}

func TestNames(t *testing.T) {
	n, err := New(map[string][]string{"web": nil, "team/web": nil, "a": {"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Names(t.Context())
	if want := "[/a /team/web /web]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		services map[string][]string
		want     string
	}{
		{map[string][]string{"a b": nil}, "not a name"},
		{map[string][]string{"": nil}, "no elements"},
		{map[string][]string{"a": {"127.0.0.1"}}, "want host and port"},
		{map[string][]string{"a": {"127.0.0.1:0"}}, "not a port"},
		{map[string][]string{"a": {"127.0.0.1:http"}}, "not a port"},
		{map[string][]string{"a": {"127.0.0.1:80 * -1"}}, "weight"},
		{map[string][]string{"a": {"127.0.0.1:80 * x"}}, "weight"},
		{map[string][]string{"a": nil, `\x61`: nil}, "given twice"},
	} {
		if _, err := New(c.services); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.services, err, c.want)
		}
	}
}

func TestFollowsDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(map[string][]string{"a": {"db.example:5432 * 3", "10.0.0.9:1"}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var addrs []netip.Addr
		var fail error
		dns := func(err error, to ...string) {
			mu.Lock()
			defer mu.Unlock()
			addrs, fail = nil, err
			for _, a := range to {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
		}
		n.resolver = inet.Resolver{Lookup: func(context.Context, string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			return addrs, fail
		}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got namer.Addr
		dns(nil, "10.0.0.2", "10.0.0.1", "::ffff:10.0.0.1")
		go n.Watch(ctx, dtab.Path{"#", "s"}, dtab.Path{"a"}, func(a namer.Answer) {
			mu.Lock()
			defer mu.Unlock()
			got = a.Tree.Leaf.Bound.Addr
		})
		check := func(stale bool, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var have []string
			for _, e := range got.Endpoints {
				have = append(have, e.Addr)
			}
			if got.Status != namer.OK || got.Stale != stale || strings.Join(have, " ") != strings.Join(want, " ") {
				t.Errorf("got %+v, want %v stale=%v", got, want, stale)
			}
		}
		check(false, "10.0.0.1:5432", "10.0.0.2:5432", "10.0.0.9:1")
		mu.Lock()
		if w := got.Endpoints[0].Weight; w != 3 {
			t.Errorf("weight %v, want 3", w)
		}
		mu.Unlock()
		dns(&net.DNSError{Err: "server misbehaving", IsTemporary: true})
		time.Sleep(inet.Refresh)
		check(true, "10.0.0.1:5432", "10.0.0.2:5432", "10.0.0.9:1")
		dns(nil, "10.0.0.2")
		time.Sleep(inet.Retry)
		check(false, "10.0.0.2:5432", "10.0.0.9:1")
		dns(&net.DNSError{Err: "no such host", IsNotFound: true})
		time.Sleep(inet.Refresh)
		check(true, "10.0.0.2:5432", "10.0.0.9:1") // once is not enough
		time.Sleep(inet.Retry)
		check(false, "10.0.0.9:1")
	})
}
