package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
		_, serverErr, _ := shake(t, db.Server(), &tls.Config{InsecureSkipVerify: true})
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
	if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
}

func TestConnections(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "deny"
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	f.rules["cache"] = []*api.Intention{intention("*", "allow", 8)}
	f.rules["api"] = []*api.Intention{intention("web", "allow", 9)}
	f.jwts = map[string]*api.IntentionJWTRequirement{"api": {Providers: []*api.IntentionJWTProvider{{Name: "issuer"}}}}
	web, db, cache, other := run(t, client, "web"), run(t, client, "db"), run(t, client, "cache"), run(t, client, "other")
	wary := run(t, client, "api")
	ready(t, web, db, cache, other, wary)

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
			state, serverErr, clientErr := shake(t, c.server, c.client)
			if failed := serverErr != nil || clientErr != nil; failed != c.fails {
				t.Fatalf("server: %v; client: %v", serverErr, clientErr)
			}
			if c.serverErr != nil && !errors.Is(serverErr, c.serverErr) || c.clientErr != nil && !errors.Is(clientErr, c.clientErr) {
				t.Errorf("server: %v; client: %v", serverErr, clientErr)
			}
			if hint := "allow it with `consul intention create other db`"; c.serverErr == ErrDenied && !strings.Contains(serverErr.Error(), hint) {
				t.Errorf("the error does not say what to do: %v", serverErr)
			}
			if c.serverErr != ErrDenied && errors.Is(serverErr, ErrDenied) {
				t.Errorf("counted as denied: %v", serverErr)
			}
			if !c.fails && (state.NegotiatedProtocol != "" || state.DidResume) {
				t.Errorf("protocol %q, resumed %v", state.NegotiatedProtocol, state.DidResume)
			}
		})
	}
	if _, err, _ := shake(t, wary.Server(), to(t, web, "api")); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "requirements for JWTs") {
		t.Errorf("allowed with a JWT only, which is not looked at: %v", err)
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
			if state, serverErr, clientErr := shake(t, server, config); serverErr != nil || clientErr != nil || state.DidResume {
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
		if _, serverErr, _ := shake(t, server, config); !errors.Is(serverErr, ErrDenied) {
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
	if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
	f.change(func() { f.down = false; f.rules["db"] = nil; f.byDef = "allow" })
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
// A default that has not been heard of for long, as an intention about everybody hides it, is not to hold when that one goes.
func TestOldDefaultIsForgotten(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	db := NewConnect(client, "db", testLogger(t), prometheus.NewRegistry())
	var later atomic.Int64
	db.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	start(t, db)
	ready(t, db)
	f.intend("db", intention("*", "deny", 8))
	known := func(want bool) {
		t.Helper()
		eventually(t, func() error {
			db.askDefault()
			if r := db.rules.Value(); r.defaultKnown != want || len(r.list) != 1 {
				return fmt.Errorf("rules %+v", r)
			}
			return nil
		})
	}
	known(true)
	later.Store(int64(defaultEvery))
	known(false)
}

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
	state, _, _ := shake(t, server, config)
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
	if _, serverErr, clientErr := shake(t, db.Server(), config); !errors.Is(clientErr, ErrPeer) {
		t.Errorf("a server of another trust domain: %v; %v", serverErr, clientErr)
	}
	config.VerifyConnection = nil
	if _, serverErr, _ := shake(t, db.Server(), config); !errors.Is(serverErr, ErrPeer) {
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
	first, err := parseLeaf(issued.Cert, issued.Key, "db")
	if err != nil {
		t.Fatal(err)
	}
	db.setLeaf(first)
	ago.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); fromAgent{client}.renewLeaf(ctx, db) }()
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

// An agent that has no time to sign is not asked again in the same breath.
func TestAgentIsBusy(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []time.Time
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/leaf/") {
			mu.Lock()
			asked = append(asked, time.Now())
			mu.Unlock()
		}
		http.Error(w, "Rate limit reached, try again later", http.StatusTooManyRequests)
	}))
	defer s.Close()
	client, err := consulclient.New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	run(t, client, "web")
	eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(asked) < 3 {
			return fmt.Errorf("asked %d times", len(asked))
		}
		return nil
	})
	for i := range 2 {
		if d := asked[i+1].Sub(asked[i]); d < busyPause-50*time.Millisecond {
			t.Errorf("asked again after %v", d)
		}
	}
}
