package agent

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namerd"
	"argosy/namerd/store"
)

// TestSuccession: a new process takes the listening sockets over while clients connect all the time. None is refused, old
// connections go on, and in the end the old process has left.
func TestSuccession(t *testing.T) {
	for _, engine := range []string{"auto", "goroutines"} {
		t.Run(engine, func(t *testing.T) {
			redis := startBackend(t, "redis1")
			socket := filepath.Join(t.TempDir(), "handover")
			cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
			cfg.Relay.Engine = engine
			cfg.Handover = socket
			cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
			cfg.Drain = config.Drain{Propagation: time.Minute, Timeout: time.Minute} // not waited for
			first := startAgent(t, cfg)
			kept, _ := first.dial("redis")
			address := first.address("redis")

			var stop atomic.Bool
			var clients sync.WaitGroup
			var done, failed atomic.Int64
			for range 4 {
				clients.Go(func() {
					for !stop.Load() {
						c, err := net.Dial("tcp", address)
						if err == nil {
							c.SetDeadline(time.Now().Add(10 * time.Second))
							_, err = c.Read(make([]byte, 1)) // the greeting's first byte
							c.Close()
						}
						if done.Add(1); err != nil {
							failed.Add(1)
							t.Logf("a client: %v", err)
						}
					}
				})
			}
			eventually(t, "traffic", func() bool { return done.Load() > 50 })
			second := startAgent(t, cfg)
			if got := second.address("redis"); got != address {
				t.Errorf("listens on %s, not on %s", got, address)
			}
			eventually(t, "the old one leaves", func() bool { return first.agent.draining.Load() })
			echo(t, kept, "still there")
			before := done.Load()
			eventually(t, "more traffic", func() bool { return done.Load() > before+50 })
			stop.Store(true)
			clients.Wait()
			if failed.Load() > 0 {
				t.Errorf("%d of %d connections failed", failed.Load(), done.Load())
			}
			kept.(*net.TCPConn).CloseWrite()
			if _, err := io.ReadAll(kept); err != nil {
				t.Errorf("the old connection: %v", err)
			}
			first.wait()
			third := startAgent(t, cfg) // and once more
			c, _ := third.dial("redis")
			echo(t, c, "third")
			c.Close()
			second.wait()
		})
	}
}

// TestSuccessorThatIsNotReady: a new process that lacks what the one before has, because the server that it is to be had
// from is away, does not take over until it can serve as well.
func TestSuccessorThatIsNotReady(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Handover = filepath.Join(t.TempDir(), "handover")
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.Drain = config.Drain{Propagation: time.Minute, Timeout: time.Minute} // not waited for
	first := startAgent(t, cfg)
	eventually(t, "the hand-over socket", func() bool { _, err := os.Stat(cfg.Handover); return err == nil })
	tables := store.NewMemory(map[string]dtab.Dtab{"default": mustDtab("/svc/redis => /#/static/redis")})
	server := namerd.NewServer(tables, namerd.Options{Logger: hclog.NewNullLogger(), Registry: prometheus.NewRegistry()})
	var back atomic.Bool
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !back.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		server.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	t.Cleanup(h.CloseClientConnections)
	cfg = edited(cfg, func(c *config.Config) {
		c.Dtab = config.Dtab{Namespace: "default", Namerd: &config.Namerd{Address: h.URL}}
	})
	waits := func() *proxy {
		p := launchAgent(t, cfg, io.Discard)
		eventually(t, "the new one waits", func() bool { return strings.Contains(p.log.String(), "goes on meanwhile") })
		for range 20 {
			if c, who := first.dial("redis"); who != "redis1" {
				t.Fatalf("%s answers", who)
			} else {
				c.Close()
			}
		}
		if first.agent.draining.Load() {
			t.Fatal("the old one leaves")
		}
		return p
	}
	second := waits()
	second.leave()
	second.wait()
	if c, who := first.dial("redis"); who != "redis1" {
		t.Errorf("after the new one has given up, %q answers", who)
	} else {
		c.Close()
	}

	late, err := New(cfg, Deps{Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	late.ripeTime = 100 * time.Millisecond
	if err := late.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not ready within 100ms: the table is not known yet") {
		t.Errorf("one that takes too long: %v", err)
	}

	third := waits()
	back.Store(true)
	eventually(t, "the old one leaves", func() bool { return first.agent.draining.Load() })
	c, _ := third.dial("redis")
	echo(t, c, "third")
	c.Close()
	first.wait()
}
