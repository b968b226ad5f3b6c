//go:build servers

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestConsulRestartedUnderTraffic kills Consul, works without it, and brings it back: connections go on, new ones are
// served from what was known last, and what changes afterwards is followed.
func TestConsulRestartedUnderTraffic(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{ConsulKeeps: true})
	// One health check for all: that all checks fail is what Consul says after a restart, until they have run once. Here
	// they fail for as long as the test wants.
	var sick atomic.Bool
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(health.Close)
	web1, web2 := startNamed(t, "web1"), startNamed(t, "web2")
	for _, w := range []*namedServer{web1, web2} {
		register(t, s, w.Name, w.Name, w.Addr, map[string]any{
			"Check": map[string]any{"HTTP": health.URL, "Interval": "200ms", "Timeout": "1s", "Status": "passing"},
		})
	}
	putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/web1")
	listen := s.Addr()
	startAgent(t, s, "agent", redisHCL(s, listen))
	within(t, "web1 answers", func(ctx context.Context) error { return reaches(ctx, listen, "web1") })
	old, err := dialNamed(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()

	// Traffic all the time: every new connection must get through, without waiting for Consul.
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	made, slowest := 0, time.Duration(0)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			started := time.Now()
			if err := connectOnce(t.Context(), listen); err != nil {
				failed <- fmt.Errorf("connection %d: %w", made, err)
				return
			}
			made++
			slowest = max(slowest, time.Since(started))
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()

	s.Consul.Kill()
	sick.Store(true)
	pause(t, 2*time.Second)
	if err := old.echo("during"); err != nil {
		t.Errorf("established connection without Consul: %v", err)
	}
	if err := s.Consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*namedServer{web1, web2} {
		within(t, w.Name+" fails its check", func(ctx context.Context) error { return passing(ctx, s, w.Name, 0) })
	}
	pause(t, 4*time.Second)
	if err := old.echo("after"); err != nil {
		t.Errorf("established connection after the restart: %v", err)
	}
	sick.Store(false)
	for _, w := range []*namedServer{web1, web2} {
		within(t, w.Name+" passes again", func(ctx context.Context) error { return passing(ctx, s, w.Name, 1) })
	}
	stop()
	if err := <-failed; err != nil {
		t.Error(err)
	}
	t.Logf("%d connections while Consul was down and came back, the slowest took %s", made, slowest.Round(time.Millisecond))
	if slowest > 2*time.Second {
		t.Error("new connections waited for Consul")
	}

	putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/web2")
	took := within(t, "a changed table is followed", func(ctx context.Context) error { return reaches(ctx, listen, "web2") })
	t.Logf("a change of the table was followed after %s", took.Round(time.Millisecond))
	web3 := startNamed(t, "web3")
	register(t, s, "web3", "web2", web3.Addr, nil)
	within(t, "a changed catalog is followed", func(ctx context.Context) error {
		if got := whoAnswers(t, listen, 20); got["web3"] == 0 {
			return fmt.Errorf("connections went to %v", got)
		}
		return nil
	})
}

// connectOnce connects to a namedServer and exchanges a line.
func connectOnce(ctx context.Context, addr string) error {
	c, err := dialNamed(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.echo("new")
}
