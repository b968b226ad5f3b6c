package inet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseHost(t *testing.T) {
	for _, c := range []struct{ host, want string }{
		{"127.0.0.1", "127.0.0.1"}, {"127.1", "127.0.0.1"}, {"10.1.5", "10.1.0.5"}, {"10.1.258", "10.1.1.2"},
		{"1234", "0.0.4.210"}, {"0", "0.0.0.0"}, {"4294967295", "255.255.255.255"}, {"127.16777215", "127.255.255.255"},
		{"localhost", "127.0.0.1"}, {"LocalHost", "127.0.0.1"}, {"", "127.0.0.1"}, {"::1", "::1"}, {"::ffff:10.0.0.1", "10.0.0.1"},
		{"fe80::1%eth0", "fe80::1%eth0"},
		{"4294967296", ""}, {"127.16777216", ""}, {"256.1", ""}, {"1.2.3.256", ""}, {"1.2.3.4.5", ""}, {"a.b", ""}, {"1.", ""},
		{".1", ""}, {"1..2", ""}, {"-1", ""}, {"+1", ""}, {"1.+2", ""}, {"0x7f.1", ""}, {"010.1.1.1", ""}, {"127.01", ""},
		{"example.com", ""}, {"localhost.", ""}, {" 1", ""}, {"1e3", ""},
	} {
		got := ""
		if a, ok := ParseHost(c.host); ok {
			got = a.String()
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.host, got, c.want)
		}
	}
}

func TestParsePort(t *testing.T) {
	for _, good := range []string{"1", "80", "65535", "0080"} {
		if _, ok := ParsePort(good); !ok {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "0", "65536", "-1", "+1", "8o", "http", "80 ", "1_0", "0x50"} {
		if p, ok := ParsePort(bad); ok {
			t.Errorf("%q is read as %d", bad, p)
		}
	}
}

// fakeDNS answers what it has been told.
type fakeDNS struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	asked int
}

func (f *fakeDNS) set(err error, addrs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addrs, f.err = nil, err
	for _, a := range addrs {
		f.addrs = append(f.addrs, netip.MustParseAddr(a))
	}
}

func (f *fakeDNS) lookup(context.Context, string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return slices.Clone(f.addrs), f.err
}

func TestWatch(t *testing.T) {
	missing := &net.DNSError{Err: "no such host", IsNotFound: true}
	down := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{}
		dns.set(down)
		var mu sync.Mutex
		var got string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Resolver{Lookup: dns.lookup}.Watch(ctx, "db.example", func(a Answer) {
				mu.Lock()
				defer mu.Unlock()
				got = strings.TrimSpace(fmt.Sprint(a.Addrs, " ", errors.Is(a.Err, down) || errors.Is(a.Err, missing)))
			})
		}()
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		step := func(wait time.Duration, err error, addrs ...string) {
			synctest.Wait()
			dns.set(err, addrs...)
			time.Sleep(wait)
		}
		want("[] true")
		step(Retry, missing)
		want("[] false") // known to be nothing
		step(Retry, nil, "10.0.0.2", "10.0.0.1", "10.0.0.2")
		want("[10.0.0.1 10.0.0.2] false")
		step(Refresh, down)
		want("[10.0.0.1 10.0.0.2] true")
		step(Retry, missing)
		want("[10.0.0.1 10.0.0.2] true") // once is not believed
		step(Retry, down)
		want("[10.0.0.1 10.0.0.2] true")
		step(Retry, missing)
		want("[] false")
		step(Retry, nil, "10.0.0.3")
		want("[10.0.0.3] false")
		dns.mu.Lock()
		before := dns.asked
		dns.mu.Unlock()
		time.Sleep(10 * Refresh)
		synctest.Wait()
		dns.mu.Lock()
		if n := dns.asked - before; n != 10 {
			t.Errorf("asked %d times in ten refreshes", n)
		}
		dns.mu.Unlock()
		cancel()
		<-done
	})
}

func TestWatchOfAnAddressAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := 0
		Resolver{Lookup: dns.lookup}.Watch(ctx, "127.1", func(a Answer) { n++ })
		if n != 1 || dns.asked != 0 {
			t.Errorf("%d answers, DNS asked %d times", n, dns.asked)
		}
	})
}
