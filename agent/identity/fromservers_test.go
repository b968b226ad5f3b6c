package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"argosy/internal/devca"
	"argosy/internal/tlsfiles"
)

// signedBy makes an identity that gets its certificate from servers. Its jitter is the shortest that there is.
func signedBy(t *testing.T, f *fakeServers, client *api.Client, service string) *Connect {
	t.Helper()
	c := NewConnect(client, service, testLogger(t), prometheus.NewRegistry())
	use(c, ServersOptions{Address: f.address, Token: func() string { return "" }})
	return c
}

func use(c *Connect, o ServersOptions) {
	c.UseServers(o)
	c.source.(*fromServers).random = func() float64 { return 0 }
}

func TestServersSign(t *testing.T) {
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	f.token = "secret"
	pair := map[string]*Connect{}
	for _, service := range []string{"web", "db"} {
		c := signedBy(t, f, client, service)
		use(c, ServersOptions{Address: f.address, Token: func() string { return "secret" }})
		start(t, c)
		pair[service] = c
	}
	web, db := pair["web"], pair["db"]
	ready(t, web, db)
	if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
	f.seen(func() {
		for _, csr := range f.csrs {
			if len(csr.URIs) != 1 || len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses) != 0 || csr.Subject.String() != "" {
				t.Errorf("a request for %v, %v, %v, %v, %q", csr.URIs, csr.DNSNames, csr.EmailAddresses, csr.IPAddresses, csr.Subject)
			}
			if key, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || key.Params().BitSize != 256 {
				t.Errorf("a key of type %T", csr.PublicKey)
			}
		}
		if got := f.csrs[0].URIs[0].String(); !strings.HasPrefix(got, "spiffe://11111111-2222.consul/ns/default/dc/dc1/svc/") {
			t.Errorf("asked for %s", got)
		}
	})
	if paths := strings.Join(consul.asked(), " "); strings.Contains(paths, "/leaf/") || strings.Contains(paths, "/roots") {
		t.Errorf("the agent was asked, too: %s", paths)
	}
}

func (f *fakeConsul) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.paths...)
}

