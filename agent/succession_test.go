package agent

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/agent/config"
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
