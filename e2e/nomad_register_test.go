//go:build servers

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// nomadEdge is a job whose service block registers the agents. A new version comes in with a canary.
const nomadEdge = `
variable "version" {
  type = string
}
variable "count" {
  type = number
}
job "edge" {
  type = "service"
  group "edge" {
    count = var.count
    update {
      canary           = 1
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "1s"
      healthy_deadline = "1m"
      auto_promote     = true
      auto_revert      = true
    }
    restart {
      attempts = 5
      delay    = "1s"
      interval = "1m"
      mode     = "delay"
    }
    network {
      port "in" {}
      port "admin" {}
    }
    service {
      name        = "edge"
      port        = "in"
      task        = "agent"
      tags        = ["live"]
      canary_tags = ["canary"]
      meta {
        admin = "${NOMAD_ADDR_admin}"
      }
      check {
        type     = "http"
        port     = "admin"
        path     = "/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }
    task "agent" {
      driver       = "raw_exec"
      kill_timeout = "20s"
      config {
        command = %[1]q
        args    = ["agent", "-config", "${NOMAD_TASK_DIR}/agent.hcl"]
      }
      env {
        CONSUL_HTTP_ADDR = %[2]q
        EDGE_VERSION     = var.version
      }
      template {
        destination = "local/agent.hcl"
        data        = <<-EOT
          name = "edge"
          admin {
            address = env("NOMAD_ADDR_admin")
          }
          consul {}
          dtab {
            static = "/svc => /#/static"
          }
          namer "static" {
            services = { web = [%[3]q] }
          }
          listener "in" {
            address     = env("NOMAD_ADDR_in")
            destination = "/svc/web"
            register {}
          }
          drain {
            propagation = "3s"
            timeout     = "10s"
          }
        EOT
      }
      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
`

// edges are the addresses and ids of the service edge that pass.
func edges(ctx context.Context, s *stack.Stack, query string) (addrs, ids, admins []string, err error) {
	var entries []struct {
		Service struct {
			ID, Address string
			Port        int
			Meta        map[string]string
		}
	}
	if err := s.Consul.Get(ctx, "/v1/health/service/edge?passing"+query, &entries); err != nil {
		return nil, nil, nil, err
	}
	for _, e := range entries {
		addrs = append(addrs, fmt.Sprintf("%s:%d", e.Service.Address, e.Service.Port))
		ids = append(ids, e.Service.ID)
		admins = append(admins, e.Service.Meta["admin"])
	}
	return addrs, ids, admins, nil
}

// clientsOf connect what the catalog has, which they look up every second, as a client with a cache does; each connection
// lasts half a second.
type clientsOf struct {
	made, lost atomic.Int64
	mu         sync.Mutex
	addrs      []string
	stop       func()
}

