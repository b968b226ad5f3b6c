//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// steered is a fleet of two agents that Consul knows as proxy, before the services web1 and web2, with load.
type steered struct {
	*stack.Stack
	namerd string
	agents []string // addresses of their listeners
}

const steeredTable = "/c=>/#/io.l5d.consul/.local;/svc=>/c;/svc/web=>/c/web1"

func startSteered(t *testing.T, prometheus bool) *steered {
	t.Helper()
	f := &steered{Stack: stack.New(t, stack.Options{Consul: true, Prometheus: prometheus})}
	for _, name := range []string{"web1", "web2"} {
		register(t, f.Stack, name, name, startNamed(t, name).Addr, nil)
	}
	f.namerd = startNamerd(t, f.Stack)
	run(t, f.Stack, "dtab", "create", "-addr", f.namerd, "default", "-dtab", steeredTable)
	for i := range 2 {
		listen := f.Addr()
		f.agents = append(f.agents, listen)
		startAgent(t, f.Stack, fmt.Sprintf("agent%d", i+1), fleetHCL(f.Stack, listen))
	}
	within(t, "both are registered", func(ctx context.Context) error { return passing(ctx, f.Stack, "proxy", 2) })
	within(t, "web1 answers", func(ctx context.Context) error { return reaches(ctx, f.agents[0], "web1") })
	return f
}

// load connects through both agents until the test ends. No connection may fail.
func (f *steered) load(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, addr := range f.agents {
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := dialNamed(context.WithoutCancel(ctx), addr)
				if err != nil {
					t.Errorf("a connection has failed: %v", err)
					return
				}
				c.Close()
				time.Sleep(2 * time.Millisecond) // the machine is not for us alone
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
}

func (f *steered) table(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(run(t, f.Stack, "dtab", "get", "-addr", f.namerd, "-pretty=false", "default"))
}

// fails runs argosy and expects an exit code.
func (f *steered) fails(t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := f.Run(ctx, stack.Binary(t), args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("argosy %s: %v, not exit %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return out
}

func expectAll(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("no %q in\n%s", p, out)
		}
	}
}

// TestExplainPlanShift looks at a name, is warned of what would be lost, and moves live connections.
func TestExplainPlanShift(t *testing.T) {
	t.Parallel()
	f := startSteered(t, false)
	held, err := dialTo(t, f.agents[0], "web1")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	f.load(t)

	out := run(t, f.Stack, "dtab", "explain", "/svc/web", "-addr", f.namerd)
	t.Logf("explain:\n%s", out)
	expectAll(t, out, "[3] /svc/web => /c/web1", "● /#/io.l5d.consul/.local/web1", "goes to   100%  /#/io.l5d.consul/.local/web1  1 endpoint")

	out = f.fails(t, 2, "dtab", "plan", "-service", "proxy", "-dtab", "/c => /#/io.l5d.consul/.local ; /svc => /c ; /svc/web => /c/wbe1")
	t.Logf("plan:\n%s", out)
	expectAll(t, out, "2 agents asked", "lost     /svc/web", "on 2 agents", "then  nothing", "1 name would be lost")
	f.fails(t, 2, "dtab", "update", "default", "-addr", f.namerd, "-service", "proxy", "-dtab", "/svc => ! ")
	if got := f.table(t); got != steeredTable+";" {
		t.Errorf("the table is %s", got)
	}

	out = run(t, f.Stack, "dtab", "shift", "/svc/web", "--to", "/svc/web2", "--over", "6s", "--steps", "3", "-check", "500ms",
		"-addr", f.namerd, "-service", "proxy")
	t.Logf("shift:\n%s", out)
	expectAll(t, out, "33%  /svc/web => 0.67*/c/web1 & 0.33*/svc/web2", "67%  ", "100%  /svc/web => /svc/web2", "0 failures", "done")
	for _, agent := range f.agents {
		if got := whoAnswers(t, agent, 50); got["web2"] != 50 {
			t.Errorf("after the shift connections went to %v", got)
		}
	}
	if err := held.echo("still here"); err != nil {
		t.Errorf("a connection from before has been cut: %v", err)
	}
}

// TestShiftStopsOnQuery goes back when a real Prometheus, which scrapes the agents, says so.
func TestShiftStopsOnQuery(t *testing.T) {
	t.Parallel()
	f := startSteered(t, true)
	f.load(t)
	within(t, "Prometheus has scraped both", func(ctx context.Context) error {
		n, err := f.Prometheus.Query(ctx, `count(argosy_up{service="proxy"})`)
		if err == nil && n != 2 {
			err = fmt.Errorf("%v", n)
		}
		return err
	})
	began := time.Now()
	out := f.fails(t, 1, "dtab", "shift", "/svc/web", "--to", "/svc/web2", "--over", "5m", "--steps", "2", "-check", "500ms", "-addr", f.namerd,
		"-service", "proxy", "--prometheus", f.Prometheus.URL, "--abort-on", `sum(argosy_cluster_connections_opened_total{cluster=~".*/web2"}) > 20`)
	t.Logf("after %s:\n%s", time.Since(began).Round(time.Millisecond), out)
	expectAll(t, out, "going back: the query is true", "the table is what it was before")
	if got := f.table(t); got != steeredTable+";" {
		t.Errorf("the table is %s", got)
	}
	out = f.fails(t, 1, "dtab", "shift", "/svc/web", "--to", "/svc/web2", "-addr", f.namerd, "--prometheus", f.Prometheus.URL, "--abort-on", "sum(")
	expectAll(t, out, "not begun: ask prometheus: bad_data")
}

// TestShiftIsInterrupted: Ctrl-C takes it back; with -keep-on-interrupt the same command goes on later.
func TestShiftIsInterrupted(t *testing.T) {
	t.Parallel()
	f := startSteered(t, false)
	const half = "/c=>/#/io.l5d.consul/.local;/svc=>/c;/svc/web=>0.50*/c/web1 & 0.50*/svc/web2;"
	interrupt := func(name string, more ...string) {
		t.Helper()
		p, err := f.Go(name, stack.Binary(t), append([]string{"dtab", "shift", "/svc/web", "--to", "/svc/web2", "--over", "10m", "--steps", "2",
			"-addr", f.namerd, "-service", "proxy"}, more...))
		if err != nil {
			t.Fatal(err)
		}
		within(t, "the first step is written", func(context.Context) error {
			if got := f.table(t); got != half {
				return errors.New(got)
			}
			return nil
		})
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if code, err := p.Wait(ctx); err != nil || code != 1 {
			t.Errorf("exit %d, %v\n%s", code, err, p.Output())
		}
	}
	interrupt("shift1")
	if got := f.table(t); got != steeredTable+";" {
		t.Errorf("after the interrupt the table is %s", got)
	}
	interrupt("shift2", "-keep-on-interrupt")
	if got := f.table(t); got != half {
		t.Errorf("after the interrupt the table is %s", got)
	}
	out := run(t, f.Stack, "dtab", "shift", "/svc/web", "--to", "/svc/web2", "--over", "2s", "--steps", "2", "-addr", f.namerd, "-service", "proxy")
	expectAll(t, out, "it goes on from 50%", "100%  /svc/web => /svc/web2", "done")
}
