//go:build servers

package identity

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/e2e/stack"
	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/devca"
	"argosy/internal/settings"
	"argosy/internal/tlsfiles"
)

const management = "11111111-1111-1111-1111-111111111111"

// secured starts a Consul that allows only what a token allows.
func secured(t testing.TB) *consultest.Consul {
	t.Helper()
	return consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(aclHCL, "deny"), Token: management})
}

// tokenFor makes a token as services have it.
func tokenFor(t testing.TB, c *consultest.Consul, service string) *api.ACLToken {
	t.Helper()
	var tok *api.ACLToken
	// A Consul that has just been elected does not know its own first token yet.
	consultest.Eventually(t, 10*time.Second, func() (err error) {
		tok, _, err = c.Client.ACL().TokenCreate(&api.ACLToken{ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: service}}}, nil)
		return err
	})
	return tok
}

// fromRealServers makes an identity that Consul's server signs.
func fromRealServers(t testing.TB, c *consultest.Consul, client *api.Client, token, service string, logger hclog.Logger) *Connect {
	t.Helper()
	x := NewConnect(client, service, logger, prometheus.NewRegistry())
	x.UseServers(ServersOptions{Address: c.GRPCAddr, Token: func() string { return token }})
	return x
}

// recorder passes requests on to Consul's HTTP API, and remembers which.
type recorder struct {
	mu    sync.Mutex
	paths []string
	next  http.Handler
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.paths = append(r.paths, q.URL.Path)
	r.mu.Unlock()
	r.next.ServeHTTP(w, q)
}

