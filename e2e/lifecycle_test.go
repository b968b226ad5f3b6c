//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// staticHCL needs no servers: its table and endpoints stand in the file.
func staticHCL(listen, upstream, more string) string {
	return fmt.Sprintf(`
dtab {
  static = "/svc => /#/static"
}
namer "static" {
  services = { web = [%q] }
}
listener "in" {
  address     = %q
  destination = "/svc/web"
}
%s`, upstream, listen, more)
}

// TestTermLosesNoConnectionThatEndsInTime: whatever ends by itself within the drain time is served to its end.
func TestTermLosesNoConnectionThatEndsInTime(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	server := startNamed(t, "web1")
	register(t, s, "web1", "web", server.Addr, nil)
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
	listen := s.Addr()
	a := startAgent(t, s, "agent", fleetHCL(s, listen)) // propagation 1s, drain 5s
	within(t, "web1 answers", func(ctx context.Context) error { return reaches(ctx, listen, "web1") })

	const n = 60
	results := make(chan error, n)
	for i := range n {
		c, err := dialNamed(t.Context(), listen)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer c.Close()
			// The last one ends 4 s after the signal, while the agent would wait 6 s.
			end := time.Now().Add(time.Duration(i) * 4 * time.Second / n)
			for j := 0; ; j++ {
				if err := c.echo(fmt.Sprintf("line %d", j)); err != nil {
					results <- fmt.Errorf("connection %d, line %d: %w", i, j, err)
					return
				}
				if time.Now().After(end) {
					results <- nil
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	started := time.Now()
	a.signal(t, syscall.SIGTERM)
	lost := 0
	for range n {
		if err := <-results; err != nil {
			lost++
			t.Error(err)
		}
	}
	a.ends(t, 0)
	t.Logf("%d of %d connections lost; the agent ended %s after the signal", lost, n, time.Since(started).Round(10*time.Millisecond))
}

// TestDrainEnds: what does not end in time is cut at its end, and that is no failure of the agent.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{})
	listen := s.Addr()
	a := startAgent(t, s, "agent", staticHCL(listen, startNamed(t, "web1").Addr, "drain {\n  timeout = \"1s\"\n}\n"))
	c, err := dialNamed(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a.signal(t, syscall.SIGTERM)
	a.ends(t, 0)
	if err := c.echo("x"); err == nil {
		t.Error("the connection is still open")
	}
}

func TestSecondInterruptCuts(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{})
	listen := s.Addr()
	a := startAgent(t, s, "agent", staticHCL(listen, startNamed(t, "web1").Addr, "drain {\n  timeout = \"10m\"\n}\n"))
	c, err := dialNamed(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a.signal(t, syscall.SIGINT)
	within(t, "it accepts no more", func(ctx context.Context) error {
		if err := reaches(ctx, listen, "web1"); err == nil {
			return errors.New("it still accepts")
		}
		return nil
	})
	if err := c.echo("draining"); err != nil {
		t.Errorf("the first interrupt cut: %v", err)
	}
	started := time.Now()
	a.signal(t, syscall.SIGINT)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("ended %s after the second interrupt", time.Since(started).Round(time.Millisecond))
	if err := c.echo("x"); err == nil {
		t.Error("the connection is still open")
	}
}

// TestReload: a broken configuration changes nothing, a good one takes effect, and no connection is lost by either.
func TestReload(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{})
	web1, web2 := startNamed(t, "web1"), startNamed(t, "web2")
	listen := s.Addr()
	a := startAgent(t, s, "agent", staticHCL(listen, web1.Addr, ""))
	old, err := dialNamed(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()

	for i, broken := range []string{
		staticHCL(listen, web2.Addr, "no_such_key = 1\n"),
		staticHCL(listen, web2.Addr, "drain {\n  timeout = \"soon\"\n}\n"),
		staticHCL(listen, web2.Addr, "listener \"second\" {\n"),
		staticHCL(listen, web2.Addr, fmt.Sprintf("listener \"taken\" {\n  address = %q\n  destination = \"/svc/web\"\n}\n", web1.Addr)),
	} {
		a.write(t, broken)
		a.signal(t, syscall.SIGHUP)
		within(t, fmt.Sprintf("refused reload %d is counted", i+1), func(ctx context.Context) error {
			v, err := a.metric(ctx, "argosy_reloads_total", `result="failed"`)
			if err == nil && v != float64(i+1) {
				err = fmt.Errorf("%v refused reloads", v)
			}
			return err
		})
		if err := reaches(t.Context(), listen, "web1"); err != nil {
			t.Errorf("after broken configuration %d: %v", i+1, err)
		}
		if err := a.healthy(t.Context()); err != nil {
			t.Errorf("after broken configuration %d: %v", i+1, err)
		}
	}
	if !strings.Contains(a.Output(), "no_such_key") {
		t.Error("the log does not say what is wrong")
	}

	more := s.Addr()
	a.write(t, staticHCL(listen, web2.Addr, fmt.Sprintf("listener \"more\" {\n  address = %q\n  destination = \"/svc/web\"\n}\n", more)))
	a.signal(t, syscall.SIGHUP)
	within(t, "the new endpoint is used", func(ctx context.Context) error { return reaches(ctx, listen, "web2") })
	within(t, "the new listener is there", func(ctx context.Context) error { return reaches(ctx, more, "web2") })
	if err := old.echo("still here"); err != nil {
		t.Errorf("the connection from before has been cut: %v", err)
	}
}
