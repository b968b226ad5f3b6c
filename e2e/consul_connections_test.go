//go:build servers

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"argosy/e2e/stack"
	"argosy/internal/devca"
)

// connectionsTo counts the connections of a process to a port, as the kernel has them.
func connectionsTo(t *testing.T, pid int, addr string) int {
	t.Helper()
	_, port := split(t, addr)
	// Each process sees those of the whole machine; its own are the ones whose sockets it has open.
	own := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) && f[3] == "01" && own[f[9]] {
			n++
		}
	}
	return n
}

// TestConnectionsToConsul counts what an agent needs that follows 200 services, has three identities and is registered.
func TestConnectionsToConsul(t *testing.T) {
	t.Parallel()
	const services = 200
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "consul", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := l.Addr().String()
	l.Close()
	_, port := split(t, secure)
	s := stack.New(t, stack.Options{Consul: true, ConsulHCL: fmt.Sprintf(
		"ports {\n  https = %d\n}\ntls {\n  https {\n    cert_file = %q\n    key_file = %q\n  }\n}\n", port, files.Cert, files.Key)})
	server := startNamed(t, "any")
	var listeners strings.Builder
	for i := range services {
		name := fmt.Sprint("s", i)
		register(t, s, name, name, server.Addr, map[string]any{"Check": map[string]any{"TTL": "1h", "Status": "passing"}})
		listeners.WriteString(route(name, "127.0.0.1:0"))
	}
	for _, name := range []string{"one", "two", "three"} {
		fmt.Fprintf(&listeners, "client \"/svc/%s\" {\n  tls {\n    connect = %q\n  }\n}\n", name, name)
	}
	fmt.Fprintf(&listeners, "listener \"own\" {\n  address     = \"127.0.0.1:0\"\n  destination = \"/svc/s0\"\n  register {}\n}\n")
	for _, c := range []struct {
		name, consul string
		most         int
	}{
		// One for each of 80 services, one that follows the health checks of all, three for each identity, those for table,
		// mesh and registration, and some that are idle or answered at once.
		{"http", fmt.Sprintf("address = %q", s.Consul.Addr), 80 + 1 + 3*3 + 3 + 20},
		{"http, few watches", fmt.Sprintf("address = %q\n  watch_connections = 4", s.Consul.Addr), 4 + 1 + 3*3 + 3 + 20},
		{"https", fmt.Sprintf("address = \"https://%s\"\n  ca_file = %q", secure, files.CA), 6},
	} {
		name := strings.NewReplacer(", ", "-", " ", "-").Replace(c.name)
		a := startAgent(t, s, name, fmt.Sprintf("name = %q\nconsul {\n  %s\n}\ndtab {\n  consul {}\n}\nnamer \"io.l5d.consul\" {}\n", name, c.consul)+listeners.String())
		if c.name == "http" {
			putTable(t, s, "/svc => /#/io.l5d.consul/.local")
		}
		within(t, "all services", func(ctx context.Context) error {
			v, err := a.metric(ctx, "argosy_consul_endpoints")
			if err == nil && v < services {
				err = fmt.Errorf("%v endpoints", v)
			}
			return err
		})
		within(t, "the registration", func(ctx context.Context) error { return passing(ctx, s, name, 1) })
		within(t, "certificates", func(ctx context.Context) error {
			for _, identity := range []string{"one", "two", "three"} {
				if _, err := a.metric(ctx, "argosy_identity_certificate_expiry_timestamp_seconds", fmt.Sprintf("service=%q", identity)); err != nil {
					return err
				}
			}
			return nil
		})
		pause(t, 4*time.Second)
		to := s.Consul.Addr
		if c.name == "https" {
			to = secure
		}
		n, shown := connectionsTo(t, a.Pid(), to), a.gauge(t, "argosy_consul_connections")
		t.Logf("%s: %d connections to Consul for %d services, 3 identities, a table and a registration", c.name, n, services)
		if n > c.most || n < 1 {
			t.Errorf("%s: %d connections, not up to %d", c.name, n, c.most)
		}
		if diff := float64(n) - shown; diff > 5 || diff < -5 { // they come and go between the two
			t.Errorf("%s: the metric says %v connections, the kernel %d", c.name, shown, n)
		}
		a.Kill()
	}
}
