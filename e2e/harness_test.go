//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// patience is how long anything may take that happens within a second on an idle machine.
const patience = 20 * time.Second

// agent is a running `argosy agent`.
type agent struct {
	*stack.Proc
	Admin string // host:port
	file  string // its configuration
}

// run runs argosy to its end and fails the test when it fails.
func run(t *testing.T, s *stack.Stack, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := s.Run(ctx, stack.Binary(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// startAgent starts an agent with a configuration, to which it adds the admin endpoint, and waits until it is healthy.
func startAgent(t *testing.T, s *stack.Stack, name, hcl string) *agent {
	t.Helper()
	a := launchAgent(t, s, name, hcl)
	within(t, name+" is healthy", func(ctx context.Context) error { return a.healthy(ctx) })
	return a
}

// launchAgent is startAgent without waiting.
func launchAgent(t *testing.T, s *stack.Stack, name, hcl string) *agent {
	t.Helper()
	a := &agent{Admin: s.Addr(), file: s.Path(name + ".hcl")}
	a.write(t, hcl)
	p, err := s.Go(name, stack.Binary(t), []string{"agent", "-config", a.file})
	if err != nil {
		t.Fatal(err)
	}
	a.Proc = p
	return a
}

// write sets the agent's configuration; it takes effect with a reload.
func (a *agent) write(t *testing.T, hcl string) {
	t.Helper()
	text := fmt.Sprintf("admin {\n  address = %q\n}\nlog {\n  level = \"debug\"\n}\n%s", a.Admin, hcl)
	if err := os.WriteFile(a.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (a *agent) healthy(ctx context.Context) error {
	select {
	case <-a.Done():
		return fmt.Errorf("the agent has ended:\n%s", a.Output())
	default:
	}
	code, body, err := get(ctx, "http://"+a.Admin+"/health")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("health is %d: %s", code, body)
	}
	return err
}

// metric is the sum of a metric's series whose labels contain all of the given texts, such as `listener="in"`.
func (a *agent) metric(ctx context.Context, name string, labels ...string) (float64, error) {
	_, body, err := get(ctx, "http://"+a.Admin+"/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
next:
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &v); err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("no metric %s %v", name, labels)
	}
	return sum, nil
}

// gauge is metric for what is there for certain.
func (a *agent) gauge(t *testing.T, name string) float64 {
	t.Helper()
	v, err := a.metric(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signal sends a signal to the agent alone.
func (a *agent) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := a.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the agent to end and checks how.
func (a *agent) ends(t *testing.T, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := a.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Errorf("%s ended with exit code %d, not %d", a.Name, got, code)
	}
}

// get asks for a page.
func get(ctx context.Context, url string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// within waits for something to come true.
func within(t *testing.T, what string, ask func(context.Context) error) time.Duration {
	t.Helper()
	started := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := stack.Eventually(ctx, 20*time.Millisecond, ask); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return time.Since(started)
}

// pause waits for something that cannot be asked for.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// register puts a service into Consul's catalog. more are further keys, such as Check.
func register(t *testing.T, s *stack.Stack, id, name, addr string, more map[string]any) {
	t.Helper()
	host, port := split(t, addr)
	body := map[string]any{"ID": id, "Name": name, "Address": host, "Port": port}
	for k, v := range more {
		body[k] = v
	}
	if err := s.Consul.Put(t.Context(), "/v1/agent/service/register?replace-existing-checks=true", body); err != nil {
		t.Fatal(err)
	}
}

func split(t *testing.T, addr string) (host string, port int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.IP.String(), a.Port
}

// putDtab writes a table straight into Consul's KV store, where agents look for it.
func putDtab(t *testing.T, s *stack.Stack, namespace, table string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.Run(ctx, "consul", "kv", "put", "namerd/dtabs/"+namespace, table); err != nil {
		t.Fatal(err)
	}
}

// instances are the ids of a service's instances whose checks pass.
func instances(ctx context.Context, s *stack.Stack, service string) ([]string, error) {
	var entries []struct{ Service struct{ ID string } }
	if err := s.Consul.Get(ctx, "/v1/health/service/"+service+"?passing", &entries); err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Service.ID)
	}
	return ids, nil
}

// passing is nil when so many instances of a service pass their checks.
func passing(ctx context.Context, s *stack.Stack, service string, n int) error {
	ids, err := instances(ctx, s, service)
	if err == nil && len(ids) != n {
		err = fmt.Errorf("%d instances of %s pass, not %d", len(ids), service, n)
	}
	return err
}

var errGone = errors.New("connection closed")

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
