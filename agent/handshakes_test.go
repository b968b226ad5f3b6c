package agent

import (
	"crypto/tls"
	"io"
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

// clientHello is what a TLS client sends first.
func clientHello(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		defer near.Close()
		tls.Client(near, c).Handshake() // ends when far is closed
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// stalled connects to a listener, sends the beginning of a handshake, and leaves it there.
func (p *proxy) stalled(listener string, hello []byte) net.Conn {
	p.t.Helper()
	c := p.silent(listener)
	if _, err := c.Write(hello); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// TestSilentClients: who has not sent the whole of a ClientHello has no turn, and keeps nobody waiting.
func TestSilentClients(t *testing.T) {
	p, _, good := terminating(t, func(l *config.Listener) {
		l.Timeouts.Handshake = time.Hour
		l.Limits.Handshakes = 1
	})
	hello := clientHello(t, good)
	for range 20 {
		p.silent("db")
		p.stalled("db", hello[:len(hello)-1])
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
	hello := clientHello(t, good)
	first := p.stalled("db", hello)
	eventually(t, "the first has begun", func() bool { return state.handshakes.Open() == 1 })
	served := tls.Client(p.silent("db"), good)
	shaken := make(chan error, 1)
	go func() { shaken <- served.Handshake() }()
	eventually(t, "it waits", func() bool { return state.handshakes.Waiting() == 1 })
	var waiting []net.Conn
	for i := range handshakeQueue - 1 {
		waiting = append(waiting, p.stalled("db", hello))
		eventually(t, "it waits", func() bool { return state.handshakes.Waiting() == i+2 })
	}
	p.expectClosed("db", "tls", 0)
	c := p.stalled("db", hello)
	if got, err := io.ReadAll(c); err != nil || len(got) != 7 || got[0] != 21 {
		t.Errorf("one more gets %x, %v, and not an alert", got, err)
	}
	p.expectClosed("db", "limit", 1)
	p.expectMetric(`argosy_connections_refused_total{limit="handshakes",listener="db"}`, 1)

	first.Close()
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	if who := greeting(t, served); who != "db" {
		t.Errorf("%s answers", who)
	}
	for _, c := range waiting {
		c.Close()
	}
	eventually(t, "all turns are over", func() bool { return state.handshakes.Open() == 0 && state.handshakes.Waiting() == 0 })
	echo(t, served, "an open connection does not count")
}

// TestStalledHandshakes: who has a turn and stalls loses it to who comes later, before its time is up.
func TestStalledHandshakes(t *testing.T) {
	p, _, good := terminating(t, func(l *config.Listener) {
		l.Timeouts.Handshake = 16 * time.Second // a turn is safe for 4 s; who waits, waits for 8 s at most
		l.Limits.Handshakes = 2
	})
	state, hello := p.agent.current.Load().listeners[0].state, clientHello(t, good)
	for i := range 3 {
		p.stalled("db", hello)
		eventually(t, "it has a turn, or waits for one", func() bool { return state.handshakes.Open()+state.handshakes.Waiting() == i+1 })
	}
	began := time.Now()
	if _, who := p.dialTLS("db", good); who != "db" { // the second one after the first, which has gone for the third
		t.Errorf("%s answers", who)
	}
	if took := time.Since(began); took < time.Second || took > 7*time.Second {
		t.Errorf("it took %v", took)
	}
	p.expectMetric(`argosy_connections_refused_total{limit="handshakes",listener="db"}`, 2)
	p.expectClosed("db", "limit", 2)
}

// TestManySlowHandshakes: thousands of clients that begin a handshake and leave it there cost a bounded amount of memory, and
// a good client is served beside them.
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
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	began := []byte{22, 3, 1, 2, 0, 1} // of a ClientHello
	for range n {
		p.stalled("db", began)
	}
	p.expectMetric(`argosy_connections_active{listener="db"}`, float64(n))
	each := int64(memory()-before) / int64(n)
	t.Logf("%d sockets, %d bytes for each", n, each)
	if most := int64(32 << 10); each > most { // the race detector has its own
		t.Errorf("%d bytes for each of %d slow handshakes: more than %d", each, n, most)
	}
	if _, who := p.dialTLS("db", good); who != "db" {
		t.Errorf("%s answers", who)
	}
	if got := db.accepted.Load(); got != 1 {
		t.Errorf("%d connections to the endpoint", got)
	}
}
