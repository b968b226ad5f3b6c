package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer/mounts"
)

const patience = 20 * time.Second

// backend is a server that says its name and then echoes, until the client ends.
type backend struct {
	name     string
	addr     string
	accepted atomic.Int64
	open     atomic.Int64
	close    func()
}

func startBackend(t testing.TB, name string) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{name: name, addr: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.accepted.Add(1)
			b.open.Add(1)
			all.Go(func() {
				defer b.open.Add(-1)
				defer c.Close()
				fmt.Fprintf(c, "%s\n", name)
				io.Copy(c, c)
			})
		}
	})
	b.close = sync.OnceFunc(func() { l.Close() })
	t.Cleanup(func() {
		b.close()
		all.Wait()
	})
	return b
}

// baseConfig is a configuration with an admin endpoint and the services mounted at /#/static.
func baseConfig(services map[string][]string) *config.Config {
	table := mustDtab("/svc => /#/static")
	return &config.Config{
		Name:   "test",
		Admin:  config.Admin{Address: "127.0.0.1:0"},
		Dtab:   config.Dtab{Namespace: "default", Static: &table},
		Namers: []mounts.Namer{{Kind: "static", Prefix: dtab.MustParsePath("/#/static"), Static: services}},
		Drain:  config.Drain{Timeout: 10 * time.Second},
	}
}

func mustDtab(s string) dtab.Dtab {
	d, err := dtab.Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

func listenerTo(name, destination string) config.Listener {
	return config.Listener{
		Name: name, Network: "tcp", Address: "127.0.0.1:0",
		Destination: dtab.MustParsePath(destination), ConnectTimeout: 5 * time.Second,
	}
}

// proxy is one running agent.
type proxy struct {
	t     *testing.T
	agent *Agent
	log   *syncBuffer
	leave context.CancelFunc
	done  chan error
}

func startAgent(t *testing.T, cfg *config.Config) *proxy {
	t.Helper()
	return startAgentTo(t, cfg, io.Discard)
}

// startAgentTo starts one whose standard output and error are out.
func startAgentTo(t *testing.T, cfg *config.Config, out io.Writer) *proxy {
	t.Helper()
	p := startUnreadyTo(t, cfg, out)
	eventually(t, "the agent is healthy", func() bool { return p.agent.Health().Status == "ok" })
	return p
}

// startUnready does not wait until the agent can serve, only until it accepts.
func startUnready(t *testing.T, cfg *config.Config) *proxy {
	t.Helper()
	return startUnreadyTo(t, cfg, io.Discard)
}

func startUnreadyTo(t *testing.T, cfg *config.Config, out io.Writer) *proxy {
	t.Helper()
	p := launchAgent(t, cfg, out)
	eventually(t, "the agent accepts", func() bool { return p.agent.Health().Status != "starting" })
	return p
}

// launchAgent waits for nothing.
func launchAgent(t *testing.T, cfg *config.Config, out io.Writer) *proxy {
	t.Helper()
	p := &proxy{t: t, log: &syncBuffer{}, done: make(chan error, 1)}
	a, err := New(cfg, Deps{
		Logger:  hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: p.log}),
		Version: "test", Registry: prometheus.NewRegistry(), Stdout: out, Stderr: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.agent = a
	ctx, cancel := context.WithCancel(context.Background())
	p.leave = cancel
	go func() { p.done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		a.Cut()
		p.wait()
		if t.Failed() {
			t.Logf("log of the agent:\n%s", p.log.String())
		}
	})
	return p
}

// wait returns when Run has returned.
func (p *proxy) wait() {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			p.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		var b bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&b, 2)
		p.t.Fatalf("Run does not return\n%s", b.String())
	}
}

func (p *proxy) address(listener string) string {
	for _, l := range p.agent.Listeners() {
		if l.Name == listener {
			return l.Address
		}
	}
	p.t.Fatalf("no listener %q", listener)
	return ""
}

