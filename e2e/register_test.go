//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"argosy/e2e/stack"
)

// fleetHCL is an agent of a fleet: its table is in Consul's KV store, its clusters are in Consul's catalog.
func fleetHCL(s *stack.Stack, listen string) string {
	return fmt.Sprintf(`
name = "proxy"
consul {
  address = %q
}
dtab {
  consul {}
}
namer "io.l5d.consul" {}
listener "in" {
  address     = %q
  destination = "/svc/web"
  register {}
}
register {
  tags = ["fleet"]
  meta = { rack = "r1" }
}
drain {
  propagation = "1s"
  timeout     = "5s"
}
`, s.Consul.Addr, listen)
}

func TestRegisterListDeregister(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
	server := startNamed(t, "web1")
	register(t, s, "web1", "web", server.Addr, nil)

	addr1, addr2 := s.Addr(), s.Addr()
	one := startAgent(t, s, "agent1", fleetHCL(s, addr1))
	startAgent(t, s, "agent2", fleetHCL(s, addr2))
	within(t, "both are registered and pass their check", func(ctx context.Context) error { return passing(ctx, s, "proxy", 2) })

	consul := func(args ...string) string {
		out, err := s.Run(t.Context(), "consul", args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := consul("catalog", "services"); !slices.Contains(strings.Fields(out), "proxy") {
		t.Errorf("consul catalog services does not list proxy:\n%s", out)
	}
	if out := consul("catalog", "nodes", "-service=proxy"); !strings.Contains(out, "stack") {
		t.Errorf("consul catalog nodes -service=proxy does not list the node:\n%s", out)
	}
	if out := consul("catalog", "services", "-tags"); !strings.Contains(out, "fleet") {
		t.Errorf("the tag is missing:\n%s", out)
	}

	var entries []struct {
		Service struct {
			ID, Address string
			Port        int
			Tags        []string
			Meta        map[string]string
		}
	}
	if err := s.Consul.Get(t.Context(), "/v1/health/service/proxy?passing", &entries); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range entries {
		ids[e.Service.ID] = true
		m := e.Service.Meta
		if m["version"] == "" || m["admin"] == "" || !strings.Contains(m["routes"], "/svc/web") || m["rack"] != "r1" {
			t.Errorf("meta is %v", m)
		}
		if addr := fmt.Sprintf("%s:%d", e.Service.Address, e.Service.Port); addr != addr1 && addr != addr2 {
			t.Errorf("address %s is no listener's", addr)
		}
	}
	// At the node's own agent: the catalog gets what a check says with its next change, or some minutes later.
	within(t, "the checks tell of the agents", func(ctx context.Context) error {
		var checks map[string]struct{ Type, Output string }
		err := s.Consul.Get(ctx, "/v1/agent/checks", &checks)
		told := 0
		for _, c := range checks {
			if c.Type == "ttl" && strings.Contains(c.Output, "ok; 0 connections; version ") {
				told++
			}
		}
		if err == nil && told != 2 {
			err = fmt.Errorf("%+v", checks)
		}
		return err
	})
	if len(ids) != 2 {
		t.Errorf("ids are not unique: %v", entries)
	}
	if err := reaches(t.Context(), addr1, "web1"); err != nil {
		t.Error(err)
	}

	one.signal(t, syscall.SIGTERM)
	within(t, "the one that leaves is no longer listed", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	// Those who have not heard of it yet still get through.
	if err := reaches(t.Context(), addr1, "web1"); err != nil {
		t.Errorf("during propagation: %v", err)
	}
	one.ends(t, 0)
	if err := reaches(t.Context(), addr1, "web1"); err == nil {
		t.Error("it still accepts after its end")
	}
	if err := reaches(t.Context(), addr2, "web1"); err != nil {
		t.Error(err)
	}
}

// TestHealthIsWhatConsulSees: an agent that cannot serve is listed as failing and so is not used.
func TestHealthIsWhatConsulSees(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
	hcl := strings.Replace(fleetHCL(s, s.Addr()), "tags", "check = \"http\"\n  check_interval = \"1s\"\n  tags", 1)
	a := startAgent(t, s, "agent1", hcl)
	within(t, "it is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	a.signal(t, syscall.SIGSTOP)
	within(t, "a stopped agent fails its check", func(ctx context.Context) error { return passing(ctx, s, "proxy", 0) })
	a.signal(t, syscall.SIGCONT)
	within(t, "it passes again", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	a.Kill()
	within(t, "a killed agent fails its check", func(ctx context.Context) error {
		ids, err := instances(ctx, s, "proxy")
		if err == nil && len(ids) > 0 {
			err = errors.New("it still passes")
		}
		return err
	})
}
