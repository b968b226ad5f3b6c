//go:build servers

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// exchanged is how many bytes go each way.
const exchanged = 1 << 20

// random are bytes of which no two parts look alike.
func random(seed byte) []byte {
	b := make([]byte, exchanged)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// startExchange starts a server that sends its bytes while it takes its client's, and ends when it has all of them.
func startExchange(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				var sent sync.WaitGroup
				sent.Go(func() { c.Write(random('s')) })
				got := make([]byte, exchanged)
				_, err := io.ReadFull(c, got)
				sent.Wait()
				// What is wrong about it is told to the client by an answer that it does not expect.
				if err == nil && !bytes.Equal(got, random('c')) {
					io.WriteString(c, "these are not the client's bytes")
				} else if err == nil {
					io.WriteString(c, "done")
				}
			})
		}
	})
	return l.Addr().String()
}

// exchange is the client of such a server, through addr.
func exchange(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(random('c'))
		sent <- err
	}()
	got, err := io.ReadAll(c)
	c.Close() // or the sender might wait for somebody to read
	if err := errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("after %d bytes: %w", len(got), err)
	}
	want := append(random('s'), "done"...)
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got %d bytes that are not the %d that were sent: ...%q", len(got), len(want), got[max(0, len(got)-40):])
	}
	return nil
}

// startConsulProxy starts the proxy that is built into Consul.
func startConsulProxy(t *testing.T, s *stack.Stack, name string, args ...string) {
	t.Helper()
	program, err := servers.Locate(t.Context(), servers.Consul, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Go(name, program, append([]string{"connect", "proxy"}, args...)); err != nil {
		t.Fatal(err)
	}
}

// TestInterop: agents and `consul connect proxy` find each other in the catalog, and each takes the other for who it is.
func TestInterop(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	app := startExchange(t)

	t.Run("consul connect proxy dials an agent", func(t *testing.T) {
		register(t, s, "web1", "web", app, nil)
		entry := s.Addr()
		_, port, _ := strings.Cut(entry, ":")
		fleet := startAgent(t, s, "fleet", fleetConnectHCL(s, s.Addr()))
		within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
		startConsulProxy(t, s, "their-client", "-service", "client", "-upstream", "proxy:"+port)
		both(t, s, entry, "client", "proxy")
		within(t, "the agent knows who that is", func(ctx context.Context) error { return hasPeer(ctx, fleet, entry, "client") })
	})
	t.Run("an agent dials consul connect proxy", func(t *testing.T) {
		listen, entry := s.Addr(), s.Addr()
		register(t, s, "db1", "db", app, nil)
		host, port := split(t, listen)
		register(t, s, "db1-proxy", "db-sidecar-proxy", fmt.Sprintf("%s:%d", host, port), map[string]any{
			"Kind": "connect-proxy", "Proxy": map[string]any{"DestinationServiceName": "db", "DestinationServiceID": "db1"},
		})
		startConsulProxy(t, s, "their-server", "-service", "db", "-service-addr", app, "-listen", listen)
		startAgent(t, s, "entry", strings.ReplaceAll(entryHCL(s, entry), "/svc/proxy", "/svc/db"))
		both(t, s, entry, "entry", "db")
	})
}

// both exchanges bytes through entry while an intention allows it, and none after another one has denied it.
func both(t *testing.T, s *stack.Stack, entry, source, destination string) {
	t.Helper()
	intention(t, s, source, destination, "allow")
	within(t, "bytes both ways", func(ctx context.Context) error { return exchange(ctx, entry) })
	for range 5 {
		if err := exchange(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	intention(t, s, source, destination, "deny")
	within(t, "denied", func(ctx context.Context) error {
		if err := exchange(ctx, entry); err == nil {
			return errors.New("it got through")
		}
		return nil
	})
	intention(t, s, source, destination, "allow")
	within(t, "allowed again", func(ctx context.Context) error { return exchange(ctx, entry) })
}

// hasPeer holds a connection open through entry, and asks the agent behind whose it is.
func hasPeer(ctx context.Context, a *agent, entry, want string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", entry)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return err
	}
	_, body, err := get(ctx, "http://"+a.Admin+"/v1/connections")
	if err != nil {
		return err
	}
	if !strings.Contains(body, fmt.Sprintf(`"peer": %q`, want)) {
		return fmt.Errorf("no connection of %s:\n%s", want, body)
	}
	return nil
}
