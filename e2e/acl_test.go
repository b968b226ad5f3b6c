//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// denyHCL is a Consul that allows nobody anything, but for requests without a token, those of the tests.
const denyHCL = `
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "5a1f7bd0-0000-4000-8000-000000000000"
    default            = "5a1f7bd0-0000-4000-8000-000000000000"
  }
}
`

// grant makes a token with rules of its own, and returns its secret, which is its accessor, too.
func grant(t *testing.T, s *stack.Stack, n int, rules string) string {
	t.Helper()
	policy, secret := fmt.Sprint("test-", n), fmt.Sprintf("5a1f7bd0-0000-4000-8000-%012d", n)
	within(t, "a token", func(ctx context.Context) error {
		err := s.Consul.Put(ctx, "/v1/acl/policy", map[string]any{"Name": policy, "Rules": rules})
		if err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
		return s.Consul.Put(ctx, "/v1/acl/token", map[string]any{
			"SecretID": secret, "AccessorID": secret, "Policies": []map[string]string{{"Name": policy}},
		})
	})
	return secret
}

// webHCL is an agent that does all that one can have to do with Consul: it is the service web in Connect, behind which
// there is echo, is registered, dials itself by Connect, and has its table in the KV store.
func webHCL(s *stack.Stack, in, out, tokenFile string) string {
	return fmt.Sprintf(`
name = "web"
consul {
  address    = %q
  token_file = %q
}
dtab {
  consul {}
}
namer "io.l5d.consul" {}
namer "io.l5d.consul" {
  prefix  = "/#/connect"
  connect = true
}
listener "in" {
  address     = %q
  destination = "/svc/echo"
  tls {
    connect = "web"
  }
  register {}
}
listener "out" {
  address     = %q
  destination = "/svc/web"
}
client "/svc/web" {
  tls {
    connect = "web"
  }
}
register {
  check_interval = "1s"
}
`, s.Consul.Addr, tokenFile, in, out)
}

// webWorld is what such an agent needs around it.
func webWorld(t *testing.T, s *stack.Stack) {
	t.Helper()
	within(t, "ACLs", func(ctx context.Context) error { // which come after the leader
		return tryPutTable(ctx, s, "/svc/echo => /#/io.l5d.consul/.local/echo ; /svc/web => /#/connect/.local/web")
	})
	register(t, s, "echo", "echo", startNamed(t, "echo").Addr, nil)
	within(t, "an intention", func(ctx context.Context) error { // which Consul refuses at first
		return s.Consul.Put(ctx, "/v1/config", map[string]any{
			"Kind": "service-intentions", "Name": "web", "Sources": []map[string]any{{"Name": "web", "Action": "allow"}},
		})
	})
}