// through is a client whose requests a recorder sees.
func through(t *testing.T, c *consultest.Consul, token string) (*api.Client, *recorder) {
	t.Helper()
	target, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{next: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	client, err := consulclient.New(settings.Consul{Address: s.URL, Token: settings.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	return client, r
}

// With certificates from the servers the agent's HTTP API is not asked for a key, and such identities and those from the
// agent understand each other, with the tokens of services and no other rights.
func TestRealKeysStayHere(t *testing.T) {
	t.Parallel()
	c := secured(t)
	web, db := tokenFor(t, c, "web").SecretID, tokenFor(t, c, "db").SecretID
	client, recorded := through(t, c, web)
	own := fromRealServers(t, c, client, web, "web", testLogger(t))
	start(t, own)
	other := run(t, c.ClientWith(t, db), "db")
	ready(t, own, other)
	becomes(t, other, own, ErrDenied)
	becomes(t, own, other, ErrDenied)
	intend(t, c, "db", "web", "allow")
	intend(t, c, "web", "db", "allow")
	becomes(t, other, own, nil)
	becomes(t, own, other, nil)
	intend(t, c, "web", "db", "deny")
	becomes(t, own, other, ErrDenied)
	becomes(t, other, own, nil)

	recorded.mu.Lock()
	defer recorded.mu.Unlock()
	asked := map[string]int{}
	for _, p := range recorded.paths {
		asked[p]++
	}
	t.Logf("asked over HTTP: %v", asked)
	for p := range asked {
		if strings.Contains(p, "/connect/ca/") {
			t.Errorf("the agent was asked for %s", p)
		}
	}
	if len(asked) == 0 {
		t.Error("nothing was recorded")
	}
	key, ok := own.leaf.Value().cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Params().BitSize != 256 {
		t.Errorf("a key of type %T", own.leaf.Value().cert.PrivateKey)
	}
}

// The right to a name is asked for each time, where the agent's HTTP API gives a cached key to everybody.
func TestRealRights(t *testing.T) {
	t.Parallel()
	c := secured(t)
	web, edge := tokenFor(t, c, "web"), tokenFor(t, c, "edge")
	consultest.Eventually(t, 10*time.Second, func() error { // the CA, too, needs a moment
		_, _, err := c.ClientWith(t, edge.SecretID).Agent().ConnectCALeaf("edge", nil)
		return err
	})
	const bogus = "22222222-2222-2222-2222-222222222222"
	for token, want := range map[string]string{
		web.SecretID: `service "edge" { policy = "write" }`, bogus: "ACL not found", "": "An ACL token must be provided",
	} {
		l, _, err := c.ClientWith(t, token).Agent().ConnectCALeaf("edge", nil)
		t.Logf("over HTTP, with a token that may not: a key %v, error %v", err == nil && l.PrivateKeyPEM != "", err)

		var log lines
		x := fromRealServers(t, c, c.ClientWith(t, web.SecretID), token, "edge", hclog.New(&hclog.LoggerOptions{Output: &log}))
		start(t, x)
		consultest.Eventually(t, 20*time.Second, func() error {
			if !strings.Contains(log.String(), want) {
				return fmt.Errorf("logged %q", log.String())
			}
			return nil
		})
		if err := x.Ready(); !errors.Is(err, ErrNotReady) {
			t.Errorf("ready without the right: %v", err)
		}
	}

	// A right that is given later is noticed.
	late := fromRealServers(t, c, c.ClientWith(t, web.SecretID), web.SecretID, "late", testLogger(t))
	start(t, late)
	time.Sleep(300 * time.Millisecond)
	if l := late.leaf.Value(); l != nil {
		t.Fatal("a certificate without the right to it")
	}
	web.ServiceIdentities = append(web.ServiceIdentities, &api.ACLServiceIdentity{ServiceName: "late"})
	if _, _, err := c.Client.ACL().TokenUpdate(web, nil); err != nil {
		t.Fatal(err)
	}
	consultest.Eventually(t, time.Minute, late.Ready)
}

// A root is replaced while connections are made all the time, between identities from servers and from the agent.
func TestRealServersRotateRoots(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	web := fromRealServers(t, c, c.Client, "", "web", testLogger(t))
	db := fromRealServers(t, c, c.Client, "", "db", testLogger(t))
	cache := run(t, c.Client, "cache")
	all := []*Connect{web, db, cache}
	start(t, web)
	start(t, db)
	ready(t, all...)
	config, _, err := c.Client.Connect().CAGetConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	var old []*leaf
	for _, x := range all {
		old = append(old, x.leaf.Value())
	}
	config.Config["PrivateKeyType"], config.Config["PrivateKeyBits"] = "rsa", 2048
	if _, err := c.Client.Connect().CASetConfig(config, nil); err != nil {
		t.Fatal(err)
	}
	from, shakes := time.Now(), 0
	took := make([]time.Duration, len(all))
	for slices.Contains(took, 0) {
		if time.Since(from) > 90*time.Second {
			t.Fatalf("no new certificates: %v", took)
		}
		for i, server := range all {
			if took[i] == 0 && !server.leaf.Value().equal(old[i]) {
				took[i] = time.Since(from)
			}
			for _, client := range all {
				if _, serverErr, clientErr := shake(t, server.Server(), to(t, client, server.Name())); serverErr != nil || clientErr != nil {
					t.Fatalf("%s to %s during the rotation: %v; %v", client.Name(), server.Name(), serverErr, clientErr)
				}
				shakes++
			}
		}
	}
	t.Logf("new certificates after %v and %v from servers, %v from the agent; %d handshakes, none failed", took[0], took[1], took[2], shakes)
	for _, x := range []*Connect{web, db} {
		if n := len(x.leaf.Value().cert.Certificate); n != 2 {
			t.Errorf("%s: a chain of %d certificates", x.Name(), n)
		}
		if n := len(x.trust.Value().roots); n != 2 {
			t.Errorf("%s: %d roots", x.Name(), n)
		}
	}
	for i := range 2 {
		if took[i] > 20*time.Second {
			t.Errorf("a new certificate after %v", took[i])
		}
	}
}

func TestRealServersAreKilled(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			t.Parallel()
			c := consultest.Start(t, consultest.Options{Keep: keep})
			web := fromRealServers(t, c, c.Client, "", "web", testLogger(t))
			db := fromRealServers(t, c, c.Client, "", "db", testLogger(t))
			start(t, web)
			start(t, db)
			ready(t, web, db)
			becomes(t, db, web, nil)
			c.Kill()
			for range 20 {
				becomes(t, db, web, nil)
			}
			domain, serial := web.trust.Value().domain, web.leaf.Value().cert.Leaf.SerialNumber
			c.MustRestart(t)
			if keep { // the certificate is as good as before, and the server is heard again
				intend(t, c, "db", "web", "deny")
				becomes(t, db, web, ErrDenied)
				if now := web.leaf.Value().cert.Leaf.SerialNumber; now.Cmp(serial) != 0 {
					t.Errorf("another certificate, without need: %v, was %v", now, serial)
				}
				return
			}
			consultest.Eventually(t, 30*time.Second, func() error {
				for _, x := range []*Connect{web, db} {
					if got := x.trust.Value().domain; got == domain || x.leaf.Value().id.TrustDomain != got {
						return fmt.Errorf("%s: roots of %s, leaf of %s", x.Name(), got, x.leaf.Value().id.TrustDomain)
					}
				}
				return nil
			})
			becomes(t, db, web, nil)
		})
	}
}

