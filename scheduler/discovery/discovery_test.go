package discovery

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
)

func instance(id, address, admin string) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "n1", Datacenter: "dc1", Address: "10.0.0.1"},
		Service: &api.AgentService{ID: id, Address: address, Meta: map[string]string{"admin": admin, "version": "1.2"}},
	}
}

func TestAdminAddress(t *testing.T) {
	for _, c := range []struct{ address, admin, want string }{
		{"10.0.0.9", "10.0.0.9:9990", "10.0.0.9:9990"},
		{"10.0.0.9", "0.0.0.0:9990", "10.0.0.9:9990"},
		{"10.0.0.9", ":9990", "10.0.0.9:9990"},
		{"", "[::]:9990", "10.0.0.1:9990"},
		{"", "[::1]:9990", "[::1]:9990"},
		{"10.0.0.9", "host.example:9990", "host.example:9990"},
		{"10.0.0.9", "", ""}, {"10.0.0.9", "9990", ""}, {"10.0.0.9", "10.0.0.9:http", ""}, {"10.0.0.9", "10.0.0.9:0", ""}, {"10.0.0.9", "10.0.0.9:70000", ""},
	} {
		if got := adminAddress(instance("i", c.address, c.admin)); got != c.want {
			t.Errorf("%q of %q: got %q, want %q", c.admin, c.address, got, c.want)
		}
	}
	e := instance("i", "", ":1")
	e.Node = nil
	if got := adminAddress(e); got != "" {
		t.Errorf("no host anywhere: %q", got)
	}
}

// catalog is a Consul with nothing but a health endpoint.
type catalog struct {
	*httptest.Server
	mu      sync.Mutex
	index   int
	changed chan struct{}
	entries map[string][]*api.ServiceEntry
	broken  bool
}

func newCatalog(t *testing.T) *catalog {
	c := &catalog{index: 1, changed: make(chan struct{}), entries: map[string][]*api.ServiceEntry{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if index := r.URL.Query().Get("index"); index == itoa(c.index) && !c.broken {
			changed := c.changed
			c.mu.Unlock()
			select {
			case <-changed:
			case <-r.Context().Done():
			}
			c.mu.Lock()
		}
		if c.broken {
			http.Error(w, "no leader", http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Consul-Index", itoa(c.index))
		w.Header().Set("Content-Type", "application/json")
		entries := c.entries[strings.TrimPrefix(r.URL.Path, "/v1/health/service/")]
		if entries == nil {
			entries = []*api.ServiceEntry{}
		}
		json.NewEncoder(w).Encode(entries)
	}))
	t.Cleanup(func() { c.CloseClientConnections(); c.Close() })
	return c
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func (c *catalog) set(broken bool, service string, entries ...*api.ServiceEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = broken
	if service != "" {
		c.entries[service] = entries
	}
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
}

func TestConsulIsFollowed(t *testing.T) {
	c := newCatalog(t)
	c.set(false, "proxy", instance("p-2", "10.0.0.2", "10.0.0.2:9990"), instance("p-1", "10.0.0.1", "10.0.0.1:9990"), instance("other", "10.0.0.3", ""))
	c.set(true, "")
	d, err := NewConsul(settings.Consul{Address: c.URL, Timeout: 5 * time.Second}, []string{"proxy", "entry"}, hclog.NewNullLogger(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	targets := func(want string) {
		t.Helper()
		limit, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for {
			s, superseded := d.State().Load()
			var all []string
			for _, g := range s.Groups {
				all = append(all, g.Targets...)
			}
			if s.Known && strings.Join(all, " ") == want {
				return
			}
			select {
			case <-superseded:
			case <-limit.Done():
				t.Fatalf("got %+v, want %s", s, want)
			}
		}
	}
	time.Sleep(300 * time.Millisecond)
	if s, _ := d.State().Load(); s.Known {
		t.Errorf("known without an answer: %+v", s)
	}
	c.set(false, "")
	targets("10.0.0.1:9990 10.0.0.2:9990")
	if s, _ := d.State().Load(); s.Groups[0].Labels["__meta_argosy_service_id"] != "p-1" || s.Groups[0].Labels["__meta_argosy_node"] != "n1" {
		t.Errorf("%+v", s.Groups)
	}
	// An agent with two services is one target.
	c.set(false, "entry", instance("e-1", "10.0.0.1", "10.0.0.1:9990"), instance("e-9", "10.0.0.9", "10.0.0.9:9990"))
	targets("10.0.0.1:9990 10.0.0.9:9990 10.0.0.2:9990")
	// A Consul in trouble takes nobody away.
	c.set(true, "")
	time.Sleep(300 * time.Millisecond)
	targets("10.0.0.1:9990 10.0.0.9:9990 10.0.0.2:9990")
	c.set(false, "proxy")
	targets("10.0.0.1:9990 10.0.0.9:9990")
}
