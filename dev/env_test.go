package dev_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/resp"
	"argosy/dev"
	"argosy/e2e/stack"
)

func load(t *testing.T, text string) *dev.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := dev.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, c *dev.Config) *dev.Env {
	t.Helper()
	e, err := dev.Start(t.Context(), c, dev.Options{
		Binary: stack.Binary(t), Logger: hclog.NewNullLogger(),
		Output: func(group string, instance int, line string) { t.Logf("%s.%d | %s", group, instance, line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

func stop(t *testing.T, e *dev.Env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
	if left := e.Remains(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func within(t *testing.T, d time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func dial(t *testing.T, address string) *resp.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return resp.NewConn(c)
}

const file = `
dtab = "/svc => /#/io.l5d.fs"

service "cache" {
  command = ["${argosy}", "demo-child", "redis", "-built-in", "-name", "cache", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
}

service "observer" {
  command = ["sh", "-c", "env >observer.env; exec sleep 1000"]
  env     = { CACHE = "cache at ${proxy.fleet}" }
}

proxy "fleet" {
  destination   = "/svc/cache"
  min           = 1
  max           = 3
  target_value  = 4
  cooldown_up   = "0s"
  cooldown_down = "1s"
  drain_timeout = "5s"
}`

func TestServicesBehindAFleetThatFollowsTheLoad(t *testing.T) {
	t.Parallel()
	e := start(t, load(t, file))

	c := dial(t, e.ProxyAddress("fleet"))
	if who, _, err := c.Do(5*time.Second, "GET", "whoami"); err != nil || who != "cache" {
		t.Fatalf("got %q, %v", who, err)
	}
	conns := []*resp.Conn{c}
	for range 10 {
		conns = append(conns, dial(t, e.ProxyAddress("fleet")))
	}
	within(t, 15*time.Second, "11 connections, 4 for each: three agents", func() bool { return len(e.Instances("fleet")) == 3 })
	if d, ok := e.Decision("fleet"); !ok || d.Terms.TargetValue != 4 {
		t.Errorf("decision is %+v", d)
	}
	for _, c := range conns {
		c.Close()
	}
	within(t, 20*time.Second, "no connection: one agent", func() bool { return len(e.Instances("fleet")) == 1 })
	if who, _, err := dial(t, e.ProxyAddress("fleet")).Do(5*time.Second, "GET", "whoami"); err != nil || who != "cache" {
		t.Errorf("afterwards: got %q, %v", who, err)
	}

	env, err := os.ReadFile(filepath.Join(e.Dir(), "observer.env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CACHE=cache at " + e.ProxyAddress("fleet") + "\n", "ARGOSY_PROXY_FLEET=" + e.ProxyAddress("fleet") + "\n", "ARGOSY_INSTANCE=0\n"} {
		if !strings.Contains(string(env), want) {
			t.Errorf("the environment has no %q:\n%s", want, env)
		}
	}
	if found := dev.ProcessesIn(e.Dir()); len(found) < 3 {
		t.Errorf("what looks for remains finds only %v", found)
	}
	stop(t, e)
}

func TestServiceThatFollowsItsConnections(t *testing.T) {
	t.Parallel()
	e := start(t, load(t, `
dtab = "/svc => /#/io.l5d.fs"
service "cache" {
  command = ["${argosy}", "demo-child", "redis", "-built-in", "-name", "cache", "-address", "127.0.0.1:${port.redis}"]
  ports   = ["redis"]
  min = 1
  max = 4
  target_value = 2
  cooldown_up  = "0s"
}
proxy "one" { destination = "/svc/cache" }`))
	for range 6 {
		c := dial(t, e.ProxyAddress("one"))
		defer c.Close()
		if _, _, err := c.Do(5*time.Second, "GET", "whoami"); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 15*time.Second, "6 connections, 2 for each: three instances", func() bool { return len(e.Instances("cache")) >= 3 })
}

func TestWhatCannotStartLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	binary := stack.Binary(t)
	for name, text := range map[string]string{
		"proxy's port in use":  fmt.Sprintf("proxy \"p\" {\n destination = \"/svc/a\"\n address = %q\n}", l.Addr()),
		"namerd's port in use": fmt.Sprintf("namerd {\n address = %q\n}\nproxy \"p\" {\n destination = \"/svc/a\"\n}", l.Addr()),
		"no such program":      `service "a" { command = ["/no/such/program"] }`,
	} {
		t.Run(name, func(t *testing.T) {
			e, err := dev.Start(t.Context(), load(t, "dtab = \"/svc => /#/io.l5d.fs\"\n"+text), dev.Options{Binary: binary, Logger: hclog.NewNullLogger()})
			if err == nil {
				stop(t, e)
				t.Fatal("no error")
			}
			if left := dev.ProcessesIn(os.Getenv("TMPDIR")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if entries, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "argosy-dev-*")); len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestServiceThatFallsOverIsNamed(t *testing.T) {
	t.Parallel()
	c := load(t, `
dtab = "/svc => /#/io.l5d.fs"
service "bad" {
  command = ["sh", "-c", "echo the flux capacitor is missing; exit 3"]
  ports   = ["x"]
}`)
	e, err := dev.Start(t.Context(), c, dev.Options{Binary: stack.Binary(t), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err == nil || !strings.Contains(err.Error(), "bad is not ready") || !strings.Contains(err.Error(), "flux capacitor") {
		t.Errorf("got %v", err)
	}
}

func TestExamples(t *testing.T) {
	for _, path := range []string{"../demo/dev-example.hcl", "../demo/laptop/demo.hcl"} {
		if _, err := dev.Load(path); err != nil {
			t.Error(err)
		}
	}
}
