package door

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/settings"
)

// slow holds requests to /v1/wait until they are let go.
func slow(t *testing.T, cfg settings.Door, reg prometheus.Registerer) (address string, d *Door, release func()) {
	t.Helper()
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	mux.HandleFunc("GET /v1/wait", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	cfg.Address = "127.0.0.1:0"
	l, err := Listen(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	d = New(cfg, nil, Options{Registry: reg})
	s := NewServer(d, l, mux, hclog.NewNullLogger())
	s.Start()
	t.Cleanup(func() {
		release()
		s.Stop(5 * time.Second)
	})
	return s.Address(), d, release
}

// dialFrom connects from an address of this machine: loopback is a whole network.
func dialFrom(t *testing.T, source, address string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Skipf("no second address: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

func healthy(t *testing.T, c net.Conn) bool {
	t.Helper()
	if _, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return false
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == 200
}

func evicted(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "argosy_http_evicted_connections_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

// A stranger who opens connections without an end, silent ones, half requests and ones that show a wrong token, takes nothing from
// those who ask for the health, new ones or on a connection that they have; and nothing grows.
func TestStrangersUseNothingUp(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	const most = 20
	address, d, _ := slow(t, settings.Door{
		MaxConnections: most, Open: []string{"/health"},
		Tokens: []settings.DoorToken{{Name: "t", Secret: settings.NewSecret("secret"), Write: true}},
	}, reg)
	kept := dialFrom(t, "127.0.0.3", address)
	if !healthy(t, kept) {
		t.Fatal("not healthy before")
	}
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for i, say := range []string{"", "G", "GET /v1/wait HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n", "GET /health HTTP/1.1\r\nHost:x\r\nA: "} {
		flood.Go(func() {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
			var open []net.Conn
			for ctx.Err() == nil {
				if c, err := dialer.DialContext(ctx, "tcp", address); err == nil {
					io.WriteString(c, say)
					open = append(open, c)
				}
				if len(open) > 200 {
					open[0].Close()
					open = open[1:]
				}
			}
			for _, c := range open {
				c.Close()
			}
		})
	}
	defer flood.Wait()
	defer stop()
	for deadline := time.Now().Add(30 * time.Second); evicted(t, reg) < 1000; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %v connections had to make room", evicted(t, reg))
		}
	}
	for i := range 50 {
		c := dialFrom(t, "127.0.0.2", address)
		if !healthy(t, c) {
			t.Errorf("request %d is not answered", i)
		}
		c.Close()
		if !healthy(t, kept) {
			t.Fatalf("the connection that was there is not served any more, at %d", i)
		}
		d.conns.mu.Lock()
		if d.conns.all > most+reserve {
			t.Errorf("%d connections", d.conns.all)
		}
		d.conns.mu.Unlock()
	}
	stop()
	flood.Wait()
	kept.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d.conns.mu.Lock()
		all, busy, sources := d.conns.all, d.conns.busy, len(d.conns.sources)
		d.conns.mu.Unlock()
		if all == 0 && busy == 0 && sources == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections of %d sources are left, %d busy", all, sources, busy)
		}
	}
}

// Callers who were let in and wait for their answers are not sent away for others; one too many is told so, and health goes on.
func TestBusy(t *testing.T) {
	t.Parallel()
	const most = 5
	address, d, release := slow(t, settings.Door{MaxConnections: most, Open: []string{"/health"}}, nil)
	ask := func(path string) net.Conn {
		c := dialFrom(t, "127.0.0.1", address)
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return c
	}
	status := func(c net.Conn) string {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(line)
	}
	var waiting []net.Conn
	for range most {
		waiting = append(waiting, ask("/v1/wait"))
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d.conns.mu.Lock()
		busy := d.conns.busy
		d.conns.mu.Unlock()
		if busy == most {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are busy", busy)
		}
	}
	for range 3 * reserve {
		if got := status(ask("/v1/wait")); got != "HTTP/1.1 503 Service Unavailable" {
			t.Errorf("one too many: %s", got)
		}
		if got := status(ask("/health")); got != "HTTP/1.1 200 OK" {
			t.Errorf("health: %s", got)
		}
		dialFrom(t, "127.0.0.1", address) // and a silent one
	}
	release()
	for _, c := range waiting {
		if got := status(c); got != "HTTP/1.1 200 OK" {
			t.Errorf("one that waited: %s", got)
		}
	}
}

func TestSourceOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"10.1.2.3:1": "10.1.2.3/32", "[::ffff:10.1.2.3]:1": "10.1.2.3/32", "[2001:db8::1:2]:1": "2001:db8::/64", "[fe80::1%lo]:1": "fe80::/64",
	} {
		if got := sourceOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))); got.String() != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if sourceOf(&net.UnixAddr{}).IsValid() {
		t.Error("a Unix socket has no network")
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	cfg := settings.Door{Network: "unix", Address: path, Mode: 0o600}
	s := serve(t, cfg)
	if s.Address() != "unix:"+path {
		t.Errorf("address %s", s.Address())
	}
	mode := func(want fs.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v %v, want %v", info.Mode(), err, want)
		}
	}
	mode(0o600)
	if _, err := Listen(cfg, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	for _, page := range []string{"GET /health", "POST /v1/drain"} {
		method, p, _ := strings.Cut(page, " ")
		if got := (credential{}).status(t, h, method, "http://any.example"+p); got != 200 {
			t.Errorf("%s: %d", page, got)
		}
	}
	cfg.Mode = 0o660
	if err := s.Use(cfg, nil); err != nil {
		t.Error(err)
	}
	mode(0o660)

	// Another process takes the socket over, and the file stays.
	f, err := s.Listener().(*UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Mode = 0o640
	l, err := Listen(cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener().(*UnixListener).Leave()
	s.Stop(time.Second)
	mode(0o640)
	next := NewServer(New(cfg, nil, Options{}), l, endpoint(), hclog.NewNullLogger())
	next.Start()
	if got := (credential{}).status(t, h, "GET", "http://x/health"); got != 200 {
		t.Errorf("after the hand-over: %d", got)
	}
	next.Stop(time.Second)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// A client that sends a body too slowly, or takes its answer too slowly, does not stay for ever, however long the answer takes to be
// made; and one that is too large is cut off. That a head has its time, which is net/http's, is only looked at.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	ended := make(chan error, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		part := make([]byte, 1<<20)
		for range 1 << 10 { // more than any kernel holds
			if _, err := w.Write(part); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	})
	mux.HandleFunc("POST /body", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	mux.HandleFunc("POST /late", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(3 * limit)
		w.WriteHeader(http.StatusAccepted)
	})
	cfg := settings.Door{Address: "127.0.0.1:0"}
	l, err := Listen(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := New(cfg, nil, Options{})
	d.body, d.write = limit, limit
	s := NewServer(d, l, mux, hclog.NewNullLogger())
	if s.server.ReadHeaderTimeout <= 0 || s.server.IdleTimeout <= 0 || s.server.MaxHeaderBytes > 64<<10 {
		t.Errorf("%+v", s.server)
	}
	s.Start()
	t.Cleanup(func() { s.Stop(time.Second) })
	say := func(text string) net.Conn {
		c := dialFrom(t, "127.0.0.1", s.Address())
		go io.WriteString(c, text)
		return c
	}
	for _, text := range []string{
		"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
		"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		say(text)
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%.20q ends with %v", text, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%.20q goes on", text)
		}
	}
	c := say("POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusAccepted {
		t.Errorf("an answer that takes its time: %v %v", r, err)
	}
	time.Sleep(2 * limit) // and the connection goes on
	io.WriteString(c, "POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusAccepted {
		t.Errorf("the next one: %v %v", r, err)
	}
	c = say("GET /large HTTP/1.1\r\nHost: localhost\r\nA: " + strings.Repeat("x", 1<<20))
	if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.HasPrefix(line, "HTTP/1.1 431") {
		t.Errorf("a large head: %q", line)
	}
}
