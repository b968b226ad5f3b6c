//go:build servers

package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"argosy/e2e/stack"
)

// TestAgentStartsWithoutConsul restarts an agent while Consul is down: it serves from its snapshots, and follows Consul
// again when that is back.
func TestAgentStartsWithoutConsul(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{ConsulKeeps: true})
	web1 := startNamed(t, "web1")
	register(t, s, "web1", "web", web1.Addr, nil)
	listen := s.Addr()
	hcl := fmt.Sprintf(`
consul {
  address = %q
}
dtab {
  static = "/svc => /#/io.l5d.consul/.local"
}
namer "io.l5d.consul" {
  snapshot_dir = %q
}
listener "in" {
  address     = %q
  destination = "/svc/web"
}
drain {
  propagation = "0s"
}
`, s.Consul.Addr, s.Path("snapshots"), listen)
	a := startAgent(t, s, "agent", hcl)
	within(t, "web1 answers", func(ctx context.Context) error { return reaches(ctx, listen, "web1") })
	a.signal(t, syscall.SIGTERM)
	a.ends(t, 0)
	s.Consul.Kill()

	a = startAgent(t, s, "agent-again", hcl)
	took := within(t, "web1 answers without Consul", func(ctx context.Context) error { return reaches(ctx, listen, "web1") })
	t.Logf("served from the snapshot %v after the agent was healthy", took)
	within(t, "the staleness is told", func(ctx context.Context) error {
		if v, err := a.metric(ctx, "argosy_consul_staleness_seconds", `service="web"`); err != nil || v <= 0 {
			return fmt.Errorf("staleness %v, %v", v, err)
		}
		return nil
	})
	if err := s.Consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	web2 := startNamed(t, "web2")
	register(t, s, "web2", "web", web2.Addr, nil)
	within(t, "a changed catalog is followed", func(ctx context.Context) error {
		if got := whoAnswers(t, listen, 20); got["web2"] == 0 {
			return fmt.Errorf("connections went to %v", got)
		}
		return nil
	})
	within(t, "nothing is stale any more", func(ctx context.Context) error {
		if v, err := a.metric(ctx, "argosy_consul_staleness_seconds", `service="web"`); err != nil || v != 0 {
			return fmt.Errorf("staleness %v, %v", v, err)
		}
		return nil
	})
}
