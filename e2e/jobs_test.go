//go:build servers

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

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

// TestJobsAreValid asks a real Nomad, for every driver.
func TestJobsAreValid(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Nomad: true})
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
	t.Run("nonsense is refused", func(t *testing.T) {
		if _, err := s.Run(t.Context(), "nomad", "job", "validate", "-var=driver=podman", jobFile("proxy")); err == nil {
			t.Error("an unknown driver is accepted")
		}
	})
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
