//go:build servers

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// TestFleetOnNomad runs the jobs of jobs/ on a real Nomad: the way of a connection through them, and the scheduler
// scaling the fleet by the data of a real Prometheus.
func TestFleetOnNomad(t *testing.T) {
	s := stack.New(t, stack.Options{Nomad: true})
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local ; /svc/redis => /#/io.l5d.consul/.local/redis1")
	prometheus, err := servers.Locate(t.Context(), servers.Prometheus, nil)
	if err != nil {
		t.Fatal(err)
	}
	discovery := "consul"
	if can, err := servers.CanDiscoverConsul(prometheus); err != nil {
		t.Fatal(err)
	} else if !can {
		discovery = "http"
	}
	entryPort, prometheusPort := s.Port(), s.Port()
	entry := fmt.Sprintf("127.0.0.1:%d", entryPort)
	prometheusVars := map[string]string{
		"binary": prometheus, "port": fmt.Sprint(prometheusPort), "scrape_interval": "1s", "discovery": discovery,
	}

	runRedisJob(t, s, "redis1")
	runJob(t, s, "proxy", map[string]string{
		"count": "1", "min": "1", "max": "4", "target_value": "10", "cooldown_up": "2s", "cooldown_down": "3s",
		"propagation": "1s", "drain": "5s",
	})
	runJob(t, s, "entry", map[string]string{"port": fmt.Sprint(entryPort)})
	runJob(t, s, "namerd", map[string]string{"port": fmt.Sprint(s.Port())})
	runJob(t, s, "prometheus", prometheusVars)
	schedulerVars := map[string]string{"evaluation_interval": "1s"}
	if len(s.Path("nomad/alloc/01234567-0123-0123-0123-0123456789ab/scheduler/secrets/api.sock")) > 107 {
		schedulerVars["nomad_addr"] = s.Nomad.URL // Linux allows no longer path to the socket that is the default
	}
	runJob(t, s, "scheduler", schedulerVars)
	for _, service := range []string{"redis1", "proxy", "entry", "namerd", "prometheus", "argosy-scheduler"} {
		within(t, service+" passes", func(ctx context.Context) error { return passing(ctx, s, service, 1) })
	}
	within(t, "plain TCP to Redis, through Connect", func(ctx context.Context) error {
		c, err := dialRedis(ctx, entry)
		if err != nil {
			return err
		}
		defer c.Close()
		reply, _, err := c.Do(5*time.Second, "PING")
		if err == nil && reply != "PONG" {
			err = fmt.Errorf("reply %q", reply)
		}
		return err
	})
	scheduler := serviceURL(t, s, "argosy-scheduler")
	within(t, "Prometheus has data of both agents", func(ctx context.Context) error {
		n, err := stack.QueryPrometheus(ctx, fmt.Sprintf("http://127.0.0.1:%d", prometheusPort), `count(argosy_up == 1)`)
		if err == nil && n != 2 {
			err = fmt.Errorf("%v agents", n)
		}
		return err
	})

	held := holdRedis(t, entry, 35)
	took := within(t, "35 connections at 10 each make 4 agents", func(ctx context.Context) error { return counted(ctx, s, 4) })
	t.Logf("scaled out to 4 within %s", took.Round(100*time.Millisecond))
	within(t, "all of them serve", func(ctx context.Context) error { return passing(ctx, s, "proxy", 4) })

	// Without data the count stays, whatever the load does.
	if err := s.Nomad.StopJob(t.Context(), "prometheus"); err != nil {
		t.Fatal(err)
	}
	held.close(t)
	within(t, "the scheduler says that it holds", func(ctx context.Context) error {
		d, err := decision(ctx, scheduler)
		if err == nil && (d.Action != "hold" || d.Reason != "query_failed") {
			err = fmt.Errorf("it says %+v", d)
		}
		return err
	})
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); pause(t, 200*time.Millisecond) {
		if err := counted(t.Context(), s, 4); err != nil {
			t.Fatalf("with Prometheus stopped: %v", err)
		}
	}

	// This time it finds the agents through the scheduler, as those builds do that cannot ask Consul.
	prometheusVars["discovery"] = "http"
	if _, metrics, err := get(t.Context(), scheduler+"/metrics"); err != nil {
		t.Error(err)
	} else if !heldFor.MatchString(metrics) {
		t.Error("the scheduler's metrics do not tell that it holds for want of data")
	}
	runJob(t, s, "prometheus", prometheusVars)
	took = within(t, "with data again, no connections make 1 agent", func(ctx context.Context) error { return counted(ctx, s, 1) })
	t.Logf("scaled in to 1 within %s of Prometheus's return", took.Round(100*time.Millisecond))
	within(t, "one serves", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	within(t, "it does serve", func(ctx context.Context) error {
		_, err := whichRedis(ctx, entry)
		return err
	})
}

