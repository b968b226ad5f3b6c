package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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
	byDef    string                      // "allow" or "deny"
	down     bool
	silent   map[string]bool // paths' prefixes that get no answer yet
	renews   bool            // a plain request for a leaf gives a new one
	requests int
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
	trustDomain := f.ca.ID("x").Host
	switch path := r.URL.Path; {
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
		json.NewEncoder(w).Encode(map[string][]*api.Intention{name: f.rules[name]})
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
	c := NewConnect(client, service, hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Info}), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
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
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error, state tls.ConnectionState) {
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
	return <-done, clientErr, c.ConnectionState()
}

func to(t *testing.T, c *Connect, service string) *tls.Config {
	t.Helper()
	config, err := c.Client(namer.ConnectID{Datacenter: "dc1", Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestNothingIsAcceptedBeforeTheFirstAnswers(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	for _, p := range []string{"/leaf/", "/roots", "/match", "/authorize"} {
		f.silent[p] = true
	}
	web, db := run(t, client, "web"), run(t, client, "db")
	if _, err := web.Client(namer.ConnectID{Datacenter: "dc1", Service: "db"}); !errors.Is(err, ErrNotReady) {
		t.Errorf("a client before the first answer: %v", err)
	}
	for _, p := range []string{"/leaf/", "/roots", "/match", "/authorize"} {
		if err := db.Ready(); !errors.Is(err, ErrNotReady) {
			t.Errorf("ready without %s: %v", p, err)
		}
		serverErr, _, _ := shake(t, db.Server(), &tls.Config{InsecureSkipVerify: true})
		if !errors.Is(serverErr, ErrNotReady) {
			t.Errorf("without %s: %v", p, serverErr)
		}
		f.change(func() { delete(f.silent, p) })
		if p == "/match" {
			eventually(t, func() error {
				if !db.rules.Value().known {
					return errors.New("no rules")
				}
				return nil
			})
		}
	}
	ready(t, web, db)
	if serverErr, clientErr, _ := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
}

func TestConnections(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "deny"
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	f.rules["cache"] = []*api.Intention{intention("*", "allow", 8)}
	web, db, cache, other := run(t, client, "web"), run(t, client, "db"), run(t, client, "cache"), run(t, client, "other")
	ready(t, web, db, cache, other)

	stranger, foreign := newFakeConsul(t)
	stranger.byDef = "allow"
	impostor := run(t, foreign, "web")
	ready(t, impostor)

	anonymous := to(t, web, "db")
	anonymous.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	distant, err := web.Client(namer.ConnectID{Datacenter: "dc2", Service: "db"})
	if err != nil {
		t.Fatal(err)
	}
	trusting := to(t, impostor, "db")
	trusting.VerifyConnection = nil
	old := to(t, web, "db")
	old.MaxVersion = tls.VersionTLS12
	ancient := to(t, web, "db")
	ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	odd := to(t, web, "db")
	odd.NextProtos = []string{"my-own/1"}

	for _, c := range []struct {
		name           string
		server, client *tls.Config
		serverErr      error // nil: no error
		clientErr      error
		fails          bool
	}{
		{"allowed", db.Server(), to(t, web, "db"), nil, nil, false},
		{"allowed by a wildcard", cache.Server(), to(t, other, "cache"), nil, nil, false},
		{"TLS 1.2", db.Server(), old, nil, nil, false},
		{"TLS 1.1", db.Server(), ancient, nil, nil, true},
		{"any ALPN", db.Server(), odd, nil, nil, false},
		{"denied by default", db.Server(), to(t, other, "db"), ErrDenied, nil, true},
		{"wrong service", cache.Server(), to(t, web, "db"), nil, ErrPeer, true},
		{"wrong datacenter", db.Server(), distant, nil, ErrPeer, true},
		{"no certificate", db.Server(), anonymous, nil, nil, true},
		{"client of another CA", db.Server(), trusting, ErrPeer, nil, true},
		{"server of another CA", impostor.Server(), to(t, web, "web"), nil, ErrPeer, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			serverErr, clientErr, state := shake(t, c.server, c.client)
			if failed := serverErr != nil || clientErr != nil; failed != c.fails {
				t.Fatalf("server: %v; client: %v", serverErr, clientErr)
			}
			if c.serverErr != nil && !errors.Is(serverErr, c.serverErr) || c.clientErr != nil && !errors.Is(clientErr, c.clientErr) {
				t.Errorf("server: %v; client: %v", serverErr, clientErr)
			}
			if c.serverErr != ErrDenied && errors.Is(serverErr, ErrDenied) {
				t.Errorf("counted as denied: %v", serverErr)
			}
			if !c.fails && (state.NegotiatedProtocol != "" || state.DidResume) {
				t.Errorf("protocol %q, resumed %v", state.NegotiatedProtocol, state.DidResume)
			}
		})
	}
	if _, err := web.Client(namer.ConnectID{}); err == nil {
		t.Error("a client for nobody in particular")
	}
	want := "db.default.dc1.internal." + f.ca.ID("x").Host
	if got := to(t, web, "db").ServerName; got != want {
		t.Errorf("SNI %s, want %s", got, want)
	}
}

// A client with a session ticket must not come in again after it was denied.
func TestDeniedClientsCannotResume(t *testing.T) {
	f, client := newFakeConsul(t)
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	web, db := run(t, client, "web"), run(t, client, "db")
	ready(t, web, db)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f.intend("db", intention("web", "allow", 9))
		eventually(t, func() error {
			if r, _ := db.rules.Value().first("web"); !r.allow {
				return errors.New("still denied")
			}
			return nil
		})
		config := to(t, web, "db")
		config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
		config.MaxVersion = version
		server := db.Server()
		for range 2 {
			if serverErr, clientErr, state := shake(t, server, config); serverErr != nil || clientErr != nil || state.DidResume {
				t.Fatalf("%v; %v; resumed %v", serverErr, clientErr, state.DidResume)
			}
		}
		f.intend("db", intention("web", "deny", 9))
		eventually(t, func() error {
			if r, _ := db.rules.Value().first("web"); r.allow {
				return errors.New("still allowed")
			}
			return nil
		})
		if serverErr, _, _ := shake(t, server, config); !errors.Is(serverErr, ErrDenied) {
			t.Errorf("after the deny: %v", serverErr)
		}
	}
}

func TestConsulInTroubleChangesNothing(t *testing.T) {
	f, client := newFakeConsul(t)
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	web, db := run(t, client, "web"), run(t, client, "db")
	ready(t, web, db)
	f.change(func() { f.down = true })
	eventually(t, func() error {
		if n := f.count(); n < 20 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	ready(t, web, db)
	if serverErr, clientErr, _ := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
	f.change(func() { f.down = false; f.index = 1; f.rules["db"] = nil; f.byDef = "allow" })
	eventually(t, func() error {
		if r := db.rules.Value(); !r.defaultAllow || len(r.list) != 0 {
			return fmt.Errorf("rules %+v", r)
		}
		return nil
	})
}

func (f *fakeConsul) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// When a wildcard goes, what was hidden behind it must be found out; until then nobody is let in.
func TestDefaultBehindAWildcard(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	f.rules["db"] = []*api.Intention{intention("*", "deny", 8)}
	db := run(t, client, "db")
	ready(t, db)
	if r := db.rules.Value(); r.defaultKnown {
		t.Errorf("a default is known: %+v", r)
	}
	f.intend("db")
	eventually(t, func() error {
		if r := db.rules.Value(); !r.defaultKnown || !r.defaultAllow {
			return fmt.Errorf("rules %+v", r)
		}
		return nil
	})
	ready(t, db)
}

func TestRotation(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	web, db := run(t, client, "web"), run(t, client, "db")
	ready(t, web, db)
	config, server := to(t, web, "db"), db.Server() // made before, used after
	first := db.leaf.Value()

	// The same authority signs a new leaf for one of them only.
	f.change(func() { delete(f.leaves, "db") })
	eventually(t, func() error {
		if db.leaf.Value().equal(first) {
			return errors.New("still the old leaf")
		}
		return nil
	})
	_, _, state := shake(t, server, config)
	if !state.PeerCertificates[0].Equal(db.leaf.Value().cert.Leaf) {
		t.Error("the old leaf was used")
	}
}

// With an external authority two clusters can have a root in common; the trust domain keeps them apart.
func TestOtherTrustDomainsAreRefused(t *testing.T) {
	f, client := newFakeConsul(t)
	g, foreign := newFakeConsul(t)
	f.byDef, g.byDef = "allow", "allow"
	f.roots, g.roots = []string{string(g.ca.PEM())}, []string{string(f.ca.PEM())}
	db, web := run(t, client, "db"), run(t, foreign, "web")
	ready(t, db, web)
	config := to(t, web, "db")
	if serverErr, clientErr, _ := shake(t, db.Server(), config); !errors.Is(clientErr, ErrPeer) {
		t.Errorf("a server of another trust domain: %v; %v", serverErr, clientErr)
	}
	config.VerifyConnection = nil
	if serverErr, _, _ := shake(t, db.Server(), config); !errors.Is(serverErr, ErrPeer) {
		t.Errorf("a client of another trust domain: %v", serverErr)
	}
	before, _ := db.Changed().Load()
	f.change(func() { f.roots = nil })
	eventually(t, func() error {
		if after, _ := db.Changed().Load(); after == before {
			return errors.New("dropping a root is no change")
		}
		return nil
	})
}

// Consul's agent renews a certificate of its own accord only for a request that it holds back. If that sleeps for too
// long, a plain request gets the new one.
func TestRenewalByOwnTimer(t *testing.T) {
	f, client := newFakeConsul(t)
	var ago atomic.Int64
	ago.Store(int64(20 * time.Hour))
	ca, err := devca.New(func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	f.ca, f.renews = ca, true
	f.silent["/roots"] = true
	db := NewConnect(client, "db", hclog.NewNullLogger(), nil)
	// The first leaf, of which more than two thirds are over, as the blocking query would have left it.
	issued, err := ca.Issue("db")
	if err != nil {
		t.Fatal(err)
	}
	first, err := parseLeaf(&api.LeafCert{CertPEM: string(issued.Cert), PrivateKeyPEM: string(issued.Key)}, "db")
	if err != nil {
		t.Fatal(err)
	}
	db.setLeaf(first)
	ago.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); db.renewLeaf(ctx) }()
	eventually(t, func() error {
		if db.leaf.Value().equal(first) {
			return errors.New("still the old leaf")
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond)
	if n := f.count(); n != 1 {
		t.Errorf("%d requests, though the new leaf has just begun", n)
	}
	cancel()
	<-done
}

func TestLeafIsNotForUs(t *testing.T) {
	f, client := newFakeConsul(t)
	issued, err := f.ca.Issue("other")
	if err != nil {
		t.Fatal(err)
	}
	f.leaves["db"] = &api.LeafCert{CertPEM: string(issued.Cert), PrivateKeyPEM: string(issued.Key)}
	db := run(t, client, "db")
	eventually(t, func() error {
		if f.count() < 8 {
			return errors.New("not asked yet")
		}
		return nil
	})
	if err := db.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready with somebody else's certificate: %v", err)
	}
}

func TestInvalidNames(t *testing.T) {
	_, client := newFakeConsul(t)
	if err := NewConnect(client, "Web", hclog.NewNullLogger(), nil).Run(t.Context()); err == nil {
		t.Error("a name in upper case was accepted")
	}
}

func TestConnectImplementsIdentity(t *testing.T) {
	var _ Identity = (*Connect)(nil)
	var _ Identity = (*Files)(nil)
	var _ = x509.ExtKeyUsageClientAuth
}
