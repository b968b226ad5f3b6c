//go:build servers

package consul

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/settings"
	"argosy/namer/namertest"
)

func TestRealNamerIsANamer(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	target, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		web := fmt.Sprintf("web%d", n.Add(1))
		c.Register(t, service(web, web+"a", 1))

		// Between the namer and Consul, so that there can be trouble without stopping Consul for all tests.
		var broken atomic.Bool
		proxy := httputil.NewSingleHostReverseProxy(target)
		way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				http.Error(w, "No cluster leader", http.StatusInternalServerError)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(func() { way.CloseClientConnections(); way.Close() })
		client, err := consulclient.New(settings.Consul{Address: way.URL})
		if err != nil {
			t.Fatal(err)
		}
		return namertest.Fixture{
			Namer:   New(client, usual, hclog.NewNullLogger(), nil),
			Name:    dtab.Path{"dc1", web},
			Missing: dtab.Path{"dc1", "no-such-service"},
			Change: func() {
				port := int(n.Add(1)) + 100
				c.Register(t, service(web, fmt.Sprintf("%s-%d", web, port), port))
			},
			Trouble: func() { broken.Store(true); way.CloseClientConnections() },
		}
	})
}
