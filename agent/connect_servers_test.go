//go:build servers

package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/dtab"
	"argosy/e2e/stack/servers"
	"argosy/internal/consultest"
	"argosy/namer"
)

// native is a Connect-native service that is none of ours but for its identity. It says its name and echoes.
type native struct {
	*identity.Connect
	addr string
	max  atomic.Uint32 // the highest version of TLS; 0: any

	mu    sync.Mutex
	hello tls.ClientHelloInfo // the last one
}

func runIdentity(t *testing.T, c *consultest.Consul, name string) *identity.Connect {
	t.Helper()
	i := identity.NewConnect(c.Client, name, hclog.NewNullLogger(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the identity is ready", func() bool { return i.Ready() == nil })
	return i
}

func startNative(t *testing.T, c *consultest.Consul, name string) *native {
	t.Helper()
	n := &native{Connect: runIdentity(t, c, name)}
	server := n.Server()
	base := server.Clone()
	server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.hello = *h
		with := base.Clone()
		with.MaxVersion = uint16(n.max.Load())
		return with, nil
	}
	n.addr = startTLSBackend(t, name, server)
	registerAt(t, c, name, n.addr, true)
	return n
}

func registerAt(t *testing.T, c *consultest.Consul, name, addr string, isNative bool) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	p, _ := strconv.Atoi(port)
	c.Register(t, &api.AgentServiceRegistration{
		ID: name, Name: name, Address: host, Port: p, Connect: &api.AgentServiceConnect{Native: isNative},
	})
}

// startBuiltInProxy registers a service with a sidecar, and runs `consul connect proxy` as that.
func startBuiltInProxy(t *testing.T, c *consultest.Consul, b *backend) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sidecar := l.Addr().(*net.TCPAddr).Port
	l.Close()
	_, port, _ := net.SplitHostPort(b.addr)
	p, _ := strconv.Atoi(port)
	c.Register(t, &api.AgentServiceRegistration{
		ID: b.name, Name: b.name, Address: "127.0.0.1", Port: p,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Address: "127.0.0.1", Port: sidecar, Checks: api.AgentServiceChecks{{Name: "app", AliasService: b.name}},
		}},
	})
	program, err := servers.Locate(t.Context(), servers.Consul, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "connect", "proxy", "-sidecar-for", b.name, "-http-addr", c.URL())
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	eventually(t, "the built-in proxy accepts", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(sidecar)))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// setIntention writes the intention for one pair of services.
func setIntention(t *testing.T, c *consultest.Consul, source, destination string, action api.IntentionAction) {
	t.Helper()
	e := &api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: destination, Sources: []*api.SourceIntention{{Name: source, Action: action}},
	}
	consultest.Eventually(t, patience, func() error {
		_, _, err := c.Client.ConfigEntries().Set(e, nil)
		return err
	})
}

// setMesh writes the mesh config entry.
func setMesh(t *testing.T, c *consultest.Consul, m *api.MeshTLSConfig) {
	t.Helper()
	consultest.Eventually(t, patience, func() error {
		_, _, err := c.Client.ConfigEntries().Set(&api.MeshConfigEntry{TLS: m}, nil)
		return err
	})
}

// meshConfig is a configuration that acts as web, with a table of its own.
func meshConfig(c *consultest.Consul, table string) *config.Config {
	cfg := consulConfig(c, true)
	cfg.Register = nil
	parsed := mustDtab(table)
	cfg.Dtab = config.Dtab{Namespace: "default", Static: &parsed}
	cfg.Clients = []config.Client{{
		Prefix: dtab.MustParsePrefix("/"), ConnectTimeout: 5 * time.Second, Retries: 2, RetryBudget: 1,
		TLS: &config.ClientTLS{Connect: "web"},
	}}
	return cfg
}

// answers returns who answers on a listener, or what the client sees in place of that.
func (p *proxy) answers(listener string) (string, error) {
	c, err := net.Dial("tcp", p.address(listener))
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 64)
	n, err := c.Read(b)
	return strings.TrimSuffix(string(b[:n]), "\n"), err
}

// becomes waits until name answers on a listener.
func (p *proxy) becomes(listener, name string) {
	p.t.Helper()
	eventually(p.t, name+" answers on "+listener, func() bool {
		who, err := p.answers(listener)
		return err == nil && who == name
	})
}

// logs waits for a line with all of the texts.
func (p *proxy) logs(texts ...string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("the log has a line with %q", texts), func() bool {
	lines:
		for line := range strings.Lines(p.log.String()) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return true
		}
		return false
	})
}