// silent connects a listener and says nothing.
func (p *proxy) silent(listener string) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.address(listener))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// dial connects a listener and returns who answers.
func (p *proxy) dial(listener string) (net.Conn, string) {
	p.t.Helper()
	c := p.silent(listener)
	return c, greeting(p.t, c)
}

func greeting(t *testing.T, c net.Conn) string {
	t.Helper()
	var name []byte
	for b := make([]byte, 1); ; name = append(name, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("no greeting: %v", err)
		}
		if b[0] == '\n' {
			return string(name)
		}
	}
}

// refusal connects a listener that has nowhere to go.
func (p *proxy) refusal(listener string) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.address(listener))
	if errors.Is(err, syscall.ECONNRESET) {
		return // so fast that connect could tell
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
		p.t.Errorf("got %q, %v from a connection that has nowhere to go", b, err)
	}
}

func echo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	io.WriteString(c, text)
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("echo of %q is %q, %v", text, b, err)
	}
}

// get returns the body of an admin path.
func (p *proxy) get(path string) (int, string) {
	p.t.Helper()
	r, err := http.Get("http://" + p.agent.AdminAddress() + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// metric returns the value of a series, as written in the exposition format, or -1.
func (p *proxy) metric(series string) float64 {
	p.t.Helper()
	_, body := p.get("/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			fmt.Sscan(rest, &v)
			return v
		}
	}
	return -1
}

func (p *proxy) expectMetric(series string, want float64) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s is %v (it is %v)", series, want, p.metric(series)), func() bool { return p.metric(series) == want })
}

func (p *proxy) expectClosed(listener, outcome string, want float64) {
	p.t.Helper()
	p.expectMetric(fmt.Sprintf("argosy_connections_closed_total{listener=%q,outcome=%q}", listener, outcome), want)
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestTravel(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	c, who := p.dial("redis")
	if who != "redis1" {
		t.Errorf("%s answers", who)
	}
	echo(t, c, "some bytes")

	p.expectMetric(`argosy_connections_active{listener="redis"}`, 1)
	p.expectMetric(`argosy_cluster_connections_active{cluster="/#/static/redis",destination="/svc/redis"}`, 1)
	p.expectMetric(`argosy_endpoints{cluster="/#/static/redis",destination="/svc/redis"}`, 1)
	p.expectMetric(`argosy_bytes_total{direction="in",listener="redis"}`, 10)
	p.expectMetric(`argosy_bytes_total{direction="out",listener="redis"}`, 10+7)
	_, body := p.get("/v1/connections")
	live := decode[[]ConnectionInfo](t, body)
	if len(live) != 1 || live[0].Phase != "open" || live[0].Endpoint != redis.addr || live[0].Name != "/svc/redis" ||
		live[0].In != 10 || live[0].Client != c.LocalAddr().String() || live[0].Cluster != "/#/static/redis" {
		t.Errorf("connections: %s", body)
	}
	_, body = p.get("/v1/routes")
	routes := decode[RoutesInfo](t, body)
	if len(routes.Listeners) != 1 || len(routes.Destinations) != 1 || routes.Destinations[0].Tree != "/#/static/redis" ||
		routes.Destinations[0].Clusters[0].Endpoints[0].Open != 1 || routes.Listeners[0].Open != 1 {
		t.Errorf("routes: %s", body)
	}
	if code, body := p.get("/health"); code != 200 || decode[Health](t, body).Status != "ok" {
		t.Errorf("health: %d %s", code, body)
	}

	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("after half-close: %q, %v", b, err)
	}
	p.expectClosed("redis", "ok", 1)
	p.expectMetric(`argosy_connections_active{listener="redis"}`, 0)
	p.expectMetric(`argosy_cluster_connections_active{cluster="/#/static/redis",destination="/svc/redis"}`, 0)
	p.expectMetric(`argosy_connections_waiting{listener="redis"}`, 0)
}

