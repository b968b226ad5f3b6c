// Package consultest gives tests a real Consul agent and a client for it.
package consultest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/e2e/stack"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

// Consul is a real Consul agent, server and client in one, that ends with its test.
type Consul struct {
	*stack.Consul
	Client *api.Client
}

// Options say what a Consul is to be like.
type Options struct {
	Keep  bool   // it keeps its state on disk, so that Restart does not lose it
	HCL   string // further configuration
	Token string // for Client
}

// Start starts a Consul for a test, and returns when it has a leader, who knows the token. A server that cannot be started
// fails the test.
func Start(t testing.TB, o Options) *Consul {
	t.Helper()
	s := stack.New(t, stack.Options{Consul: true, ConsulKeeps: o.Keep, ConsulHCL: o.HCL})
	c := &Consul{Consul: s.Consul}
	c.Client = c.ClientWith(t, o.Token)
	if o.Token != "" { // a new leader sets ACLs up only after it has become one
		Eventually(t, 30*time.Second, func() error {
			_, _, err := c.Client.ACL().TokenReadSelf(nil)
			return err
		})
	}
	return c
}

// ClientWith makes a further client, which uses the token.
func (c *Consul) ClientWith(t testing.TB, token string) *api.Client {
	t.Helper()
	client, err := consulclient.New(settings.Consul{Address: c.URL(), Token: settings.NewSecret(token), Datacenter: "dc1"})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// MustRestart starts the agent again, after a Kill or instead of one.
func (c *Consul) MustRestart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// Register puts a service into the catalog through the agent.
func (c *Consul) Register(t testing.TB, r *api.AgentServiceRegistration) {
	t.Helper()
	if err := c.Client.Agent().ServiceRegister(r); err != nil {
		t.Fatalf("register %s: %v", r.ID, err)
	}
}

// Deregister takes a service out again.
func (c *Consul) Deregister(t testing.TB, id string) {
	t.Helper()
	if err := c.Client.Agent().ServiceDeregister(id); err != nil {
		t.Fatalf("deregister %s: %v", id, err)
	}
}

// SetTTL sets the status of a service's TTL check: passing, warning or critical.
func (c *Consul) SetTTL(t testing.TB, checkID, status string) {
	t.Helper()
	if err := c.Client.Agent().UpdateTTL(checkID, "set by the test", status); err != nil {
		t.Fatalf("set %s to %s: %v", checkID, status, err)
	}
}

// Eventually fails the test unless ask becomes nil within the limit.
func Eventually(t testing.TB, limit time.Duration, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := stack.Eventually(ctx, 10*time.Millisecond, func(context.Context) error { return ask() }); err != nil {
		t.Fatal(err)
	}
}

// Root is the token that may do everything, where Deny is part of a Consul's configuration.
const Root = "5a1f7bd0-0000-4000-8000-000000000000"

// Deny is configuration for a Consul that allows nobody anything without a rule that does.
const Deny = `
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "` + Root + `"
  }
}
`

// Grant makes a token whose policy has the rules, and returns its secret. The Client must have the token Root.
func (c *Consul) Grant(t testing.TB, rules string) (secret string) {
	t.Helper()
	name := fmt.Sprint("test-", rand.Uint64())
	if _, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		t.Fatalf("make a policy: %v", err)
	}
	token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: name}}}, nil)
	if err != nil {
		t.Fatalf("make a token: %v", err)
	}
	return token.SecretID
}

// FreePort is a port that nobody listens on at the moment.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
