package agent

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
)

// limited is a listener for one backend.
func limited(t *testing.T, edit func(*config.Listener)) (*config.Config, *proxy) {
	t.Helper()
	cfg := baseConfig(map[string][]string{"db": {startBackend(t, "db").addr}})
	l := listenerTo("db", "/svc/db")
	edit(&l)
	cfg.Listeners = []config.Listener{l}
	return cfg, startAgent(t, cfg)
}

func TestLimitsRefuse(t *testing.T) {
	_, p := limited(t, func(l *config.Listener) { l.Limits.PerSource = 1 })
	c, _ := p.dial("db")
	p.refusal("db")
	p.expectMetric(`argosy_connections_refused_total{limit="source",listener="db"}`, 1)
	p.expectMetric(`argosy_connections_refused_total{limit="rate",listener="db"}`, 0)
	p.expectClosed("db", "limit", 1)
	c.Close()
	p.expectClosed("db", "ok", 1)
	p.dial("db")
}

// TestLimitsQueue: a connection waits for its turn, for so long, and is counted as one that waits; a reload that raises
// the limit lets it in.
func TestLimitsQueue(t *testing.T) {
	cfg, p := limited(t, func(l *config.Listener) {
		l.MaxConnections = 1
		l.Limits = config.Limits{AtLimit: config.Queue, QueueLength: 1, QueueTimeout: patience}
	})
	first, _ := p.dial("db")
	wait := func() net.Conn {
		c, err := net.Dial("tcp", p.address("db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		p.expectMetric(`argosy_connections_waiting{listener="db"}`, 1)
		eventually(t, "in the queue", func() bool { return p.agent.current.Load().listeners[0].state.limits.Waiting() == 1 })
		return c
	}
	second := wait()
	p.refusal("db")
	p.expectMetric(`argosy_connections_refused_total{limit="queue",listener="db"}`, 1)
	first.Close()
	greeting(t, second)
	echo(t, second, "hello")

	wait().Close() // leaves while it waits
	p.expectClosed("db", "reset", 1)

	third := wait()
	next := *cfg
	next.Listeners = []config.Listener{cfg.Listeners[0]}
	next.Listeners[0].MaxConnections = 2
	if err := p.agent.Reload(&next); err != nil {
		t.Fatal(err)
	}
	greeting(t, third)
	next.Listeners = []config.Listener{next.Listeners[0]}
	next.Listeners[0].Limits.QueueTimeout = 10 * time.Millisecond
	if err := p.agent.Reload(&next); err != nil {
		t.Fatal(err)
	}
	p.refusal("db")
	p.expectMetric(`argosy_connections_refused_total{limit="connections",listener="db"}`, 1)
}

// proxied connects as a proxy does for a client.
func (p *proxy) proxied(client string) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.address("db"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "PROXY TCP4 "+client+" 192.0.2.9 1000 5432\r\n")
	return c
}

// TestProxiedQueue: who is known by the header only waits for his own connections, and for the place of another one.
func TestProxiedQueue(t *testing.T) {
	_, p := limited(t, func(l *config.Listener) {
		l.MaxConnections = 2
		l.Limits = config.Limits{PerSource: 1, AtLimit: config.Queue, QueueLength: 5, QueueTimeout: patience}
		l.ProxyProtocol = &config.ProxyProtocol{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	})
	one := p.proxied("192.0.2.1")
	greeting(t, one)
	again := p.proxied("192.0.2.1")
	p.expectMetric(`argosy_connections_waiting{listener="db"}`, 1)
	other := p.proxied("192.0.2.2")
	greeting(t, other) // the one that waits has no place
	one.Close()
	greeting(t, again)
	again.Close()
	other.Close()
	p.expectClosed("db", "ok", 3)
	greeting(t, p.proxied("192.0.2.1"))
	greeting(t, p.proxied("192.0.2.2"))
}

// TestProxyProtocolIn: the client of a trusted proxy is the one in the log and the API, and counts by its own address.
func TestProxyProtocolIn(t *testing.T) {
	_, p := limited(t, func(l *config.Listener) {
		l.Limits.PerSource = 1
		l.ProxyProtocol = &config.ProxyProtocol{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	})
	one := p.proxied("192.0.2.1")
	greeting(t, one)
	greeting(t, p.proxied("192.0.2.2"))
	echo(t, one, "hello")
	if _, body := p.get("/v1/connections"); !strings.Contains(body, `"192.0.2.1:1000"`) || !strings.Contains(body, `"192.0.2.2:1000"`) {
		t.Errorf("live are %s", body)
	}
	if b, _ := io.ReadAll(p.proxied("192.0.2.1")); len(b) > 0 {
		t.Errorf("a second one from the same client gets %q", b)
	}
	p.expectMetric(`argosy_connections_refused_total{limit="source",listener="db"}`, 1)
	one.Close()
	p.expectClosed("db", "ok", 1)
	greeting(t, p.proxied("192.0.2.1"))
}

func TestUnixListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sock")
	cfg, p := limited(t, func(l *config.Listener) { l.Network, l.Address, l.Unix.Mode = "unix", path, 0o600 })
	dial := func() {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		greeting(t, c)
		echo(t, c, "hello")
	}
	dial()
	next := *cfg
	next.Listeners = []config.Listener{cfg.Listeners[0]}
	next.Listeners[0].Unix.Mode = 0o640
	if err := p.agent.Reload(&next); err != nil {
		t.Fatal(err)
	}
	dial()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	p.leave()
	p.agent.Cut()
	p.wait()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file is still there")
	}
}
