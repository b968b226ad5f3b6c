package consulclient

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/blockq"
	"argosy/internal/settings"
)

// A loop leaves a Consul alone that has too much to do, whether it says for how long or not, also when the answer comes
// to a request that waits.
func TestLoopsLeaveABusyConsulAlone(t *testing.T) {
	clearEnv(t)
	for _, c := range []struct {
		name, header string
		code         int
		least        time.Duration
	}{
		{"429 with Retry-After", "2", http.StatusTooManyRequests, 2 * time.Second},
		{"429 without", "", http.StatusTooManyRequests, 3 * time.Second},
		{"503 with Retry-After", "2", http.StatusServiceUnavailable, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Consul-Index", "5")
				if n := asked.Add(1); n == 2 {
					if c.header != "" {
						w.Header().Set("Retry-After", c.header)
					}
					http.Error(w, "Your IP is issuing too many concurrent connections, please rate limit your calls", c.code)
					return
				}
				w.Write([]byte(`[{"Key":"x","Value":""}]`))
			})
			client, err := New(settings.Consul{Address: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var refused time.Time
			var pause time.Duration
			blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*api.KVPair, *api.QueryMeta, error) {
				return client.KV().Get("x", q)
			}, func(_ *api.KVPair, _ *api.QueryMeta, err error) {
				switch {
				case err != nil:
					refused = time.Now()
				case !refused.IsZero():
					pause = time.Since(refused)
					cancel()
				}
			})
			if pause < c.least {
				t.Errorf("asked again after %v, want at least %v", pause, c.least)
			}
		})
	}
}
