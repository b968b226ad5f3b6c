//go:build servers

package nomad

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/e2e/stack"
	"argosy/internal/nomadclient"
	"argosy/internal/settings"
	"argosy/namer/namertest"
)

const job = `
variable "count" { type = number }
job "site" {
  update {
    max_parallel = 0
  }
  group "web" {
    count = var.count
    network {
      port "http" {}
    }
    service {
      provider = "nomad"
      name     = "web"
      port     = "http"
      tags     = ["v1"]
      check {
        type     = "tcp"
        interval = "1s"
        timeout  = "1s"
      }
    }
    task "sleep" {
      driver       = "raw_exec"
      kill_timeout = "1s"
      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
`

// site runs the job on a real Nomad.
type site struct {
	*stack.Stack
	t    *testing.T
	file string
}

func start(t *testing.T) *site {
	s := &site{Stack: stack.New(t, stack.Options{Nomad: true}), t: t}
	s.file = s.Path("site.nomad.hcl")
	if err := os.WriteFile(s.file, []byte(job), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) run(count int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.Nomad.Submit(ctx, s.file, map[string]string{"count": fmt.Sprint(count)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) namer(o Options, address string) *Namer {
	client, err := nomadclient.New(settings.Nomad{Address: address})
	if err != nil {
		s.t.Fatal(err)
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: s.t.Output(), Level: hclog.Info})
	return New(client, o, logger, nil)
}

// expectCount waits until there are as many instances, and they are stale or not.
func (w *watching) expectCount(count int, stale bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	defer cancel()
	if err := stack.Eventually(ctx, 5*time.Millisecond, func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		got := strings.Count(w.last, ":")
		if got != count || strings.HasSuffix(w.last, "stale") != stale {
			return fmt.Errorf("%q", w.last)
		}
		return nil
	}); err != nil {
		w.t.Fatalf("want %d instances, stale %v, have %v", count, stale, err)
	}
}

func TestRealNomad(t *testing.T) {
	t.Parallel()
	s := start(t)
	hold := Options{HoldEmpty: time.Minute}
	all := follow(t, s.namer(hold, s.Nomad.URL), "/default/web/rest")
	v1 := follow(t, s.namer(Options{IncludeTag: true}, s.Nomad.URL), "/default/v1/web")
	v2 := follow(t, s.namer(Options{IncludeTag: true}, s.Nomad.URL), "/default/v2/web")
	here := follow(t, s.namer(Options{Filter: `Datacenter == "dc1" and "v1" in Tags`}, s.Nomad.URL), "/default/web")
	elsewhere := follow(t, s.namer(Options{Filter: `Datacenter == "dc2"`}, s.Nomad.URL), "/default/web")
	nowhere := follow(t, s.namer(hold, s.Nomad.URL), "/nowhere/web")
	for _, w := range []*watching{all, v1, v2, here, elsewhere, nowhere} {
		w.expect("~")
	}
	s.run(1)
	for _, w := range []*watching{all, v1, here} {
		w.expectCount(1, false)
	}
	// Nothing listens on the port, so the check fails: that does not count.
	s.run(3)
	all.expectCount(3, false)
	v1.expectCount(3, false)
	for _, w := range []*watching{v2, elsewhere, nowhere} {
		w.only("~")
	}
	s.run(2)
	all.expectCount(2, false)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Nomad.StopJob(ctx, "site"); err != nil {
		t.Fatal(err)
	}
	all.expect("~")
	s.run(2)
	all.expectCount(2, false)
	s.Nomad.Kill()
	all.expectCount(2, true)
}

func TestRealComplaints(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []struct {
		o    Options
		s    settings.Nomad
		want string
	}{
		{Options{Filter: "Datacenter =="}, settings.Nomad{}, "nomad answered 400: failed to create result paginator: failed to read filter expression"},
		{Options{}, settings.Nomad{Region: "mars"}, "nomad answered 500: No path to region"},
		{Options{}, settings.Nomad{Token: settings.NewSecret("wrong")}, ""}, // a Nomad without ACLs looks at no token
	} {
		c.s.Address = s.Nomad.URL
		client, err := nomadclient.New(c.s)
		if err != nil {
			t.Fatal(err)
		}
		n := New(client, c.o, hclog.NewNullLogger(), nil)
		_, _, err = n.get(t.Context(), target{namespace: "default", service: "web"}, 0, 0)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c, err, c.want)
		}
	}
}

func TestRealNamerIsANamer(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.run(1)
	follow(t, s.namer(Options{}, s.Nomad.URL), "/default/web").expectCount(1, false)
	way, err := url.Parse(s.Nomad.URL)
	if err != nil {
		t.Fatal(err)
	}
	count := 1
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		var broken atomic.Bool
		proxy := httputil.NewSingleHostReverseProxy(way)
		between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				http.Error(w, "No cluster leader", http.StatusInternalServerError)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(func() { between.CloseClientConnections(); between.Close() })
		return namertest.Fixture{
			Namer: s.namer(Options{}, between.URL), Name: dtab.Path{"default", "web"}, Missing: dtab.Path{"default", "no-such-service"},
			Change:  func() { count++; s.run(count) },
			Trouble: func() { broken.Store(true); between.CloseClientConnections() },
			Wait:    40 * time.Second,
		}
	})
}