func TestServersRenew(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	f.life = 8 * time.Second
	web := signedBy(t, f, client, "web")
	start(t, web)
	ready(t, web)
	first := web.leaf.Value()
	f.change(func() { f.life = time.Hour })
	for web.leaf.Value().equal(first) {
		if err := web.Ready(); err != nil {
			t.Fatalf("before the renewal: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	second := web.leaf.Value()
	if share := second.cert.Leaf.NotBefore.Add(time.Second).Sub(first.cert.Leaf.NotBefore).Seconds() / 9; share < 0.5 || share > 0.95 {
		t.Errorf("renewed after %.2f of the life", share)
	}
	if second.cert.PrivateKey.(*ecdsa.PrivateKey).Equal(first.cert.PrivateKey) {
		t.Error("the old key was signed again")
	}
	tells(t, web.metrics.rotations.WithLabelValues("web", "leaf"), 1)
	tells(t, web.metrics.expiry.WithLabelValues("web"), float64(second.cert.Leaf.NotAfter.Unix()))
}

// A new root leads to a new certificate soon, and not at once: all agents hear of it together.
func TestServersRotateRoots(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	web, db := signedBy(t, f, client, "web"), signedBy(t, f, client, "db")
	start(t, web)
	start(t, db)
	ready(t, web, db)
	first := web.leaf.Value()
	now := time.Now()
	f.change(func() { f.roots = append([]*authority{newRoot(t)}, f.roots...) })
	eventually(t, func() error {
		if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
			t.Fatalf("during the rotation: %v; %v", serverErr, clientErr)
		}
		if web.leaf.Value().equal(first) {
			return errors.New("still the old leaf")
		}
		return nil
	})
	if took := time.Since(now); took < spreadRoots/10-100*time.Millisecond {
		t.Errorf("all agents ask at once: after %v", took)
	}
	tells(t, web.metrics.rotations.WithLabelValues("web", "roots"), 1)
	tells(t, web.metrics.rotations.WithLabelValues("web", "leaf"), 1)
	tells(t, web.metrics.roots.WithLabelValues("web"), 2)
	var ends time.Time
	f.seen(func() { ends = f.roots[0].cert.NotAfter })
	tells(t, web.metrics.rootExpiry.WithLabelValues("web"), float64(ends.Unix()))
	// The old root goes when nobody needs it any more.
	eventually(t, func() error {
		if db.leaf.Value().cert.Leaf.NotBefore.Before(first.cert.Leaf.NotBefore.Add(time.Millisecond)) {
			return errors.New("db has the old leaf")
		}
		return nil
	})
	f.change(func() { f.roots = f.roots[:1] })
	eventually(t, func() error {
		if len(db.trust.Value().roots) != 1 {
			return errors.New("both roots")
		}
		return nil
	})
	if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("after the rotation: %v; %v", serverErr, clientErr)
	}
}

// A certificate in use is not given up for one that is not what was asked for, nor for want of another.
func TestServersAnswerNonsense(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	f.life = 10 * time.Second
	var other []byte
	f.mangle = func(cert []byte) []byte { other = cert; return cert }
	web := signedBy(t, f, client, "web")
	start(t, web)
	ready(t, web)
	stranger := newRoot(t)
	for what, mangle := range map[string]func([]byte) []byte{
		"garbage":           func([]byte) []byte { return []byte("x") },
		"for another key":   func([]byte) []byte { return other },
		"no leaf but a CA":  func([]byte) []byte { return stranger.chain() },
		"an empty answer":   func([]byte) []byte { return nil },
		"another PEM block": func([]byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: []byte("x")}) },
	} {
		f.change(func() { f.mangle = mangle })
		l, err := web.source.(*fromServers).sign(t.Context(), web, dialFake(t, web))
		if err == nil {
			t.Errorf("%s: accepted %v", what, l.id)
		}
	}
	// Signed by a root that nobody trusts, and for another service.
	f.change(func() { f.mangle = nil; f.roots = []*authority{stranger} })
	eventually(t, func() error { // the roots that web knows have followed
		if web.trust.Value().active != rootID(stranger) {
			return errors.New("other roots")
		}
		return nil
	})
	known := web.trust.Value()
	l, err := web.source.(*fromServers).sign(t.Context(), web, dialFake(t, web))
	if err != nil {
		t.Fatal(err)
	}
	key := l.cert.PrivateKey.(*ecdsa.PrivateKey)
	var chain bytes.Buffer
	for _, der := range l.cert.Certificate {
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	if _, err := accept(chain.String(), key, l.id, known); err != nil {
		t.Errorf("refused what is right: %v", err)
	}
	foreign, err := parseRoots(rootListOf(newRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accept(chain.String(), key, l.id, foreign); err == nil {
		t.Error("accepted what no root has signed")
	}
	distant := l.id
	distant.Datacenter = "dc2"
	if _, err := accept(chain.String(), key, distant, known); err == nil {
		t.Error("accepted the id of another datacenter")
	}
}

func rootListOf(a *authority) *api.CARootList {
	return &api.CARootList{TrustDomain: "x.consul", ActiveRootID: "r", Roots: []*api.CARoot{{ID: "r", RootCertPEM: string(a.chain())}}}
}

func TestServersRefuse(t *testing.T) {
	t.Parallel()
	_, client := newFakeConsul(t)
	for what, c := range map[string]struct {
		fail error
		want string
	}{
		"denied":  {status.Error(codes.PermissionDenied, "no"), `add to the token's policy: service "web" { policy = "write" }`},
		"a limit": {status.Error(codes.ResourceExhausted, "Rate limit reached, try again later"), "Rate limit reached"},
		"agent":   {status.Error(codes.Unimplemented, "unknown service"), "neither a Consul server nor an agent"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFakeServers(t, nil)
			f.fail = c.fail
			var log lines
			web := NewConnect(client, "web", hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
			use(web, ServersOptions{Address: f.address, Token: func() string { return "" }})
			start(t, web)
			eventually(t, func() error {
				if !strings.Contains(log.String(), c.want) {
					return fmt.Errorf("logged %q", log.String())
				}
				return nil
			})
			if err := web.Ready(); !errors.Is(err, ErrNotReady) {
				t.Errorf("ready: %v", err)
			}
			// What the server can do later is asked for again, not sooner than it wants.
			f.change(func() { f.fail = nil })
			ready(t, web)
			if what == "a limit" {
				f.seen(func() {
					if d := f.asked[1].Sub(f.asked[0]); d < 1900*time.Millisecond {
						t.Errorf("asked again after %v", d)
					}
				})
			}
		})
	}
}

// lines is a log that can be read while it is written, as if it did not escape quotes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ReplaceAll(l.b.String(), `\"`, `"`)
}

// Servers that go away change nothing; when they are back they are heard again, with the token of then.
func TestServersGoAway(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	var token atomic.Value
	token.Store("")
	web := signedBy(t, f, client, "web")
	use(web, ServersOptions{Address: f.address, Token: func() string { return token.Load().(string) }})
	start(t, web)
	ready(t, web)
	f.server.Stop()
	eventually(t, func() error {
		if valueOf(t, web.metrics.errors.WithLabelValues("web", "roots")) < 2 {
			return errors.New("not noticed")
		}
		return nil
	})
	if _, serverErr, clientErr := shake(t, web.Server(), to(t, web, "web")); serverErr != nil || clientErr != nil {
		t.Errorf("while they are away: %v; %v", serverErr, clientErr)
	}
	token.Store("new")
	f.token = "new"
	f.domain = "other.consul" // another cluster has taken their place
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(t, l, nil)
	eventually(t, func() error {
		if got := web.leaf.Value().id.TrustDomain; got != "other.consul" {
			return fmt.Errorf("of %s", got)
		}
		return nil
	})
}

func TestServersOverTLS(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "server", "server.dc1.consul")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	// Like Consul's, it agrees on no protocol.
	f := newFakeServers(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
	}})
	for _, c := range []struct {
		what string
		ca   *devca.CA
		name string
		good bool
	}{
		{"right", ca, "server.dc1.consul", true},
		{"another name", ca, "server.dc2.consul", false},
		{"another CA", stranger, "server.dc1.consul", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			trusted, err := tlsfiles.New("", "", put(t, t.TempDir()+"/ca.pem", c.ca.PEM()))
			if err != nil {
				t.Fatal(err)
			}
			web := signedBy(t, f, client, "web")
			use(web, ServersOptions{Address: f.address, TLS: trusted.Client(c.name), Token: func() string { return "" }, Datacenter: "dc1"})
			start(t, web)
			if c.good {
				ready(t, web)
				return
			}
			eventually(t, func() error {
				if valueOf(t, web.metrics.errors.WithLabelValues("web", "roots")) < 2 {
					return errors.New("no error yet")
				}
				return nil
			})
			if err := web.Ready(); !errors.Is(err, ErrNotReady) {
				t.Errorf("ready: %v", err)
			}
		})
	}
}

