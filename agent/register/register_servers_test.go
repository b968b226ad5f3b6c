//go:build servers

package register

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/consultest"
)

// status is what a watcher of the service web sees: its instances' ids and states.
func status(t *testing.T, c *consultest.Consul, want string) {
	t.Helper()
	consultest.Eventually(t, 20*time.Second, func() error {
		all, _, err := c.Client.Health().Service("web", "", false, nil)
		if err != nil {
			return err
		}
		if got := shown(all); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// shown are instances with their addresses and states.
func shown(entries []*api.ServiceEntry) (text string) {
	for _, e := range entries {
		text += fmt.Sprintf("%s %s:%d %s;", e.Service.ID, e.Service.Address, e.Service.Port, e.Checks.AggregatedStatus())
	}
	return text
}

func logTo(t *testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Info})
}

func TestRealRegistration(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
		}
	}))
	defer health.Close()
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			c := consultest.Start(t, consultest.Options{Keep: keep})
			r := New(c.Client, Options{Logger: logTo(t)})
			start(t, r, Service{ID: "web-1", Name: "web", Address: "127.0.0.9", Port: 80, Tags: []string{"a"}, Meta: map[string]string{"version": "1"},
				Native: true, Check: HTTP, CheckURL: health.URL, CheckInterval: time.Second})
			const good = "web-1 127.0.0.9:80 passing;"
			status(t, c, good)
			if keep {
				status(t, c, good)
			} else {
				broken.Store(true)
				status(t, c, "web-1 127.0.0.9:80 critical;")
				broken.Store(false)
				status(t, c, good)

				c.Deregister(t, "web-1") // by somebody who should not have
				status(t, c, good)
			}
			c.Kill()
			c.MustRestart(t)
			status(t, c, good)
			consultest.Eventually(t, 20*time.Second, func() error {
				if !r.Registered() {
					return fmt.Errorf("not registered")
				}
				return nil
			})

			// Nothing is written while all is well.
			before, _, err := c.Client.Agent().Service("web-1", nil)
			if err != nil {
				t.Fatal(err)
			}
			if before.Meta["version"] != "1" || !before.Connect.Native {
				t.Errorf("got %+v", before)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := r.Deregister(ctx); err != nil {
				t.Fatal(err)
			}
			status(t, c, "")
			if err := r.Deregister(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// What we want and what Consul gives back must be the same in Consul's eyes, or it would be written again and again.
func TestRealRegistrationIsStable(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	for _, s := range []Service{
		{ID: "a", Name: "web"},
		{ID: "b", Name: "web", Port: 1, Address: "127.0.0.9", Tags: []string{"y", "x"}, Meta: map[string]string{"k": "v"}},
		{ID: "d", Name: "web", Port: 2, Check: TTL, CheckTCP: "127.0.0.1:2"},
		{ID: "c", Name: "web", Port: 1, Native: true, Check: HTTP, CheckURL: "http://127.0.0.1:1/", Tags: []string{}, Meta: map[string]string{}},
	} {
		r := New(c.Client, Options{})
		if err := r.register(t.Context(), s, true); err != nil {
			t.Fatal(err)
		}
		have, err := r.look(t.Context(), s.ID, "")
		if err != nil || !same(have, s) {
			t.Errorf("%+v comes back as %+v, %v", s, have, err)
		}
	}
	checks, err := c.Client.Agent().Checks()
	if err != nil || len(checks) != 3 || checks["service:c:http"] == nil || checks["service:c:http"].Type != "http" ||
		checks["service:d:ttl"] == nil || checks["service:d:ttl"].Type != "ttl" || checks["service:d:tcp"] == nil || checks["service:d:tcp"].Type != "tcp" {
		t.Errorf("checks %+v, %v", checks, err)
	}
}
