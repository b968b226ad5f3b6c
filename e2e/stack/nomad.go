package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"argosy/e2e/stack/servers"
)

// Nomad is a Nomad agent that is server and client in one. Its tasks run with raw_exec.
type Nomad struct {
	URL string // base of the HTTP API

	stack   *Stack
	program string
	args    []string
	proc    *Proc
}

// nomadHCL is for any machine: no look-ups of cloud metadata, whose addresses are not the machine's; no drivers but one;
// templates that follow at once; a capacity that does not depend on the machine's size.
const nomadHCL = `name                 = "stack"
plugin_dir           = %q
bind_addr            = "127.0.0.1"
disable_update_check = true
log_level            = "INFO"
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
ports {
  http = %d
  rpc  = %d
  serf = %d
}
client {
  servers                  = ["127.0.0.1:%d"]
  network_interface        = %q
  state_dir                = %q
  alloc_dir                = %q
  alloc_mounts_dir         = %q
  min_dynamic_port         = %d
  max_dynamic_port         = %d
  cpu_total_compute        = 16000
  memory_total_mb          = 16384
  gc_disk_usage_threshold  = 99
  gc_inode_usage_threshold = 99
  gc_max_allocs            = 200
  template {
    wait {
      min = "100ms"
      max = "500ms"
    }
  }
  options = {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,vault,cni,plugins_cni,bridge"
    "driver.allowlist"     = "raw_exec"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
consul {
  address          = %q
  grpc_address     = %q
  server_auto_join = false
  client_auto_join = false
}
vault {
  enabled = false
}
telemetry {
  prometheus_metrics         = true
  publish_allocation_metrics = true
  publish_node_metrics       = true
  collection_interval        = "1s"
}
`

func startNomad(ctx context.Context, s *Stack) (*Nomad, error) {
	program, err := s.server(ctx, servers.Nomad)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Path("nomad", "plugins"), 0o755); err != nil {
		return nil, err
	}
	http, rpc, serf := s.Port(), s.Port(), s.Port()
	first, last := s.ports.dynamic()
	text := fmt.Sprintf(nomadHCL, s.Path("nomad", "plugins"), http, rpc, serf, rpc, loopbackInterface(),
		s.Path("nomad", "client"), s.Path("nomad", "alloc"), s.Path("nomad", "mounts"), first, last,
		s.Consul.Addr, s.Consul.GRPCAddr)
	if err := os.WriteFile(s.Path("nomad.hcl"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	n := &Nomad{URL: fmt.Sprintf("http://127.0.0.1:%d", http), stack: s, program: program}
	n.args = []string{"agent", "-dev", "-config=" + s.Path("nomad.hcl")}
	if s.options.NomadHCL != "" {
		n.args = append(n.args, "-config="+s.Path("nomad-more.hcl"))
		if err := os.WriteFile(s.Path("nomad-more.hcl"), []byte(s.options.NomadHCL), 0o644); err != nil {
			return nil, err
		}
	}
	n.proc, err = s.launch("nomad", program, n.args, s.bareEnv())
	return n, err
}

// Ready waits until the node takes raw_exec tasks.
func (n *Nomad) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	err := Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		if err := n.proc.alive(); err != nil {
			cancel()
			return err
		}
		var nodes []struct {
			Status                string
			SchedulingEligibility string
			Drivers               map[string]struct{ Healthy bool }
		}
		if err := getJSON(ctx, n.URL+"/v1/nodes", &nodes); err != nil {
			return err
		}
		for _, node := range nodes {
			if node.Status == "ready" && node.SchedulingEligibility == "eligible" && node.Drivers["raw_exec"].Healthy {
				return nil
			}
		}
		return errors.New("no node is ready")
	})
	if err != nil {
		return fmt.Errorf("nomad: %w", err)
	}
	return nil
}

// Pid is the agent's process id.
func (n *Nomad) Pid() int { return n.proc.Pid() }

// Kill ends the agent with SIGKILL. Its tasks go on until the stack is closed.
func (n *Nomad) Kill() { n.proc.Kill() }

// RunJob submits a job file, with values for its variables, and waits for its allocations to run.
func (n *Nomad) RunJob(ctx context.Context, file string, vars map[string]string) error {
	args := append([]string{"job", "run"}, variables(vars)...)
	_, err := n.stack.Run(ctx, "nomad", append(args, file)...)
	return err
}

// Submit is RunJob without waiting.
func (n *Nomad) Submit(ctx context.Context, file string, vars map[string]string) error {
	args := append([]string{"job", "run", "-detach"}, variables(vars)...)
	_, err := n.stack.Run(ctx, "nomad", append(args, file)...)
	return err
}

// StopJob stops a job and forgets it.
func (n *Nomad) StopJob(ctx context.Context, id string) error {
	_, err := n.stack.Run(ctx, "nomad", "job", "stop", "-detach", "-purge", id)
	return err
}

// Count is how many allocations of a group are wanted, and how many run.
func (n *Nomad) Count(ctx context.Context, job, group string) (desired, running int, err error) {
	var status struct {
		TaskGroups map[string]struct{ Desired, Running int }
	}
	if err := getJSON(ctx, n.URL+"/v1/job/"+job+"/scale", &status); err != nil {
		return 0, 0, err
	}
	g, ok := status.TaskGroups[group]
	if !ok {
		return 0, 0, fmt.Errorf("job %s has no group %s", job, group)
	}
	return g.Desired, g.Running, nil
}

// Get reads an answer of the HTTP API into v.
func (n *Nomad) Get(ctx context.Context, path string, v any) error {
	return getJSON(ctx, n.URL+path, v)
}

// variables makes the flags for a job file's variables, in a stable order.
func variables(vars map[string]string) []string {
	var args []string
	for name, value := range vars {
		args = append(args, "-var="+name+"="+value)
	}
	sort.Strings(args)
	return args
}
