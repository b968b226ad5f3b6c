package identity

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/consulclient"
	"argosy/internal/devca"
	"argosy/internal/settings"
	"argosy/namer"
)

// fakeConsul serves what an identity asks for, from a development CA. It blocks as Consul does.
type fakeConsul struct {
	mu       sync.Mutex
	changed  chan struct{}
	index    uint64
	ca       *devca.CA
	roots    []string // besides ca's
	leaves   map[string]*api.LeafCert
	rules    map[string][]*api.Intention // by destination
	jwts     map[string]*api.IntentionJWTRequirement
	byDef    string // "allow" or "deny"
	mesh     []*api.MeshConfigEntry
	down     bool
	silent   map[string]bool // paths' prefixes that get no answer yet
	renews   bool            // a plain request for a leaf gives a new one
	garbage  string          // unless empty, all that is answered
	requests int
	paths    []string // of all requests
	otherDCs []string
	servers  []api.CatalogService
	matches  int // those of them for intentions
	lax      int // of these, plain ones that a server that lags behind may answer
}

func newFakeConsul(t *testing.T) (*fakeConsul, *api.Client) {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeConsul{changed: make(chan struct{}), index: 10, ca: ca, byDef: "deny",
		leaves: map[string]*api.LeafCert{}, rules: map[string][]*api.Intention{}, silent: map[string]bool{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	client, err := consulclient.New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return f, client
}

// change changes what is served, and wakes who waits.
func (f *fakeConsul) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
	f.index++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	f.paths = append(f.paths, r.URL.Path)
	if strings.HasSuffix(r.URL.Path, "/match") {
		f.matches++
		if q := r.URL.Query(); !q.Has("index") && !q.Has("consistent") {
			f.lax++
		}
	}
	blocks := r.URL.Query().Get("index") == fmt.Sprint(f.index)
	quiet := func() bool {
		for p := range f.silent {
			if strings.Contains(r.URL.Path, p) {
				return true
			}
		}
		return false
	}
	for !f.down && (blocks || quiet()) {
		blocks = false
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		f.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	if f.down {
		http.Error(w, "no cluster leader", http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Consul-Index", fmt.Sprint(f.index))
	if f.garbage != "" {
		io.WriteString(w, f.garbage)
		return
	}
	trustDomain := f.ca.ID("x").Host
	switch path := r.URL.Path; {
	case path == "/v1/catalog/datacenters":
		json.NewEncoder(w).Encode(append([]string{"dc1"}, f.otherDCs...))
	case path == "/v1/catalog/service/consul":
		json.NewEncoder(w).Encode(f.servers)
	case strings.HasPrefix(path, "/v1/agent/connect/ca/leaf/"):
		name := strings.TrimPrefix(path, "/v1/agent/connect/ca/leaf/")
		l := f.leaves[name]
		if l == nil || f.renews && !r.URL.Query().Has("index") {
			issued, err := f.ca.Issue(name)
			if err != nil {
				panic(err)
			}
			l = &api.LeafCert{CertPEM: string(issued.Cert), PrivateKeyPEM: string(issued.Key)}
			f.leaves[name] = l
		}
		json.NewEncoder(w).Encode(l)
	case path == "/v1/agent/connect/ca/roots":
		list := api.CARootList{TrustDomain: trustDomain, Roots: []*api.CARoot{{ID: "now", RootCertPEM: string(f.ca.PEM())}}}
		for _, pem := range f.roots {
			list.Roots = append(list.Roots, &api.CARoot{ID: "old", RootCertPEM: pem})
		}
		json.NewEncoder(w).Encode(list)
	case path == "/v1/connect/intentions/match":
		name := r.URL.Query().Get("name")
		type answer struct {
			*api.Intention
			JWT *api.IntentionJWTRequirement `json:",omitempty"`
		}
		var list []answer
		for _, i := range f.rules[name] {
			list = append(list, answer{i, f.jwts[name]})
		}
		json.NewEncoder(w).Encode(map[string][]answer{name: list})
	case path == "/v1/config/mesh":
		json.NewEncoder(w).Encode(append([]*api.MeshConfigEntry{}, f.mesh...))
	case path == "/v1/agent/connect/authorize":
		var p api.AgentAuthorizeParams
		json.NewDecoder(r.Body).Decode(&p)
		a := api.AgentAuthorize{Authorized: f.byDef == "allow", Reason: "Default intention policy"}
		for _, i := range f.rules[p.Target] {
			if i.SourceName == "*" {
				a = api.AgentAuthorize{Authorized: i.Action == "allow", Reason: "Matched L4 intention: x"}
			}
		}
		json.NewEncoder(w).Encode(a)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeConsul) intend(destination string, intentions ...*api.Intention) {
	f.change(func() { f.rules[destination] = intentions })
}

func intention(source, action string, precedence int) *api.Intention {
	return &api.Intention{SourceNS: "default", SourceName: source, Action: api.IntentionAction(action), Precedence: precedence}
}

func run(t *testing.T, client *api.Client, service string) *Connect {
	t.Helper()
	c := NewConnect(client, service, testLogger(t), prometheus.NewRegistry())
	start(t, c)
	return c
}

func testLogger(t *testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Info})
}

// start runs an identity until the test ends.
func start(t *testing.T, c *Connect) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ready(t *testing.T, all ...*Connect) {
	t.Helper()
	for _, c := range all {
		eventually(t, c.Ready)
	}
}

// shake connects client to server over a socket, sends a byte each way, and returns what went wrong on either side.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(10 * time.Second))
		c := tls.Server(raw, server)
		if err := c.Handshake(); err != nil {
			done <- err
			return
		}
		var b [1]byte
		_, err = io.ReadFull(c, b[:])
		if err == nil {
			_, err = c.Write(b[:])
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, client)
	clientErr = func() error {
		if err := c.Handshake(); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		var b [1]byte
		_, err := io.ReadFull(c, b[:])
		return err
	}()
	raw.Close()
	return c.ConnectionState(), <-done, clientErr
}

func to(t *testing.T, c *Connect, service string) *tls.Config {
	t.Helper()
	config, err := c.Client(namer.ConnectID{Datacenter: "dc1", Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return config
}