// What speaks gRPC without being a Consul server is told apart from one that cannot be reached.
func TestServersAreOthers(t *testing.T) {
	_, client := newFakeConsul(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() { server.Stop(); <-done }()
	var log lines
	web := NewConnect(client, "web", hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
	use(web, ServersOptions{Address: l.Addr().String(), Token: func() string { return "" }})
	start(t, web)
	eventually(t, func() error {
		if !strings.Contains(log.String(), "neither a Consul server nor an agent") {
			return fmt.Errorf("logged %q", log.String())
		}
		return nil
	})
}

// Where there are several datacenters, the catalog says which is ours; a token that may not see it is told what to do.
func TestServersDatacenter(t *testing.T) {
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	consul.otherDCs, consul.servers = []string{"dc0", "dc2"}, []api.CatalogService{}
	f := newFakeServers(t, nil)
	var log lines
	web := NewConnect(client, "web", hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
	use(web, ServersOptions{Address: f.address, Token: func() string { return "" }})
	start(t, web)
	eventually(t, func() error {
		if !strings.Contains(log.String(), `there are 3, and the token may not read the service consul; consul { datacenter = "dc1" } says it, too`) {
			return fmt.Errorf("logged %q", log.String())
		}
		return nil
	})
	consul.change(func() { consul.servers = append(consul.servers, api.CatalogService{Datacenter: "dc2"}) })
	ready(t, web)
	if dc := web.leaf.Value().id.Datacenter; dc != "dc2" {
		t.Errorf("a certificate for %s", dc)
	}
}

// An identity that has ended leaves nothing behind, wherever it is in its work.
func TestServersLeaveNothing(t *testing.T) {
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	begin := func(until func(*Connect) bool) {
		c := signedBy(t, f, client, "web")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		eventually(t, func() error {
			if !until(c) {
				return errors.New("not yet")
			}
			return nil
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	begin(func(c *Connect) bool { return c.Ready() == nil })
	before := runtime.NumGoroutine()
	for i := range 20 {
		begin(func(c *Connect) bool { return i%2 == 0 || c.Ready() == nil })
	}
	eventually(t, func() error {
		if now := runtime.NumGoroutine(); now > before+5 { // idle connections of the test's servers come and go
			return fmt.Errorf("%d goroutines, %d before", now, before)
		}
		return nil
	})
}

// Whatever a server answers, it is refused or it is a certificate for the key and the id that were asked for.
func FuzzAccept(f *testing.F) {
	root, err := devca.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	issued, err := root.Issue("web")
	if err != nil {
		f.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.Cert, issued.Key)
	if err != nil {
		f.Fatal(err)
	}
	id, err := certificateID(pair.Leaf)
	if err != nil {
		f.Fatal(err)
	}
	known, err := parseRoots(&api.CARootList{TrustDomain: id.TrustDomain, Roots: []*api.CARoot{{ID: "r", RootCertPEM: string(root.PEM())}}})
	if err != nil {
		f.Fatal(err)
	}
	key := pair.PrivateKey.(*ecdsa.PrivateKey)
	if _, err := accept(string(issued.Cert), key, id, known); err != nil {
		f.Fatal(err)
	}
	f.Add(string(issued.Cert))
	f.Add(string(issued.Cert) + string(root.PEM()))
	f.Add(string(root.PEM()))
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, answer string) {
		l, err := accept(answer, key, id, known)
		if err == nil && (l.id != id || !l.cert.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(&key.PublicKey)) {
			t.Errorf("accepted %v", l.id)
		}
	})
}
