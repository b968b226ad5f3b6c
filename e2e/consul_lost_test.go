//go:build servers

package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestConsulPausedAndLost pauses Consul, lets it go on, and then takes all of its data from it, under traffic. Nothing may
// be refused meanwhile, and what is changed afterwards is followed soon.
func TestConsulPausedAndLost(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	servers := map[string]*namedServer{}
	names := []string{"web0", "web1", "web2", "solo"}
	for _, name := range names {
		servers[name] = startNamed(t, name)
	}
	enrol := func(name string) {
		register(t, s, name, strings.TrimRight(name, "012"), servers[name].Addr, nil)
	}
	for _, name := range names {
		enrol(name)
	}
	const table = "/c => /#/io.l5d.consul/.local ; /svc => /c ; /svc/news => /c/"
	putTable(t, s, table+"web")
	web, solo, news := s.Addr(), s.Addr(), s.Addr()
	hcl := fmt.Sprintf("consul {\n  address = %q\n}\ndtab {\n  consul {}\n}\nnamer \"io.l5d.consul\" {}\n", s.Consul.Addr)
	startAgent(t, s, "agent", hcl+route("solo", solo)+route("web", web)+route("news", news))
	within(t, "solo", func(ctx context.Context) error { return reaches(ctx, solo, "solo") })
	within(t, "web", func(ctx context.Context) error { return connectOnce(ctx, web) })
	load := startSteady(t, func(name string) bool { return servers[name] != nil }, solo, web)

	if err := syscall.Kill(s.Consul.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pause(t, 4*time.Second)
	if err := syscall.Kill(s.Consul.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	putTable(t, s, table+"solo")
	took := within(t, "the new table", func(ctx context.Context) error { return reaches(ctx, news, "solo") })
	t.Logf("after a pause the new table took %s; %d connections", took, load.made.Load())
	load.check(t)

	if err := s.Consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	pause(t, 2*time.Second)
	load.check(t)
	for _, name := range names {
		enrol(name)
		pause(t, 300*time.Millisecond)
	}
	putTable(t, s, table+"web")
	took = within(t, "the new table", func(ctx context.Context) error {
		c, err := dialNamed(ctx, news)
		if err == nil {
			c.Close()
			if c.Name == "solo" {
				err = fmt.Errorf("still solo")
			}
		}
		return err
	})
	t.Logf("after the loss the new table took %s; %d connections, the slowest %s", took, load.made.Load(), load.longest())
	load.check(t)
	s.Consul.Kill()
	pause(t, 3*time.Second)
	load.check(t)
	if err := s.Consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		enrol(name)
	}
	putTable(t, s, table+"solo")
	took = within(t, "the new table", func(ctx context.Context) error { return reaches(ctx, news, "solo") })
	t.Logf("killed and lost once more: the new table took %s", took)
	load.check(t)
}