func startClientsOf(t *testing.T, s *stack.Stack) *clientsOf {
	t.Helper()
	c := &clientsOf{}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	look := func() {
		if addrs, _, _, err := edges(ctx, s, ""); err == nil && len(addrs) > 0 {
			c.mu.Lock()
			c.addrs = addrs
			c.mu.Unlock()
		}
	}
	look()
	running.Go(func() {
		for sleep(ctx, time.Second) {
			look()
		}
	})
	for range 16 {
		running.Go(func() {
			for sleep(ctx, time.Duration(rand.IntN(100))*time.Millisecond) {
				c.mu.Lock()
				addr := c.addrs[rand.IntN(len(c.addrs))]
				c.mu.Unlock()
				err := connectFor(ctx, addr, 500*time.Millisecond)
				c.made.Add(1)
				if err != nil && ctx.Err() == nil {
					c.lost.Add(1)
					t.Errorf("lost at %s: %v", addr, err)
				}
			}
		})
	}
	c.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(c.stop)
	return c
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func connectFor(ctx context.Context, addr string, d time.Duration) error {
	c, err := dialNamed(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for end := time.Now().Add(d); time.Now().Before(end) && sleep(ctx, 50*time.Millisecond); {
		if err := c.echo("still here"); err != nil {
			return err
		}
	}
	return nil
}

// TestNomadRegisters: an agent leaves its registration to Nomad's service block, and through a restart, a canary and a
// drain by request no connection is lost.
func TestNomadRegisters(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Nomad: true})
	web := startNamed(t, "web1")
	file := s.Path("edge.nomad.hcl")
	writeFile(t, file, fmt.Sprintf(nomadEdge, stack.Binary(t), s.Consul.Addr, web.Addr))
	submit := func(version string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Nomad.Submit(ctx, file, map[string]string{"version": version, "count": "2"}); err != nil {
			t.Fatal(err)
		}
	}
	submit("1")
	within(t, "both pass", func(ctx context.Context) error { return passing(ctx, s, "edge", 2) })
	_, ids, admins, err := edges(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		a := &agent{Admin: admins[i]}
		within(t, id+" is Nomad's", func(ctx context.Context) error {
			v, err := a.metric(ctx, "argosy_registration_state", `state="external"`)
			if err == nil && (v != 1 || !strings.HasPrefix(id, "_nomad-task-")) {
				err = fmt.Errorf("external is %v", v)
			}
			return err
		})
	}
	nodes, err := s.Run(t.Context(), "consul", "catalog", "nodes", "-service=edge")
	if err != nil || !strings.Contains(nodes, "stack") {
		t.Errorf("consul catalog nodes -service=edge: %s, %v", nodes, err)
	}
	within(t, "the deployment is over", func(ctx context.Context) error {
		var d struct{ Status string }
		err := s.Nomad.Get(ctx, "/v1/job/edge/deployment", &d)
		if err == nil && d.Status != "successful" {
			err = fmt.Errorf("it is %s", d.Status)
		}
		return err
	})
	clients := startClientsOf(t, s)

	t.Run("restart", func(t *testing.T) {
		began := clients.made.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if out, err := s.Run(ctx, "nomad", "job", "restart", "-yes", "-batch-size=1", "-batch-wait=5s", "edge"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		within(t, "both pass again", func(ctx context.Context) error { return passing(ctx, s, "edge", 2) })
		t.Logf("%d connections meanwhile", clients.made.Load()-began)
	})
	t.Run("canary", func(t *testing.T) {
		began := clients.made.Load()
		submit("2")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		err := stack.Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error {
			_, now, _, err := edges(ctx, s, "&tag=live")
			if err == nil && (len(now) != 2 || now[0] == ids[0] || now[0] == ids[1] || now[1] == ids[0] || now[1] == ids[1]) {
				err = fmt.Errorf("%v pass as live", now)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d connections meanwhile", clients.made.Load()-began)
	})
	t.Run("drain by request", func(t *testing.T) {
		addrs, _, admins, err := edges(t.Context(), s, "")
		if err != nil || len(addrs) == 0 {
			t.Fatalf("%v, %v", addrs, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admins[0]+"/drain?wait=30s", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var info struct{ Connections int }
		if err := json.NewDecoder(resp.Body).Decode(&info); err != nil || resp.StatusCode != http.StatusOK || info.Connections != 0 {
			t.Errorf("%s %+v, %v", resp.Status, info, err)
		}
		// Nomad starts the task that has ended again.
		within(t, "both pass again", func(ctx context.Context) error { return passing(ctx, s, "edge", 2) })
	})
	clients.stop()
	t.Logf("%d of %d connections lost", clients.lost.Load(), clients.made.Load())

	t.Run("stop", func(t *testing.T) { stopsInOrder(t, s) })
}

// stopsInOrder stops the job: Nomad takes the services out before the agents accept no more.
func stopsInOrder(t *testing.T, s *stack.Stack) {
	addrs, _, _, err := edges(t.Context(), s, "")
	if err != nil || len(addrs) == 0 {
		t.Fatalf("%v, %v", addrs, err)
	}
	open, err := dialNamed(t.Context(), addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	began := time.Now()
	if err := s.Nomad.StopJob(t.Context(), "edge"); err != nil {
		t.Fatal(err)
	}
	within(t, "it is out of the catalog", func(ctx context.Context) error {
		var entries []any
		err := s.Consul.Get(ctx, "/v1/catalog/service/edge", &entries)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("%d are left", len(entries))
		}
		return err
	})
	gone := time.Since(began)
	if err := reaches(t.Context(), addrs[0], "web1"); err != nil {
		t.Errorf("out of the catalog, and it accepts no more: %v", err)
	}
	within(t, "it accepts no more", func(ctx context.Context) error {
		c, err := net.Dial("tcp", addrs[0])
		if err == nil {
			c.Close()
			return errors.New("it still accepts")
		}
		return nil
	})
	closed := time.Since(began)
	if err := open.echo("still served"); err != nil {
		t.Errorf("an open connection: %v", err)
	}
	t.Logf("after the stop: out of the catalog %v, closed %v", gone.Round(time.Millisecond), closed.Round(time.Millisecond))
}
