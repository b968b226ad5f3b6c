package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"argosy/e2e/stack/servers"
)

// Consul is a Consul agent that is server and client in one.
type Consul struct {
	Addr     string // host:port of the HTTP API
	GRPCAddr string

	name    string // of its log and configuration
	http    int
	grpc    int
	serf    int
	stack   *Stack
	program string
	args    []string
	proc    *Proc
}

const consulHCL = `node_name            = %q
bind_addr            = "127.0.0.1"
client_addr          = "127.0.0.1"
disable_update_check = true
log_level            = "INFO"
ports {
  http     = %d
  https    = -1
  grpc     = %d
  grpc_tls = -1
  dns      = -1
  server   = %d
  serf_lan = %d
  serf_wan = -1
}
connect {
  enabled = true
}
telemetry {
  prometheus_retention_time = "10m"
  disable_hostname          = true
}
`

// consulKeepsHCL stands in for -dev. One server that may elect itself at once needs no patience.
const consulKeepsHCL = `server           = true
bootstrap_expect = 1
data_dir         = %q
performance {
  raft_multiplier = 1
}
`

func startConsul(ctx context.Context, s *Stack) (*Consul, error) {
	program, err := s.server(ctx, servers.Consul)
	if err != nil {
		return nil, err
	}
	c := newConsul(s, "consul", program)
	text := ""
	if s.options.ConsulKeeps {
		text = fmt.Sprintf(consulKeepsHCL, s.Path("consul"))
	} else {
		c.args = append(c.args, "-dev")
	}
	if err := c.configure("stack", text); err != nil {
		return nil, err
	}
	return c, c.run()
}

// newConsul gives an agent its ports.
func newConsul(s *Stack, name, program string) *Consul {
	c := &Consul{name: name, http: s.Port(), grpc: s.Port(), serf: s.Port(), stack: s, program: program, args: []string{"agent"}}
	c.Addr, c.GRPCAddr = fmt.Sprintf("127.0.0.1:%d", c.http), fmt.Sprintf("127.0.0.1:%d", c.grpc)
	return c
}

// configure writes the agent's configuration, with more for this one, and what the stack's options say.
func (c *Consul) configure(node, more string) error {
	s := c.stack
	text := fmt.Sprintf(consulHCL, node, c.http, c.grpc, s.Port(), c.serf) + more
	for _, text := range []string{text, s.options.ConsulHCL} { // the later one has the last word
		file := s.Path(fmt.Sprintf("%s-%d.hcl", c.name, len(c.args)))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		c.args = append(c.args, "-config-file="+file)
	}
	return nil
}

func (c *Consul) run() (err error) {
	c.proc, err = c.stack.launch(c.name, c.program, c.args, c.stack.bareEnv())
	return err
}

// URL is the base of the HTTP API.
func (c *Consul) URL() string { return "http://" + c.Addr }

// Pid is the agent's process id.
func (c *Consul) Pid() int { return c.proc.Pid() }

// Ready waits for a leader.
func (c *Consul) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := Eventually(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		if err := c.proc.alive(); err != nil {
			cancel()
			return err
		}
		var leader string
		if err := getJSON(ctx, c.URL()+"/v1/status/leader", &leader); err != nil {
			return err
		}
		if leader == "" {
			return errors.New("no leader")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	return nil
}

// Kill ends the agent with SIGKILL. Restart brings it back.
func (c *Consul) Kill() { c.proc.Kill() }

// Stop ends the agent with SIGTERM. Restart brings it back.
func (c *Consul) Stop() error { return c.proc.Stop(10 * time.Second) }

// Restart starts the agent again on the same ports, killing it first if it runs, and waits for a leader. Its state is
// lost unless the stack was started with ConsulKeeps.
func (c *Consul) Restart(ctx context.Context) error {
	c.Kill()
	if err := c.run(); err != nil {
		return err
	}
	return c.Ready(ctx)
}

// Put sends a JSON body to the HTTP API, for instance to register a service.
func (c *Consul) Put(ctx context.Context, path string, body any) error {
	return sendJSON(ctx, http.MethodPut, c.URL()+path, body)
}

// Get reads an answer of the HTTP API into v.
func (c *Consul) Get(ctx context.Context, path string, v any) error {
	return getJSON(ctx, c.URL()+path, v)
}

func getJSON(ctx context.Context, url string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}

func sendJSON(ctx context.Context, method, url string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var text [512]byte
		n, _ := resp.Body.Read(text[:])
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text[:n])
	}
	return nil
}
