// Package consultest gives tests a real Consul agent and a client for it.
package consultest

import (
	"context"
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
