package agent

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
)

// TestDrain: leaving loses no connection that ends within the time, and cuts the others with the word for it.
func TestDrain(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.Drain = config.Drain{Propagation: 300 * time.Millisecond, Timeout: 1500 * time.Millisecond}
	p := startAgent(t, cfg)
	short, _ := p.dial("redis")
	long, _ := p.dial("redis")
	address := p.address("redis")

	p.leave()
	began := time.Now()
	eventually(t, "unhealthy", func() bool { code, _ := p.get("/health"); return code == 503 })
	if p.metric("argosy_draining") != 1 {
		t.Error("not draining")
	}
	late, _ := p.dial("redis") // within the propagation time
	if took := time.Since(began); took > 250*time.Millisecond {
		t.Logf("too slow to say anything: %v", took)
	}
	echo(t, late, "accepted while others have not heard yet")
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	echo(t, short, "still served")
	for _, c := range []net.Conn{short, late} {
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("a connection that ended in time: %v", err)
		}
	}
	p.expectClosed("redis", "drained", 0)
	if _, err := io.ReadAll(long); err != nil {
		t.Errorf("the connection that was cut did not end in an orderly way: %v", err)
	}
	p.wait()
	if took := time.Since(began); took < cfg.Drain.Timeout || took > cfg.Drain.Timeout+10*time.Second {
		t.Errorf("took %v", took)
	}
	if got := readCounter(t, p, "drained"); got != 1 {
		t.Errorf("%v connections were cut", got)
	}
}

// readCounter reads a counter of closed connections after the admin endpoint is gone.
func readCounter(t *testing.T, p *proxy, outcome string) float64 {
	t.Helper()
	families, err := p.agent.deps.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "argosy_connections_closed_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" && l.GetValue() == outcome {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// TestDrainUnderLoad: with a second process on the same port, nobody notices that the first one leaves.
func TestDrainUnderLoad(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	l := listenerTo("redis", "/svc/redis")
	l.ReusePort, l.Address = true, downAddress(t)
	cfg.Listeners = []config.Listener{l}
	first, second := startAgent(t, cfg), startAgent(t, cfg)
	address := first.address("redis")
	stop := make(chan struct{})
	var failed, served atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", address)
				if err == nil {
					c.SetDeadline(time.Now().Add(patience))
					io.WriteString(c, "ping")
					_, err = io.ReadFull(c, make([]byte, len("redis1\nping")))
					c.Close()
				}
				if err != nil {
					failed.Add(1)
					t.Logf("lost: %v", err)
					continue
				}
				served.Add(1)
			}
		})
	}
	eventually(t, "both serve", func() bool {
		return first.metric(`argosy_connections_opened_total{listener="redis"}`) > 50 &&
			second.metric(`argosy_connections_opened_total{listener="redis"}`) > 50
	})
	first.leave()
	first.wait()
	n := served.Load()
	eventually(t, "the second one serves on", func() bool { return served.Load() > n+100 })
	close(stop)
	clients.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d connections failed", failed.Load(), failed.Load()+served.Load())
	}
	if got := readCounter(t, first, "drained"); got != 0 {
		t.Errorf("%v connections were cut", got)
	}
}

func TestDrainByRequest(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	c, _ := p.dial("redis")
	r, err := http.Post("http://"+p.agent.AdminAddress()+"/v1/drain", "", nil)
	if err != nil || r.StatusCode != http.StatusAccepted {
		t.Fatalf("%v, %v", r, err)
	}
	r.Body.Close()
	if err := p.agent.Reload(cfg); err == nil {
		t.Error("a draining agent reloads")
	}
	echo(t, c, "still here")
	c.Close()
	p.wait()
}

// TestDrainShowsHowFarItIs: asking twice changes nothing, and who waits hears when it is over.
func TestDrainShowsHowFarItIs(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.Drain = config.Drain{Propagation: 200 * time.Millisecond, Timeout: time.Minute}
	p := startAgent(t, cfg)
	ask := func(method, path string) (int, DrainInfo) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+p.agent.AdminAddress()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode == http.StatusBadRequest {
			return r.StatusCode, DrainInfo{}
		}
		return r.StatusCode, decode[DrainInfo](t, string(body))
	}
	c, _ := p.dial("redis")
	for _, bad := range []string{"soon", "-1s", "1000h"} {
		if code, _ := ask("POST", "/drain?wait="+bad); code != 400 {
			t.Errorf("wait=%s: %d", bad, code)
		}
	}
	if code, i := ask("GET", "/drain"); code != 200 || i != (DrainInfo{Accepting: true, Connections: 1}) {
		t.Errorf("before: %d %+v", code, i)
	}
	if code, _ := p.get("/ready"); code != 200 {
		t.Errorf("not ready: %d", code)
	}
	if code, i := ask("POST", "/drain"); code != 202 || !i.Draining || i.Connections != 1 {
		t.Errorf("first: %d %+v", code, i)
	}
	if code, body := p.get("/ready"); code != 503 || decode[Health](t, body).Status != "draining" {
		t.Errorf("ready while draining: %d %s", code, body)
	}
	eventually(t, "it accepts no more", func() bool {
		_, i := ask("GET", "/v1/drain")
		return !i.Accepting && i.Deadline != nil
	})
	_, before := ask("GET", "/drain")
	if code, i := ask("POST", "/drain?wait=50ms"); code != 202 || i.Connections != 1 || !i.Deadline.Equal(*before.Deadline) {
		t.Errorf("again: %d %+v", code, i)
	}
	echo(t, c, "still here")
	time.AfterFunc(100*time.Millisecond, func() { c.Close() })
	if code, i := ask("POST", "/drain?wait=1m"); code != 200 || i.Connections != 0 || i.Accepting {
		t.Errorf("in the end: %d %+v", code, i)
	}
	p.wait()
}

// TestCut: dropping everything takes no time, also while connections wait for an endpoint.
func TestCut(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	waiting := listenerTo("waiting", "/svc/redis")
	waiting.SNI = &config.SNI{Prefix: dtab.MustParsePath("/svc"), Timeout: time.Minute}
	waiting.ConnectTimeout = time.Minute
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis"), waiting}
	cfg.Drain = config.Drain{Propagation: time.Minute, Timeout: time.Minute}
	p := startAgent(t, cfg)
	open, _ := p.dial("redis")
	silent, err := net.Dial("tcp", p.address("waiting"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p.expectMetric(`argosy_connections_waiting{listener="waiting"}`, 1)
	began := time.Now()
	p.agent.Cut()
	p.wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	open.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(open); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	if got := readCounter(t, p, "drained"); got != 2 {
		t.Errorf("%v connections were cut", got)
	}
}