// TestZeros: every series that a dashboard may ask for is there before the first connection.
func TestZeros(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	eventually(t, "bound", func() bool {
		return p.metric(`argosy_endpoints{cluster="/#/static/redis",destination="/svc/redis"}`) == 1
	})
	for _, series := range []string{
		`argosy_connections_active{listener="redis"}`,
		`argosy_connections_opened_total{listener="redis"}`,
		`argosy_connections_closed_total{listener="redis",outcome="ok"}`,
		`argosy_connections_closed_total{listener="redis",outcome="pending_timeout"}`,
		`argosy_connections_waiting{listener="redis"}`,
		`argosy_bytes_total{direction="in",listener="redis"}`,
		`argosy_bytes_total{direction="out",listener="redis"}`,
		`argosy_cluster_connections_active{cluster="/#/static/redis",destination="/svc/redis"}`,
		`argosy_cluster_connections_opened_total{cluster="/#/static/redis",destination="/svc/redis"}`,
		`argosy_dial_failures_total{cluster="/#/static/redis",destination="/svc/redis",reason="refused"}`,
		`argosy_connect_seconds_count{cluster="/#/static/redis",destination="/svc/redis"}`,
		`argosy_draining`, `argosy_reloads_total{result="ok"}`, `argosy_reloads_total{result="failed"}`,
	} {
		if v := p.metric(series); v != 0 {
			t.Errorf("%s is %v", series, v)
		}
	}
	for _, series := range []string{`argosy_up`, `argosy_build_info{version="test"}`} {
		if v := p.metric(series); v != 1 {
			t.Errorf("%s is %v", series, v)
		}
	}
	if p.metric("process_open_fds") < 1 || p.metric("go_goroutines") < 1 {
		t.Error("no process or Go metrics")
	}
}

// TestNothingLeaks: thousands of connections of all kinds later, goroutines and descriptors are what they were.
func TestNothingLeaks(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}, "none": {}, "down": {downAddress(t)}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis"), listenerTo("none", "/svc/none"), listenerTo("down", "/svc/down")}
	p := startAgent(t, cfg)
	p.agent.logger.SetLevel(hclog.Error)
	use := func(n int) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for i := range n {
					c, err := net.Dial("tcp", p.address([]string{"redis", "redis", "redis", "none", "down"}[i%5]))
					if err != nil {
						if i%5 < 3 {
							t.Error(err)
						}
						continue // refused so fast that connect could tell
					}
					io.WriteString(c, "ping")
					if i%5 < 3 {
						io.ReadFull(c, make([]byte, len("redis1\nping")))
						if i%5 == 1 {
							c.(*net.TCPConn).SetLinger(0)
						}
					} else {
						io.Copy(io.Discard, c)
					}
					c.Close()
				}
			})
		}
		all.Wait()
		eventually(t, "all connections are over", func() bool { _, n := p.agent.census.empty(); return n == 0 && redis.open.Load() == 0 })
	}
	use(20) // what is made once is made now
	goroutines, fds := settled(t)
	use(400)
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	eventually(t, "as many descriptors as before", func() bool { return descriptors(t) <= fds+2 })
	p.expectMetric(`argosy_connections_opened_total{listener="redis"}`, 8*(12+240))
	for _, d := range p.agent.names.all() {
		for _, c := range d.balancer.State() {
			for _, e := range c.Endpoints {
				if e.Open != 0 {
					t.Errorf("%s has %d leases left", e.Address, e.Open)
				}
			}
		}
		if d.uses != 0 {
			t.Errorf("%s has %d uses left", d.name, d.uses)
		}
	}
}

// settled waits until the numbers of goroutines and descriptors stand still.
func settled(t *testing.T) (goroutines, fds int) {
	for same := 0; same < 10; time.Sleep(10 * time.Millisecond) {
		g, f := runtime.NumGoroutine(), descriptors(t)
		if g == goroutines && f == fds {
			same++
		} else {
			same, goroutines, fds = 0, g, f
		}
	}
	return goroutines, fds
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// downAddress is an address where nobody listens.
func downAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
