//go:build servers

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestTokenReplaced takes the agent's token from it, and gives it another one some time later: what is known stays in use
// meanwhile, and then all is followed again, without a restart.
func TestTokenReplaced(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: denyHCL})
	file := s.Path("token")
	giveToken(t, s, file, firstToken)
	m := startMischief(t, s.Consul.URL())
	n := startNight(t, s, m, fmt.Sprintf("consul {\n  address    = %q\n  token_file = %q\n}\ndtab {\n  consul {}\n}\nnamer \"io.l5d.consul\" {}\n", m.Addr, file))
	n.try(t, s, "without a token", func() {
		if _, err := s.Run(t.Context(), "consul", "acl", "token", "delete", "-accessor-id", firstToken); err != nil {
			t.Error(err)
		}
		pause(t, 3*time.Second)
	}, func() { giveToken(t, s, file, secondToken) })
}

const firstToken, secondToken = "5a1f7bd0-0000-4000-8000-000000000001", "5a1f7bd0-0000-4000-8000-000000000002"

// giveToken makes a token that may do everything, and puts it into a file.
func giveToken(t *testing.T, s *stack.Stack, file, secret string) {
	t.Helper()
	within(t, "a token", func(ctx context.Context) error {
		return s.Consul.Put(ctx, "/v1/acl/token", map[string]any{
			"SecretID": secret, "AccessorID": secret, "Policies": []map[string]string{{"Name": "global-management"}},
		})
	})
	writeFile(t, file+".new", secret)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// TestConnectTokenReplaced is the same with Connect on both sides, where what is not allowed is denied: who was allowed stays so
// without a token, and who was denied, too.
func TestConnectTokenReplaced(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: denyHCL})
	file := s.Path("token")
	giveToken(t, s, file, firstToken)
	d := startDays(t, s, daysOptions{token: file})
	d.try(t, "without a token", 4*time.Second, func() {
		if _, err := s.Run(t.Context(), "consul", "acl", "token", "delete", "-accessor-id", firstToken); err != nil {
			t.Error(err)
		}
	}, func() { giveToken(t, s, file, secondToken) })
	if _, err := s.Run(t.Context(), "consul", "config", "delete", "-kind", "service-intentions", "-name", "proxy"); err != nil {
		t.Fatal(err)
	}
	within(t, "nobody is allowed after the last intention was deleted", func(ctx context.Context) error { return denied(ctx, d.entry) })
}