// TestPolicies: an agent works with the policy that it says it needs, and with the one that comes with argosy; without any
// of the rules it says which one is missing.
func TestPolicies(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: denyHCL})
	webWorld(t, s)
	n := 0
	start := func(rules string) (a *agent, out string) {
		t.Helper()
		n++
		file, in := s.Path(fmt.Sprint("token-", n)), s.Addr()
		out = s.Addr()
		writeFile(t, file, grant(t, s, n, rules))
		return launchAgent(t, s, fmt.Sprint("agent-", n), webHCL(s, in, out, file)), out
	}
	ends := func(a *agent) {
		t.Helper()
		a.Kill()
		within(t, "web is gone", func(ctx context.Context) error {
			ids, err := instances(ctx, s, "web")
			for _, id := range ids {
				err = errors.Join(err, s.Consul.Put(ctx, "/v1/agent/service/deregister/"+id, nil))
			}
			if err == nil && len(ids) > 0 {
				err = fmt.Errorf("%v are there", ids)
			}
			return err
		})
	}
	writeFile(t, s.Path("token-0"), "unused")
	writeFile(t, s.Path("needs.hcl"), webHCL(s, "127.0.0.1:1001", "127.0.0.1:1002", s.Path("token-0")))
	stack.Binary(t) // so that building it does not count
	needs := run(t, s, "validate", "-acl", s.Path("needs.hcl"))
	own, err := os.ReadFile("../acl/agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for what, rules := range map[string]string{"what validate prints": needs, "acl/agent.hcl": string(own)} {
		a, out := start(rules)
		within(t, "web with "+what, func(ctx context.Context) error { return reaches(ctx, out, "echo") })
		within(t, "web is registered", func(ctx context.Context) error { return passing(ctx, s, "web", 1) })
		if denied, err := a.metric(t.Context(), "argosy_consul_denied"); err != nil || denied != 0 || strings.Contains(a.Output(), "Permission denied") {
			t.Errorf("with %s something is denied: %v, %v\n%s", what, denied, err, a.Output())
		}
		ends(a)
	}

	const add = "add to its policy: "
	missing := map[string]string{ // by the beginning of a rule
		`service "web"`:              add + `service "web" { policy = "write" }`,
		`service_prefix ""`:          add + `service "echo" { policy = "read" }`,
		`node_prefix ""`:             "no endpoints visible: the token lacks node:read; " + add + `node_prefix "" { policy = "read" }`,
		`key "namerd/dtabs/default"`: add + `key "namerd/dtabs/default" { policy = "read" }`,
	}
	rules := strings.Split(needs, "\n\n")
	if len(rules) != len(missing) {
		t.Errorf("validate prints %d rules, not %d:\n%s", len(rules), len(missing), needs)
	}
	says := func(rules, without, want string) {
		a, _ := start(rules)
		within(t, "without "+without, func(ctx context.Context) error {
			denied, err := a.metric(ctx, "argosy_consul_denied")
			said := strings.ReplaceAll(a.Output(), `\"`, `"`)
			if err == nil && (denied < 1 || !strings.Contains(said, want)) {
				err = fmt.Errorf("%v denied, and not said: %s\n%s", denied, want, said)
			}
			return err
		})
		ends(a)
	}
	for i, rule := range rules {
		_, rule, _ := strings.Cut(rule, "\n") // what follows the comment
		head, _, _ := strings.Cut(rule, " {")
		if missing[head] == "" {
			t.Errorf("a rule that is not expected: %s", rule)
			continue
		}
		says(strings.Join(slices.Delete(slices.Clone(rules), i, i+1), "\n"), head, missing[head])
	}
	says(strings.Replace(needs, "policy = \"write\"\n", "policy = \"write\"\n  intentions = \"deny\"\n", 1), "intentions",
		add+`service "web" { policy = "read" intentions = "read" }`)
}

// TestTokenRevoked takes the token from an agent under traffic, which goes on with what it knows: endpoints, table,
// certificate, roots and intentions. The alarm is raised once, and ends with another token.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: denyHCL})
	webWorld(t, s)
	rules, err := os.ReadFile("../acl/agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	file, in, out := s.Path("token"), s.Addr(), s.Addr()
	first := grant(t, s, 1, string(rules))
	writeFile(t, file, first)
	a := startAgent(t, s, "agent", webHCL(s, in, out, file))
	within(t, "web", func(ctx context.Context) error { return reaches(ctx, out, "echo") })
	load := startSteady(t, func(name string) bool { return name == "echo" }, out)
	kept, err := dialNamed(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()

	if _, err := s.Run(t.Context(), "consul", "acl", "token", "delete", "-accessor-id", first); err != nil {
		t.Fatal(err)
	}
	// Requests that wait in the classic way end only with their time, those for the catalog at once.
	alarm := within(t, "the alarm", func(ctx context.Context) error {
		v, err := a.metric(ctx, "argosy_consul_denied", `request="catalog"`)
		if err == nil && v != 1 {
			err = errors.New("there is none")
		}
		return err
	})
	pause(t, 3*time.Second)
	if err := kept.echo("still here"); err != nil {
		t.Error(err)
	}
	if n := strings.Count(a.Output(), "[ERROR] consul: consul refuses requests: what is known stays in use: request=catalog"); n != 1 {
		t.Errorf("the log tells so %d times:\n%s", n, a.Output())
	}
	writeFile(t, file+".new", grant(t, s, 2, string(rules)))
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	calm := within(t, "the end of the alarm", func(ctx context.Context) error {
		v, err := a.metric(ctx, "argosy_consul_denied")
		if err == nil && v != 0 {
			err = fmt.Errorf("%v kinds of requests are refused", v)
		}
		return err
	})
	// All is followed again.
	register(t, s, "echo", "echo", startNamed(t, "echo").Addr, nil)
	within(t, "a certificate asked for with the new token", func(ctx context.Context) error {
		v, err := a.metric(ctx, "argosy_identity_answered_timestamp_seconds", `request="intentions"`)
		if err == nil && time.Since(time.UnixMilli(int64(v*1000))) > 10*time.Second {
			err = errors.New("the intentions are not followed")
		}
		return err
	})
	load.stop()
	load.wg.Wait()
	load.check(t)
	if err := kept.echo("and now"); err != nil {
		t.Error(err)
	}
	t.Logf("%d connections, none failed; alarm after %v, calm %v after another token", load.made.Load(), alarm.Round(time.Millisecond), calm.Round(time.Millisecond))
}
