package agent

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/agent/proxyproto"
	"argosy/dtab"
)

// sayHeader says which PROXY header a connection has begun with.
func sayHeader(c net.Conn) {
	c.SetDeadline(time.Now().Add(patience))
	h, _, err := proxyproto.Read(c)
	if err != nil {
		io.WriteString(c, err.Error()+"\n")
		return
	}
	says := []string{h.Source.String(), h.Destination.String(), h.Authority(), h.ALPN()}
	if s := h.SSL(); s != nil && s.Verified {
		for _, v := range s.TLVs {
			says = append(says, string(v.Value))
		}
	}
	if v, ok := h.Value(0xe0); ok {
		says = append(says, string(v))
	}
	io.WriteString(c, strings.Join(says, " ")+"\n")
	io.Copy(io.Discard, c)
}

// TestProxyHeaderOut: endpoints hear of the client, on the event loop and off it, and of what TLS has told of it; the header
// counts for nothing.
func TestProxyHeaderOut(t *testing.T) {
	w := newWorld(t)
	server, client := w.files("fleet", "fleet.test"), w.files("entry")
	cfg := baseConfig(map[string][]string{"one": {serveEach(t, sayHeader)}, "two": {serveEach(t, sayHeader)}})
	encrypted := listenerTo("tls", "/svc/two")
	encrypted.TLS = &config.ServerTLS{
		Certificates: []config.Certificate{{CertFile: server.Cert, KeyFile: server.Key}},
		ClientCAFile: server.CA, ClientAuth: "required", ALPN: []string{"redis"},
	}
	cfg.Listeners = []config.Listener{listenerTo("v1", "/svc/one"), listenerTo("v2", "/svc/two"), encrypted}
	cfg.Clients = []config.Client{
		{Prefix: dtab.MustParsePrefix("/svc/one"), ProxyProtocol: "v1", ConnectTimeout: patience},
		{Prefix: dtab.MustParsePrefix("/svc/two"), ProxyProtocol: "v2", ConnectTimeout: patience},
	}
	p := startAgent(t, cfg)
	for _, l := range []string{"v1", "v2"} {
		c, says := p.dial(l)
		want := c.LocalAddr().String() + " " + c.RemoteAddr().String() + "  "
		if says != want {
			t.Errorf("%s: the endpoint heard %q, want %q", l, says, want)
		}
		c.Close()
		p.expectClosed(l, "ok", 1)
		p.expectMetric(`argosy_bytes_total{direction="in",listener="`+l+`"}`, 0)
	}
	pair, err := tls.LoadX509KeyPair(client.Cert, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, says := p.dialTLS("tls", &tls.Config{
		Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, ServerName: "fleet.test", NextProtos: []string{"redis"},
	})
	want := c.LocalAddr().String() + " " + c.RemoteAddr().String() + " fleet.test redis TLSv1.3 entry " + w.ca.ID("entry").String()
	if says != want {
		t.Errorf("the endpoint heard %q, want %q", says, want)
	}
}

// TestPostgresOut: TLS to an endpoint that wants to be asked for it, whose identity is pinned by its SPIFFE id; the second
// connection resumes the session of the first.
func TestPostgresOut(t *testing.T) {
	w := newWorld(t)
	files := w.files("entry")
	server := w.identity("db").Server()
	addr := serveEach(t, func(c net.Conn) {
		c.SetDeadline(time.Now().Add(patience))
		var request [8]byte
		if _, err := io.ReadFull(c, request[:]); err != nil || string(request[4:]) != "\x04\xd2\x16\x2f" {
			return
		}
		io.WriteString(c, "S")
		s := tls.Server(c, server)
		if s.Handshake() != nil {
			return
		}
		if s.ConnectionState().DidResume {
			io.WriteString(s, "resumed\n")
		} else {
			io.WriteString(s, "new\n")
		}
		io.Copy(s, s)
	})
	cfg := baseConfig(map[string][]string{"db": {addr}, "plain": {startBackend(t, "plain").addr}})
	cfg.Listeners = []config.Listener{listenerTo("db", "/svc/db"), listenerTo("plain", "/svc/plain")}
	client := config.Client{Prefix: dtab.MustParsePrefix("/svc/db"), ConnectTimeout: patience, TLS: &config.ClientTLS{
		SPIFFEID: w.ca.ID("db").String(), CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, StartTLS: "postgres",
	}}
	other := client
	other.Prefix = dtab.MustParsePrefix("/svc/plain")
	cfg.Clients = []config.Client{client, other}
	p := startAgent(t, cfg)
	for _, want := range []string{"new", "resumed", "resumed"} {
		c, says := p.dial("db")
		if says != want {
			t.Errorf("the session is %s, not %s", says, want)
		}
		echo(t, c, "SELECT 1")
		c.Close()
	}
	p.refusal("plain")
	p.expectMetric(`argosy_dial_failures_total{cluster="/#/static/plain",destination="/svc/plain",reason="starttls"}`, 1)
}

// TestCertificatesOfAListener: each client gets the certificate of the name it asks for, and resumes its session.
func TestCertificatesOfAListener(t *testing.T) {
	w := newWorld(t)
	one, two := w.files("one", "one.test"), w.files("two", "*.two.test")
	cfg := baseConfig(map[string][]string{"redis": {startBackend(t, "redis1").addr}})
	l := listenerTo("redis", "/svc/redis")
	l.TLS = &config.ServerTLS{
		Certificates: []config.Certificate{{CertFile: one.Cert, KeyFile: one.Key}, {CertFile: two.Cert, KeyFile: two.Key}},
		MinVersion:   tls.VersionTLS13,
	}
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	sessions := tls.NewLRUClientSessionCache(8)
	reload := func(edit func(*config.Config)) {
		cfg = edited(cfg, edit)
		if err := p.agent.Reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	for i, test := range []struct {
		name, serves string
		resumed      bool
	}{
		{"one.test", "one", false}, {"a.two.test", "two", false}, {"other.test", "one", false}, {"a.two.test", "two", true},
		{"a.two.test", "two", true}, {"a.two.test", "two", false}, // after the reloads
	} {
		c, who := p.dialTLS("redis", &tls.Config{InsecureSkipVerify: true, ServerName: test.name, ClientSessionCache: sessions})
		s := c.ConnectionState()
		if got := s.PeerCertificates[0].Subject.CommonName; got != test.serves || s.DidResume != test.resumed || who != "redis1" {
			t.Errorf("%s: certificate of %s, resumed %v, %s answers", test.name, got, s.DidResume, who)
		}
		c.Close()
		switch i {
		case 3:
			reload(func(c *config.Config) { c.Listeners[0].MaxConnections = 100 })
		case 4:
			reload(func(c *config.Config) {
				other := *c.Listeners[0].TLS
				other.ALPN = []string{"redis"}
				c.Listeners[0].TLS = &other
			})
		}
	}
	raw, err := net.Dial("tcp", p.address("redis"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	old := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "one.test", MaxVersion: tls.VersionTLS12})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.2 was taken")
	}
	_, body := p.get("/metrics")
	found := 0
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		if strings.HasPrefix(s.Text(), "argosy_identity_file_expiry_timestamp_seconds{file=") {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d certificates in the metrics", found)
	}
}

// TestRetryBudgetIsKept: a cluster that refuses everybody is not asked much more often than there are clients.
func TestRetryBudgetIsKept(t *testing.T) {
	cfg := baseConfig(map[string][]string{"down": {downAddress(t), downAddress(t), downAddress(t), downAddress(t)}})
	cfg.Listeners = []config.Listener{listenerTo("down", "/svc/down")}
	cfg.Clients = []config.Client{{Prefix: dtab.MustParsePrefix("/svc/down"), Retries: 3, RetryBudget: 0.1}}
	p := startAgent(t, cfg)
	const connections = 100
	for range connections {
		p.refusal("down")
	}
	const labels = `{cluster="/#/static/down",destination="/svc/down"`
	failures := p.metric(`argosy_dial_failures_total` + labels + `,reason="refused"}`)
	// The floor is of ten seconds; what the machine takes longer for this allows for more.
	if failures < connections+30 || failures > connections+10+4*30 {
		t.Errorf("%v attempts for %d connections", failures, connections)
	}
	if over := p.metric(`argosy_retry_budget_exhausted_total` + labels + `}`); over < 1 {
		t.Errorf("the budget was used up for %v connections", over)
	}
}
