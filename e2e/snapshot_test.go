//go:build servers

package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"argosy/e2e/stack"
)

// TestAgentStartsWithoutConsul: an agent that is restarted while Consul is down serves as the one before, from what that
// one has left on disk, and follows Consul again as soon as it is back.
func TestAgentStartsWithoutConsul(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{ConsulKeeps: true})
	one, two := startNamed(t, "one"), startNamed(t, "two")
	register(t, s, "one", "one", one.Addr, nil)
	register(t, s, "two", "two", two.Addr, nil)
	putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/one")
	listen := s.Addr()
	hcl := fmt.Sprintf(`
consul {
  address = %[1]q
}
dtab {
  snapshot_dir = %[2]q
  consul {}
}
namer "io.l5d.consul" {
  snapshot_dir = %[2]q
}
listener "in" {
  address     = %[3]q
  destination = "/svc/redis"
}
`, s.Consul.Addr, s.Path("snapshots"), listen)
	a := startAgent(t, s, "before", hcl)
	within(t, "one answers", func(ctx context.Context) error { return reaches(ctx, listen, "one") })

	s.Consul.Kill()
	a.signal(t, syscall.SIGTERM)
	a.ends(t, 0)
	launchAgent(t, s, "after", hcl)
	took := within(t, "one answers without Consul", func(ctx context.Context) error { return reaches(ctx, listen, "one") })
	if got := whoAnswers(t, listen, 50); got["one"] != 50 {
		t.Errorf("connections went to %v", got)
	}

	if err := s.Consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/two")
	back := within(t, "the new table is followed", func(ctx context.Context) error { return reaches(ctx, listen, "two") })
	t.Logf("served %s after the start without Consul; followed a change %s after Consul was back", took, back)
}