// TestDiallingConnect: whom a connection must meet is what the table has bound its name to, at whatever address and behind
// whatever proxy; what else answers there gets no byte.
func TestDiallingConnect(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	api1, other := startNative(t, c, "api"), startNative(t, c, "other")
	startBuiltInProxy(t, c, startBackend(t, "db"))
	registerAt(t, c, "wrong", other.addr, true) // where other answers
	plain := startBackend(t, "plain")
	registerAt(t, c, "plain", plain.addr, true) // which does not speak Connect

	cfg := meshConfig(c, "/svc => /#/io.l5d.consul/dc1; /svc/alias => /#/io.l5d.consul/dc1/other;"+
		"/svc/both => /#/io.l5d.consul/dc1/api & /#/io.l5d.consul/dc1/other")
	for _, name := range []string{"api", "db", "alias", "both", "wrong", "plain"} {
		cfg.Listeners = append(cfg.Listeners, listenerTo(name, "/svc/"+name))
	}
	p := startAgent(t, cfg)

	t.Run("native", func(t *testing.T) {
		for _, version := range []uint16{0, tls.VersionTLS12} {
			api1.max.Store(uint32(version))
			conn, who := p.dial("api")
			if who != "api" {
				t.Errorf("%s answers", who)
			}
			echo(t, conn, "hello")
		}
		api1.mu.Lock()
		defer api1.mu.Unlock()
		roots, _, err := c.Client.Agent().ConnectCARoots(nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := "api.default.dc1.internal." + roots.TrustDomain; api1.hello.ServerName != want || len(api1.hello.SupportedProtos) > 0 {
			t.Errorf("SNI %q (want %q), ALPN %q", api1.hello.ServerName, want, api1.hello.SupportedProtos)
		}
	})
	t.Run("consul connect proxy", func(t *testing.T) {
		p.becomes("db", "db")
		conn, _ := p.dial("db")
		echo(t, conn, "hello")
	})
	t.Run("a table that leads elsewhere", func(t *testing.T) {
		if who, err := p.answers("alias"); who != "other" {
			t.Errorf("%s answers, %v", who, err)
		}
	})
	t.Run("two services under one name", func(t *testing.T) {
		seen := map[string]bool{}
		for range 100 {
			who, err := p.answers("both")
			if err != nil {
				t.Errorf("%s answers, %v", who, err)
			}
			seen[who] = true
		}
		if len(seen) != 2 || !seen["api"] || !seen["other"] {
			t.Errorf("%v answer", seen)
		}
	})
	t.Run("another service at the address", func(t *testing.T) {
		if who, err := p.answers("wrong"); who != "" || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q answers, %v", who, err)
		}
		p.expectClosed("wrong", "tls", 1)
		p.logs("[WARN]", "svc/other", "not spiffe://", "svc/wrong: look at the address under which wrong is in the catalog")
	})
	t.Run("no Connect at the address", func(t *testing.T) {
		if who, err := p.answers("plain"); who != "" || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q answers, %v", who, err)
		}
		p.logs("[WARN]", "the endpoint does not speak TLS; is it one that the catalog takes for Connect-native?")
	})
	t.Run("denied", func(t *testing.T) {
		setIntention(t, c, "web", "api", api.IntentionActionDeny)
		setIntention(t, c, "web", "db", api.IntentionActionDeny)
		consultest.Eventually(t, patience, func() error {
			return errors.Join(askAuthorize(c, "web", "api"), askAuthorize(c, "web", "db"))
		})
		for _, version := range []uint16{0, tls.VersionTLS12} {
			api1.max.Store(uint32(version))
			before := p.metric(`argosy_connections_closed_total{listener="api",outcome="denied"}`)
			if who, err := p.answers("api"); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%q answers, %v", who, err)
			}
			p.expectClosed("api", "denied", before+1)
		}
		eventually(t, "the built-in proxy denies", func() bool {
			p.answers("db")
			return p.metric(`argosy_connections_closed_total{listener="db",outcome="denied"}`) > 0
		})
		p.logs("[WARN]", "denied by api: allow it with `consul intention create -replace web api`")
		p.logs("[WARN]", "denied by db: allow it with `consul intention create -replace web db`")
		for _, name := range []string{"api", "db"} {
			labels := fmt.Sprintf(`{cluster="/#/io.l5d.consul/dc1/%s",destination="/svc/%s"`, name, name)
			if p.metric("argosy_dial_failures_total"+labels+`,reason="denied"}`) < 1 || p.metric("argosy_endpoints_ejected"+labels+"}") > 0 {
				t.Errorf("%s: not counted as denied, or ejected", name)
			}
		}
		setIntention(t, c, "web", "api", api.IntentionActionAllow)
		p.becomes("api", "api")
	})
	t.Run("versions of the mesh", func(t *testing.T) {
		setMesh(t, c, &api.MeshTLSConfig{Outgoing: &api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}})
		eventually(t, "TLS 1.2 is not used any more", func() bool {
			_, err := p.answers("api") // which is confined to TLS 1.2
			return err != nil
		})
		p.logs("[WARN]", "protocol version not supported", "look at min_version, and at the mesh config entry")
		api1.max.Store(0)
		p.becomes("api", "api")
	})
}