// heldFor is how the scheduler counts holds while Prometheus does not answer.
var heldFor = regexp.MustCompile(`argosy_scheduler_decisions_total\{action="hold",policy="default/proxy/proxy",reason="query_failed"\} [1-9]`)

// counted is nil when the fleet's job asks for n agents.
func counted(ctx context.Context, s *stack.Stack, n int) error {
	desired, running, err := s.Nomad.Count(ctx, "proxy", "proxy")
	if err == nil && desired != n {
		err = fmt.Errorf("%d agents are wanted and %d run, not %d", desired, running, n)
	}
	return err
}

// lastDecision is what the scheduler says about a policy.
type lastDecision struct{ Action, Reason, Text string }

// decision asks the scheduler about its only policy.
func decision(ctx context.Context, scheduler string) (lastDecision, error) {
	_, body, err := get(ctx, scheduler+"/v1/policies")
	if err != nil {
		return lastDecision{}, err
	}
	var answer struct {
		Policies []struct{ Decision lastDecision }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return lastDecision{}, err
	}
	if len(answer.Policies) != 1 {
		return lastDecision{}, fmt.Errorf("policies: %s", body)
	}
	return answer.Policies[0].Decision, nil
}

// serviceURL finds the first instance of a service.
func serviceURL(t *testing.T, s *stack.Stack, service string) string {
	t.Helper()
	var entries []struct {
		Service struct {
			Address string
			Port    int
		}
	}
	if err := s.Consul.Get(t.Context(), "/v1/health/service/"+service+"?passing", &entries); err != nil || len(entries) == 0 {
		t.Fatalf("%s: %v, %v", service, entries, err)
	}
	return fmt.Sprintf("http://%s:%d", entries[0].Service.Address, entries[0].Service.Port)
}

// runRedisJob runs a Redis as a Nomad job.
func runRedisJob(t *testing.T, s *stack.Stack, name string) {
	t.Helper()
	vars := map[string]string{"name": name, "check_interval": "1s"}
	if _, err := exec.LookPath("redis-server"); err != nil {
		vars["binary"] = stack.Binary(t)
		vars["args"] = fmt.Sprintf(`["demo-child", "redis", "-name", %q, "-address", "$${NOMAD_ADDR_redis}"]`, name)
	}
	runJob(t, s, "redis", vars)
}

// held are open connections to Redis that are used now and then.
type held struct {
	stop func()
	wg   sync.WaitGroup
	errs chan error
}

func holdRedis(t *testing.T, addr string, n int) *held {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &held{stop: cancel, errs: make(chan error, n)}
	t.Cleanup(cancel)
	for range n {
		h.wg.Go(func() {
			c, err := dialRedis(ctx, addr)
			if err != nil {
				h.errs <- err
				return
			}
			defer c.Close()
			ticker := time.NewTicker(500 * time.Millisecond)
			defer ticker.Stop()
			for {
				if _, _, err := c.Do(5*time.Second, "PING"); err != nil {
					h.errs <- err
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
			}
		})
	}
	return h
}

// close ends the connections, all of which must have worked until now.
func (h *held) close(t *testing.T) {
	t.Helper()
	h.stop()
	h.wg.Wait()
	close(h.errs)
	for err := range h.errs {
		t.Error(err)
	}
}