// The servers' TLS port, which is the only one on many of them.
func TestRealServersOverTLS(t *testing.T) {
	t.Parallel()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "server", "server.dc1.consul")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	c := consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(`
ports { grpc_tls = %s }
tls {
  grpc {
    ca_file         = %q
    cert_file       = %q
    key_file        = %q
    verify_incoming = true
  }
}`, port, files.CA, files.Cert, files.Key)})
	for _, name := range []string{"server.dc1.consul", "server.dc2.consul"} {
		trusted, err := tlsfiles.New(files.Cert, files.Key, files.CA)
		if err != nil {
			t.Fatal(err)
		}
		web := NewConnect(c.Client, "web", testLogger(t), nil)
		web.UseServers(ServersOptions{Address: address, TLS: trusted.Client(name), Token: func() string { return "" }})
		start(t, web)
		if name == "server.dc1.consul" {
			ready(t, web)
			continue
		}
		time.Sleep(time.Second)
		if err := web.Ready(); !errors.Is(err, ErrNotReady) {
			t.Errorf("believed a server of another name: %v", err)
		}
	}
}

// A client agent passes requests on to the servers, with the token that comes along and no more rights than that has.
func TestRealClientAgent(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: fmt.Sprintf(aclHCL, "allow")})
	agent, err := s.JoinConsulClient(t.Context(), "client")
	if err != nil {
		t.Fatal(err)
	}
	c := &consultest.Consul{Consul: s.Consul}
	c.Client = c.ClientWith(t, management)
	token := tokenFor(t, c, "web").SecretID
	client, err := consulclient.New(settings.Consul{Address: agent.URL(), Token: settings.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	web := NewConnect(client, "web", testLogger(t), nil)
	edge := NewConnect(client, "edge", hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
	for _, x := range []*Connect{web, edge} {
		x.UseServers(ServersOptions{Address: agent.GRPCAddr, Token: func() string { return token }})
		start(t, x)
	}
	consultest.Eventually(t, 30*time.Second, web.Ready)
	consultest.Eventually(t, 30*time.Second, func() error {
		if !strings.Contains(log.String(), `service "edge" { policy = "write" }`) {
			return fmt.Errorf("logged %q", log.String())
		}
		return nil
	})
	if l := edge.leaf.Value(); l != nil {
		t.Error("a certificate without the right to it")
	}
}

// A token that is replaced in its file is used from then on, also for the stream that is open.
func TestRealTokenIsReplaced(t *testing.T) {
	t.Parallel()
	c := secured(t)
	first, second := tokenFor(t, c, "web"), tokenFor(t, c, "web")
	file := put(t, filepath.Join(t.TempDir(), "token"), []byte(first.SecretID))
	s := settings.Consul{Address: c.URL(), TokenFile: file}
	client, err := consulclient.New(s)
	if err != nil {
		t.Fatal(err)
	}
	token, err := consulclient.Token(s)
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	web := NewConnect(client, "web", hclog.New(&hclog.LoggerOptions{Output: &log}), prometheus.NewRegistry())
	web.UseServers(ServersOptions{Address: c.GRPCAddr, Token: token})
	start(t, web)
	ready(t, web)
	if _, err := c.Client.ACL().TokenDelete(first.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	consultest.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(log.String(), "request=roots") {
			return errors.New("the stream goes on with a token that is revoked")
		}
		return nil
	})
	if err := web.Ready(); err != nil {
		t.Errorf("with a revoked token: %v", err)
	}
	if err := os.WriteFile(file+".new", []byte(second.SecretID), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	consultest.Eventually(t, 30*time.Second, func() error {
		if !strings.Contains(log.String(), "consul answers again: identity=web request=roots") {
			return fmt.Errorf("logged %q", log.String())
		}
		return nil
	})
}

// From asking for the first time to a certificate: roots, datacenter and all.
func BenchmarkRealFirstLeaf(b *testing.B) {
	c := consultest.Start(b, consultest.Options{HCL: `connect { ca_config { csr_max_per_second = 0 } }`})
	for _, source := range []string{"agent", "servers"} {
		b.Run(source, func(b *testing.B) {
			var took []time.Duration
			for i := range b.N {
				name := fmt.Sprintf("bench-%s-%d-%d", source, b.N, i)
				x := NewConnect(c.Client, name, hclog.NewNullLogger(), nil)
				if source == "servers" {
					x = fromRealServers(b, c, c.Client, "", name, hclog.NewNullLogger())
				}
				from := time.Now()
				_, have := x.leaf.Load()
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan struct{})
				go func() { defer close(done); x.source.follow(ctx, x) }()
				<-have
				took = append(took, time.Since(from))
				cancel()
				<-done
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*9/10].Microseconds())/1000, "p90-ms")
		})
	}
}
