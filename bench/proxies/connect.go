//go:build linux

package proxies

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// connectProxy is the proxy that is built into Consul, with identities of a real Consul. Each pair has a service of its own.
func connectProxy() peer {
	const name = "consul"
	return peer{
		name: name,
		only: []topology{mTLS},
		version: func(ctx context.Context) string {
			program, err := servers.Locate(ctx, "consul", nil)
			if err != nil {
				return ""
			}
			return firstLine(ctx, program, "version")
		},
		start: func(ctx context.Context, l *lab, h hop) (*stack.Proc, error) {
			program, err := servers.Locate(ctx, "consul", l.settings.Progress)
			if err != nil {
				return nil, err
			}
			args := []string{"connect", "proxy", "-http-addr", l.stack.Consul.URL(), "-log-level", "warn"}
			if !h.tlsIn {
				_, port, err := net.SplitHostPort(h.listen)
				if err != nil {
					return nil, err
				}
				args = append(args, "-service", "bench-client", "-upstream", fmt.Sprintf("bench%d:127.0.0.1:%s", l.connect, port))
				return l.stack.Go(h.name, program, args)
			}
			l.connect++
			service := fmt.Sprintf("bench%d", l.connect)
			_, port, err := net.SplitHostPort(h.listen)
			if err != nil {
				return nil, err
			}
			n, err := strconv.Atoi(port)
			if err != nil {
				return nil, err
			}
			// Without checks an entry is healthy at once.
			for _, entry := range []map[string]any{
				{"Name": service, "Port": 1},
				{"Name": service + "-proxy", "Kind": "connect-proxy", "Address": "127.0.0.1", "Port": n,
					"Proxy": map[string]any{"DestinationServiceName": service}},
			} {
				if err := l.stack.Consul.Put(ctx, "/v1/agent/service/register", entry); err != nil {
					return nil, err
				}
			}
			args = append(args, "-service", service, "-service-addr", h.upstream, "-listen", h.listen)
			return l.stack.Go(h.name, program, args)
		},
	}
}

// firstLine is what a program says about itself, or nothing.
func firstLine(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
