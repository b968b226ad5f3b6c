package agent

import (
	"crypto/tls"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"argosy/agent/config"
)

// terminating is a listener that wants client certificates, its backend, and a client that has one.
func terminating(t *testing.T, edit func(*config.Listener)) (*proxy, *backend, *tls.Config) {
	t.Helper()
	w := newWorld(t)
	files, db := w.files("edge", "edge.test"), startBackend(t, "db")
	cfg := baseConfig(map[string][]string{"db": {db.addr}})
	l := listenerTo("db", "/svc/db")
	l.ConnectTimeout = time.Hour
	l.TLS = &config.ServerTLS{
		Certificates: []config.Certificate{{CertFile: files.Cert, KeyFile: files.Key}}, ClientCAFile: files.CA, ClientAuth: "required",
	}
	edit(&l)
	cfg.Listeners = []config.Listener{l}
	client, err := w.identity("web").ClientNamed("edge.test")
	if err != nil {
		t.Fatal(err)
	}
	return startAgent(t, cfg), db, client
}

// TestHandshakeBudget: neither silence nor a byte now and then holds a connection for longer than the time for the handshake,
// and nothing of a client that has not proved who it is reaches an endpoint, not even a connection.
func TestHandshakeBudget(t *testing.T) {
	p, db, good := terminating(t, func(l *config.Listener) { l.Timeouts.Handshake = 1500 * time.Millisecond })
	began := time.Now()
	p.silent("db")
	p.expectClosed("db", "tls", 1)

	slow := p.silent("db")
	hello := append([]byte{22, 3, 1, 2, 0}, make([]byte, 512)...)
	for _, b := range hello {
		if _, err := slow.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond) // more than 10 s for all of it
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("held for %v", took)
	}
	p.expectClosed("db", "tls", 2)

	anonymous := good.Clone()
	anonymous.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	c := tls.Client(p.silent("db"), anonymous)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a client without a certificate gets bytes")
	}
	p.expectClosed("db", "tls", 3)
	if n := db.accepted.Load(); n != 0 {
		t.Errorf("%d connections to the endpoint before a client has proved who it is", n)
	}
	if _, who := p.dialTLS("db", good); who != "db" {
		t.Errorf("%s answers", who)
	}
}

// TestHandshakeLimit: who is one too many waits for his turn, and comes next.
func TestHandshakeLimit(t *testing.T) {
	p, _, good := terminating(t, func(l *config.Listener) {
		l.Timeouts.Handshake = time.Hour
		l.Limits.Handshakes = 1
	})
	state := p.agent.current.Load().listeners[0].state
	first := p.silent("db")
	eventually(t, "the first has begun", func() bool { return state.handshakes.Open() == 1 })
	var waiting []net.Conn
	for i := range handshakeQueue {
		waiting = append(waiting, p.silent("db"))
		eventually(t, "it waits", func() bool { return state.handshakes.Waiting() == i+1 })
	}
	p.expectClosed("db", "tls", 0)
	c := p.silent("db")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("one more is let in")
	}
	p.expectClosed("db", "limit", 1)
	p.expectMetric(`argosy_connections_refused_total{limit="handshakes",listener="db"}`, 1)

	first.Close()
	served := tls.Client(waiting[0], good)
	if who := greeting(t, served); who != "db" {
		t.Errorf("%s answers", who)
	}
	for _, c := range waiting[1:] {
		c.Close()
	}
	eventually(t, "all turns are over", func() bool { return state.handshakes.Open() == 0 && state.handshakes.Waiting() == 0 })
	echo(t, served, "an open connection does not count")
}

// TestManySlowHandshakes: thousands of clients that begin a handshake and leave it there cost a bounded amount of memory, and
// the next good client is served when they are gone.
func TestManySlowHandshakes(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of sockets")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	n := min(10_000, int(files.Cur-500)/2)
	p, db, good := terminating(t, func(l *config.Listener) {
		l.Timeouts.Handshake = time.Hour
		l.Limits.Handshakes = 1000
	})
	state := p.agent.current.Load().listeners[0].state
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	began := []byte{22, 3, 1, 2, 0, 1} // of a ClientHello
	all := make([]net.Conn, n)
	for i := range all {
		all[i] = p.silent("db")
		if _, err := all[i].Write(began); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all have begun or wait", func() bool { return state.handshakes.Open()+state.handshakes.Waiting() == n })
	if open := state.handshakes.Open(); open > 1000 {
		t.Errorf("%d handshakes at a time", open)
	}
	each := int64(memory()-before) / int64(n)
	t.Logf("%d sockets, %d bytes for each", n, each)
	if most := int64(20 << 10); each > most {
		t.Errorf("%d bytes for each of %d slow handshakes: more than %d", each, n, most)
	}
	for _, c := range all {
		c.Close()
	}
	if _, who := p.dialTLS("db", good); who != "db" {
		t.Errorf("%s answers", who)
	}
	if got := db.accepted.Load(); got != 1 {
		t.Errorf("%d connections to the endpoint", got)
	}
}
