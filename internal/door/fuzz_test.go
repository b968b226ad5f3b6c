package door

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"argosy/internal/settings"
)

// What is let in as a request for this machine is one by net/url's reading, too: an address, or a localhost.
func FuzzHost(f *testing.F) {
	for _, h := range []string{"localhost", "localhost:80", "127.0.0.1:9990", "[::1]:1", "[::1]", "[fe80::1%25lo]:1", "evil.example", "localhost.evil.example", "a.localhost.", "127.0.0.1.evil.example:1", "x@127.0.0.1", "127.0.0.1#evil", "127.0.0.1:1:1", "[evil.example]:1", "::1"} {
		f.Add(h)
	}
	s := &rules{cfg: settings.Door{Address: "127.0.0.1:0"}}
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	f.Fuzz(func(t *testing.T, host string) {
		r := (&http.Request{Host: host}).WithContext(ctx)
		if host == "" || !s.hostKnown(r) {
			return
		}
		u, err := url.Parse("http://" + host + "/")
		if err != nil {
			return // no page has that for its address
		}
		name, _, _ := strings.Cut(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), "%")
		if net.ParseIP(name) == nil && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
			t.Errorf("%q is let in, and is %q", host, name)
		}
	})
}