// askAuthorize returns nil when Consul refuses.
func askAuthorize(c *consultest.Consul, source, target string) error {
	roots, _, err := c.Client.Agent().ConnectCARoots(nil)
	if err != nil {
		return err
	}
	answer, err := c.Client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{
		Target: target, ClientCertURI: fmt.Sprintf("spiffe://%s/ns/default/dc/dc1/svc/%s", roots.TrustDomain, source),
	})
	if err == nil && answer.Authorized {
		err = fmt.Errorf("%s may still connect to %s", source, target)
	}
	return err
}

// TestAcceptingConnect: an endpoint hears of a client when that is authorised, and not before.
func TestAcceptingConnect(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	app := startBackend(t, "app")
	addService(t, c, app)
	cfg := consulConfig(c, false)
	cfg.Register = nil
	table := mustDtab("/svc => /#/io.l5d.consul/dc1")
	cfg.Dtab = config.Dtab{Namespace: "default", Static: &table}
	l := listenerTo("in", "/svc/app")
	l.TLS = &config.ServerTLS{Connect: "edge"}
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	web := runIdentity(t, c, "web")
	as := func(i *identity.Connect, version uint16) (string, error) {
		t.Helper()
		config, err := i.Client(namer.ConnectID{Datacenter: "dc1", Service: "edge"})
		if err != nil {
			t.Fatal(err)
		}
		config.MaxVersion = version
		raw, err := net.Dial("tcp", p.address("in"))
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 64)
		n, err := tls.Client(raw, config).Read(b)
		return strings.TrimSuffix(string(b[:n]), "\n"), err
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if who, err := as(web, version); who != "app" {
			t.Errorf("%s answers, %v", who, err)
		}
	}

	setIntention(t, c, "web", "edge", api.IntentionActionDeny)
	eventually(t, "web is denied", func() bool { _, err := as(web, 0); return err != nil })
	before := app.accepted.Load()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for range 10 {
			if who, err := as(web, version); err == nil {
				t.Errorf("%s answers to a client that is denied", who)
			}
		}
	}
	if n := app.accepted.Load(); n != before {
		t.Errorf("%d connections to the endpoint by clients that are denied", n-before)
	}

	// HTTP permissions need an HTTP protocol in Consul, and cannot be enforced here.
	if _, _, err := c.Client.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "edge", Protocol: "http"}, nil); err != nil {
		t.Fatal(err)
	}
	other := runIdentity(t, c, "other")
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "edge", Sources: []*api.SourceIntention{{
		Name: "other", Permissions: []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}},
	}}}
	if _, _, err := c.Client.ConfigEntries().Set(e, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "web is allowed again", func() bool { _, err := as(web, 0); return err == nil })
	if who, err := as(other, 0); err == nil {
		t.Errorf("%s answers to a client with HTTP permissions", who)
	}
	p.logs("[WARN]", "intention other -> edge has HTTP permissions; this listener is TCP: they cannot be enforced, so it is refused")

	setMesh(t, c, &api.MeshTLSConfig{Incoming: &api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}})
	eventually(t, "TLS 1.2 is refused", func() bool { _, err := as(web, tls.VersionTLS12); return err != nil })
	if who, err := as(web, 0); who != "app" {
		t.Errorf("%s answers, %v", who, err)
	}
	p.logs("[WARN]", "look at min_version, and at the mesh config entry")

	next := *cfg
	l.Timeouts.Idle = time.Hour
	next.Listeners = []config.Listener{l, listenerTo("plain", "/svc/app")}
	if err := p.agent.Reload(&next); err != nil {
		t.Fatal(err)
	}
	if who, err := as(web, tls.VersionTLS12); err == nil {
		t.Errorf("after a reload %s answers to TLS 1.2", who)
	}
	if who, err := as(web, 0); who != "app" {
		t.Errorf("after a reload %s answers, %v", who, err)
	}
	// What is known stays in force where the way to Consul is another one, and leads nowhere.
	cut := next
	cut.Consul.Address = "http://" + downAddress(t)
	cut.Namers = nil
	cut.Dtab = config.Dtab{Namespace: "default", Static: new(mustDtab("/svc/app => /$/inet/127.1/" + app.addr[strings.LastIndexByte(app.addr, ':')+1:]))}
	if err := p.agent.Reload(&cut); err != nil {
		t.Fatal(err)
	}
	if who, err := as(web, tls.VersionTLS12); err == nil {
		t.Errorf("with a Consul that is down %s answers to TLS 1.2", who)
	}
	if who, err := as(web, 0); who != "app" {
		t.Errorf("with a Consul that is down %s answers, %v", who, err)
	}
	without := cut
	without.Listeners = cut.Listeners[1:]
	if err := p.agent.Reload(&without); err != nil || p.agent.current.Load().mesh != nil {
		t.Errorf("a reload without Connect: %v", err)
	}
}
