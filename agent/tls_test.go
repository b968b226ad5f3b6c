package agent

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/dtab"
	"argosy/internal/devca"
)

// world is a development CA.
type world struct {
	t  *testing.T
	ca *devca.CA
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := devca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca}
}

func (w *world) files(service string, hosts ...string) devca.Files {
	w.t.Helper()
	f, err := w.ca.Write(w.t.TempDir(), service, hosts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) identity(service string, hosts ...string) *identity.Files {
	w.t.Helper()
	f := w.files(service, hosts...)
	i, err := identity.NewFiles(f.Cert, f.Key, f.CA)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// dialTLS connects a listener with TLS and returns who answers.
func (p *proxy) dialTLS(listener string, c *tls.Config) (*tls.Conn, string) {
	p.t.Helper()
	conn := tls.Client(p.silent(listener), c)
	return conn, greeting(p.t, conn)
}

// startTLSBackend is startBackend behind TLS.
func startTLSBackend(t *testing.T, name string, c *tls.Config) string {
	t.Helper()
	return serveEach(t, func(raw net.Conn) {
		s := tls.Server(raw, c)
		defer s.Close()
		fmt.Fprintf(s, "%s\n", name)
		io.Copy(s, s)
	})
}

// TestTLSBothSides: an entry agent that originates mutual TLS, a fleet agent that terminates it, plain at both ends.
func TestTLSBothSides(t *testing.T) {
	w := newWorld(t)
	fleetFiles, entryFiles := w.files("fleet", "fleet.test"), w.files("entry")
	redis := startBackend(t, "redis1")

	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	l := listenerTo("redis", "/svc/redis")
	l.TLS = &config.ServerTLS{Certificates: []config.Certificate{{CertFile: fleetFiles.Cert, KeyFile: fleetFiles.Key}}, ClientCAFile: fleetFiles.CA, ClientAuth: "required"}
	cfg.Listeners = []config.Listener{l}
	fleet := startAgent(t, cfg)

	cfg = baseConfig(map[string][]string{"fleet": {fleet.address("redis")}})
	cfg.Listeners = []config.Listener{listenerTo("in", "/svc/fleet")}
	cfg.Clients = []config.Client{{
		Prefix: dtab.MustParsePrefix("/#/static/fleet"), ConnectTimeout: 5 * time.Second,
		TLS: &config.ClientTLS{ServerName: "fleet.test", CAFile: entryFiles.CA, CertFile: entryFiles.Cert, KeyFile: entryFiles.Key},
	}}
	entry := startAgent(t, cfg)

	c, who := entry.dial("in")
	if who != "redis1" {
		t.Errorf("%s answers", who)
	}
	echo(t, c, "through two agents")
	_, body := fleet.get("/v1/connections")
	if live := decode[[]ConnectionInfo](t, body); len(live) != 1 || live[0].Peer != "entry" {
		t.Errorf("the fleet does not know its client: %s", body)
	}
	c.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("half-close through both: %v", err)
	}
	fleet.expectClosed("redis", "ok", 1)
	entry.expectClosed("in", "ok", 1)

	// A client without a certificate, and one that does not speak TLS.
	raw, err := tls.Dial("tcp", fleet.address("redis"), &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_, err = raw.Read(make([]byte, 1)) // TLS 1.3 tells afterwards
		raw.Close()
	}
	if err == nil {
		t.Error("a client without a certificate was let in")
	}
	fleet.expectClosed("redis", "tls", 1)
	plain, err := net.Dial("tcp", fleet.address("redis"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(plain, "PING\r\n")
	io.Copy(io.Discard, plain)
	plain.Close()
	fleet.expectClosed("redis", "tls", 2)
}

// TestServerIsNotWhoItShouldBe: the wrong name at the other end is the outcome tls, and no byte gets there.
func TestServerIsNotWhoItShouldBe(t *testing.T) {
	w := newWorld(t)
	files := w.files("entry")
	cfg := baseConfig(map[string][]string{"db": {startTLSBackend(t, "db", w.identity("db", "other.test").Server())}})
	cfg.Listeners = []config.Listener{listenerTo("db", "/svc/db")}
	cfg.Clients = []config.Client{{
		Prefix: dtab.MustParsePrefix("/svc/db"), ConnectTimeout: 5 * time.Second, // by the logical name
		TLS: &config.ClientTLS{ServerName: "db.test", CAFile: files.CA},
	}}
	p := startAgent(t, cfg)
	p.refusal("db")
	p.expectClosed("db", "tls", 1)
	p.expectMetric(`argosy_dial_failures_total{cluster="/#/static/db",destination="/svc/db",reason="tls"}`, 1)
}

// TestSNI: the server name leads to the destination, the ClientHello arrives there untouched, and metrics do not repeat
// what clients send.
func TestSNI(t *testing.T) {
	w := newWorld(t)
	services := map[string][]string{"fallback": {startBackend(t, "fallback").addr}}
	for _, name := range []string{"one.test", "two.test"} {
		services[name] = []string{startTLSBackend(t, name, w.identity(name, name).Server())}
	}
	cfg := baseConfig(services)
	l := listenerTo("tls", "/svc/unused")
	l.Destination = nil
	l.SNI = &config.SNI{Prefix: dtab.MustParsePath("/svc"), Timeout: 200 * time.Millisecond}
	withDefault := l
	withDefault.Name, withDefault.SNI = "default", &config.SNI{
		Prefix: dtab.MustParsePath("/svc"), Default: dtab.MustParsePath("/svc/fallback"), Timeout: 200 * time.Millisecond,
	}
	cfg.Listeners = []config.Listener{l, withDefault}
	p := startAgent(t, cfg)
	client := w.identity("client")
	for _, name := range []string{"one.test", "two.test", "one.test"} {
		config, err := client.ClientNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		c, who := p.dialTLS("tls", config)
		if who != name {
			t.Errorf("%s answers for %s", who, name)
		}
		echo(t, c, "through")
		c.Close()
	}
	unknown, err := client.ClientNamed("unknown.test")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := tls.Dial("tcp", p.address("tls"), unknown); err == nil {
		c.Close()
		t.Error("an unknown name was served")
	}
	p.expectClosed("tls", "no_route", 1)
	if c, who := p.dial("default"); who != "fallback" { // silent, so after the timeout
		t.Errorf("%s answers", who)
	} else {
		echo(t, c, "a protocol in which the server speaks first")
	}
	silent, err := net.Dial("tcp", p.address("tls"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p.expectClosed("tls", "tls", 1)
	p.expectMetric(`argosy_cluster_connections_opened_total{cluster="*",destination="/svc/*"}`, 3)
	if v := p.metric(`argosy_endpoints{cluster="/#/static/one.test",destination="/svc/one.test"}`); v != -1 {
		t.Error("a name from the wire is a label")
	}

	// Names from the wire are forgotten when nobody has used them for a while.
	p.expectMetric(`argosy_connections_active{listener="tls"}`, 0)
	n := p.agent.names
	eventually(t, "only the configured name is left", func() bool {
		n.mu.Lock()
		n.now = func() time.Time { return time.Now().Add(2 * wireLinger) }
		n.mu.Unlock()
		n.evict()
		return len(n.all()) == 1
	})
}

// TestManyNames: a scan with more names than are kept costs no memory, no log, and no service to the configured ones.
func TestManyNames(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	n := p.agent.names
	var held []*destination
	for i := range wireNames + 50 {
		d, err := n.acquire(dtab.MustParsePath(fmt.Sprintf("/svc/x%d", i)), "/svc/*")
		if err != nil {
			t.Fatal(err)
		}
		if i < 10 {
			held = append(held, d)
		} else {
			n.release(d)
		}
	}
	if got := len(n.all()); got != wireNames+1 {
		t.Errorf("%d names are followed", got)
	}
	for i, d := range held {
		if n.byName[fmt.Sprintf("/svc/x%d", i)] != d {
			t.Errorf("a name in use was forgotten")
		}
		n.release(d)
	}
	if _, who := p.dial("redis"); who != "redis1" {
		t.Errorf("%s answers", who)
	}
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "/svc/x") && !strings.Contains(line, "[DEBUG]") {
			t.Fatalf("names from outside fill the log: %s", line)
		}
	}
}
