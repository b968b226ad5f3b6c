//go:build servers

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/e2e/stack"
)

func jobFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../jobs/*.nomad.hcl")
	if err != nil || len(files) < 7 {
		t.Fatalf("found the jobs %v, %v", files, err)
	}
	return files
}

func jobFile(name string) string { return "../jobs/" + name + ".nomad.hcl" }

func TestJobs(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Nomad: true})
	t.Run("are valid", func(t *testing.T) { jobsAreValid(t, s) })
	t.Run("reload what a key holds", func(t *testing.T) { jobReloads(t, s) })
	t.Run("ask for a token", func(t *testing.T) { jobAsksForToken(t, s) })
}

// jobsAreValid asks a real Nomad, for every driver.
func jobsAreValid(t *testing.T, s *stack.Stack) {
	for _, file := range jobFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if out, err := s.Run(t.Context(), "nomad", "fmt", "-check", file); err != nil {
				t.Errorf("nomad fmt would change it: %v", out)
			}
			for _, driver := range []string{"raw_exec", "exec", "docker"} {
				if out, err := s.Run(t.Context(), "nomad", "job", "validate", "-var=driver="+driver, file); err != nil {
					t.Errorf("%s: %v", driver, err)
				} else if strings.Contains(strings.ToLower(out), "warning") {
					t.Errorf("%s: %s", driver, out)
				}
			}
		})
	}
	t.Run("with an artifact", func(t *testing.T) {
		for _, name := range []string{"proxy", "entry", "namerd", "scheduler", "prometheus", "web"} {
			if _, err := s.Run(t.Context(), "nomad", "job", "validate", "-var=artifact=https://example.com/argosy",
				"-var=checksum=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", jobFile(name)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("registering itself", func(t *testing.T) {
		if _, err := s.Run(t.Context(), "nomad", "job", "validate", "-var=registration=self", "-var=connect=false", jobFile("proxy")); err != nil {
			t.Error(err)
		}
	})
	t.Run("nonsense is refused", func(t *testing.T) {
		if _, err := s.Run(t.Context(), "nomad", "job", "validate", "-var=driver=podman", jobFile("proxy")); err == nil {
			t.Error("an unknown driver is accepted")
		}
	})
}

// jobReloads runs the fleet with its configuration in Consul's KV store: a change of the key reaches the agent without a
// restart, and a broken one changes nothing.
func jobReloads(t *testing.T, s *stack.Stack) {
	web1, web2 := startNamed(t, "web1"), startNamed(t, "web2")
	put := func(upstream, more string) {
		t.Helper()
		config := fmt.Sprintf(`
admin {
  address = env("NOMAD_ADDR_admin")
}
dtab {
  static = "/svc => /#/static"
}
namer "static" {
  services = { web = [%q] }
}
consul {}
listener "in" {
  address     = env("NOMAD_ADDR_in")
  destination = "/svc/web"
  register {}
}
%s`, upstream, more)
		if _, err := s.RunInput(t.Context(), config, "consul", "kv", "put", "argosy/agent", "-"); err != nil {
			t.Fatal(err)
		}
	}
	put(web1.Addr, "")
	runJob(t, s, "proxy", map[string]string{"count": "1", "config_key": "argosy/agent", "autoscale": "false"})
	within(t, "the agent passes", func(ctx context.Context) error { return passing(ctx, s, "argosy", 1) })
	addr := strings.TrimPrefix(serviceURL(t, s, "argosy"), "http://")
	old, err := dialNamed(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()

	put(web2.Addr, "")
	took := within(t, "the change is reloaded", func(ctx context.Context) error { return reaches(ctx, addr, "web2") })
	t.Logf("reloaded %s after the change of the key", took.Round(time.Millisecond))
	put(web1.Addr, "nonsense = 1\n")
	pause(t, 2*time.Second) // time for a reload that must change nothing
	if err := reaches(t.Context(), addr, "web2"); err != nil {
		t.Errorf("after a broken change: %v", err)
	}
	if err := old.echo("still here"); err != nil {
		t.Errorf("the connection from before has been cut: %v", err)
	}
	if err := s.Nomad.StopJob(t.Context(), "proxy"); err != nil {
		t.Fatal(err)
	}
	old.Close()
	within(t, "it has deregistered", func(ctx context.Context) error { return passing(ctx, s, "argosy", 0) })
}

// runJob submits a job from jobs/ with what every job needs to know of the stack.
func runJob(t *testing.T, s *stack.Stack, name string, vars map[string]string) {
	t.Helper()
	all := map[string]string{}
	switch name {
	case "redis":
	case "web":
		all["binary"] = stack.Binary(t)
	case "prometheus":
		all["consul_addr"] = s.Consul.Addr
	default:
		all["binary"] = stack.Binary(t)
		all["consul_addr"] = s.Consul.Addr
		all["log_level"] = "debug"
	}
	for k, v := range vars {
		all[k] = v
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Nomad.Submit(ctx, jobFile(name), all); err != nil {
		t.Fatal(err)
	}
}
