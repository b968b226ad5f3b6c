//go:build servers

package agent

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/agent/config"
	"argosy/internal/consultest"
)

// TestHandoverKeepsTheEntry: two processes have the same id for a while, and no watcher of the catalog notices.
func TestHandoverKeepsTheEntry(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Consul = consulConfig(c, false).Consul
	cfg.Register = &config.Register{Check: "ttl", TTL: 3 * time.Second}
	l := listenerTo("redis", "/svc/redis")
	l.Register = &config.ListenerEntry{Service: "fleet"}
	l.Address, cfg.Admin.Address = downAddress(t), downAddress(t)
	cfg.Listeners = []config.Listener{l}
	cfg.Handover = filepath.Join(t.TempDir(), "handover")
	cfg.Drain = config.Drain{Timeout: time.Minute}

	first := startAgent(t, cfg)
	states := func() []string {
		all, _, err := c.Client.Health().Service("fleet", "", false, nil)
		if err != nil {
			return []string{err.Error()}
		}
		var states []string
		for _, e := range all {
			states = append(states, e.Service.ID+" "+e.Checks.AggregatedStatus())
		}
		return states
	}
	passes := func() bool {
		s := states()
		return len(s) == 1 && s[0][len(s[0])-len(api.HealthPassing):] == api.HealthPassing
	}
	eventually(t, "it is registered", passes)
	want := states()

	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	stop := func() { cancel(); watching.Wait() }
	defer stop()
	watching.Go(func() {
		for ctx.Err() == nil {
			if now := states(); !slices.Equal(now, want) {
				t.Errorf("the catalog has %v, not %v", now, want)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	old, _ := first.dial("redis")
	startAgent(t, cfg)
	eventually(t, "the first one drains", func() bool { return first.agent.draining.Load() })
	time.Sleep(5 * time.Second) // longer than the TTL: the second one beats
	echo(t, old, "still served by the first")
	old.Close()
	first.wait()
	time.Sleep(time.Second) // nor does the end of the first take it out
	stop()
	conn, err := net.Dial("tcp", l.Address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
