package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMigrateLinkerdTCP(t *testing.T) {
	dir := t.TempDir()
	const text = `routers:
- label: redis
  interpreter: {kind: io.l5d.namerd.http, baseUrl: "http://n:1", namespace: default, periodSecs: 20}
  servers:
  - {port: 7474, dstName: /svc/redis, connectTimeoutMs: 500}
`
	const want = `# argosy agent -config FILE; made of standard input, a configuration of linkerd-tcp.

name = "redis"

interpreter "namerd" {
  address   = "http://n:1"
  namespace = "default"
  # Streams, so that a change applies at once; where these do not come through, polls.
  mode          = "auto"
  poll_interval = "20s"
}

listener "redis" {
  address         = "127.0.0.1:7474"
  destination     = "/svc/redis"
  connect_timeout = "500ms"
}
`
	step{in: text, args: "migrate|linkerd-tcp|-", out: want}.check(t)
	lifetime := strings.Replace(text, ", connectTimeoutMs", ", connectionLifetimeSecs: 9, connectTimeoutMs", 1)
	out := filepath.Join(dir, "agent.hcl")
	lost := step{in: lifetime, args: "migrate|linkerd-tcp|-|-o|" + out, code: 1,
		errs: "standard input:5:63: not carried over: routers[0].servers[0].connectionLifetimeSecs: there is no limit on how long a connection may live\n" +
			"  = end connections that do nothing with idle_timeout in the listener\n"}
	lost.check(t)
	step{args: "validate|" + out, out: "valid agent configuration (redis; listeners: 1, namers: 0, clients: 0)\n"}.check(t)
	step{in: text, args: "migrate|linkerd-tcp|-|-o|" + out, code: 1, errs: "argosy: " + out + " exists; -force replaces it\n"}.check(t)
	step{in: text, args: "migrate|linkerd-tcp|-|-force|-o|" + out}.check(t)
	if b, err := os.ReadFile(out); err != nil || string(b) != want {
		t.Errorf("%v %s", err, b)
	}

	code, printed, errs := call(t, lifetime, "migrate", "linkerd-tcp", "-json", "-")
	var all struct {
		HCL      string
		Findings []struct {
			Line int
			Lost bool
		}
	}
	if err := json.Unmarshal([]byte(printed), &all); err != nil || code != 1 || errs != "" || len(all.Findings) != 1 || !all.Findings[0].Lost || all.HCL == "" {
		t.Errorf("%d %v %s %s", code, err, printed, errs)
	}
	for _, s := range []step{
		{in: "routers: 1\n", args: "migrate|linkerd-tcp|-", code: 2, errs: "standard input:1:10: routers must be a list\n  1 | routers: 1\n    |          ^\n"},
		{in: text, args: "migrate|linkerd-tcp|-router|blue|-", code: 2, errs: "argosy: migrate linkerd-tcp: standard input has no router with the label \"blue\"\n"},
		{args: "migrate|linkerd-tcp|/nonexistent", code: 2, errs: "argosy: migrate linkerd-tcp: open /nonexistent: no such file or directory\n"},
		{args: "migrate|linkerd-tcp", code: 2, errs: "argosy: migrate linkerd-tcp: name one file, or - for standard input\n" + hintLine},
		{args: "migrate|nginx", code: 2, errs: "argosy: migrate cannot read configurations of \"nginx\"; it can those of linkerd-tcp\n" + hintLine},
	} {
		s.check(t)
	}
	if code, out, errs := call(t, "", "migrate", "linkerd-tcp", "-h"); code != 0 || !strings.Contains(out, "Example:") || errs != "" {
		t.Errorf("%d %s %s", code, out, errs)
	}
}
