package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"argosy/bench/peers/suite"
	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// argosy is the program of this tree, with an agent for each side.
func argosy() suite.Proxy {
	const head = "admin { address = \"127.0.0.1:0\" }\nconsul { address = %q }\ndtab { static = %q }\n"
	start := func(ctx context.Context, s *stack.Stack, name, text string) (*stack.Proc, error) {
		program, err := stack.Build(ctx, "./cmd/argosy")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(s.Path(name+".hcl"), []byte(text), 0o600); err != nil {
			return nil, err
		}
		return s.Go(name, program, []string{"agent", "-config", s.Path(name + ".hcl")})
	}
	accept := func(s *stack.Stack, in suite.Inbound) string {
		return fmt.Sprintf(head+`namer "static" {
  services = { app = [%q] }
}
listener "in" {
  address     = %q
  destination = "/svc/app"
  tls { connect = %q }
}
`, s.Consul.Addr, "/svc => /#/static", in.App, in.Listen, in.Service)
	}
	return suite.Proxy{
		Name: "argosy",
		Accept: func(ctx context.Context, s *stack.Stack, in suite.Inbound) (*stack.Proc, error) {
			return start(ctx, s, in.Name, accept(s, in))
		},
		Move: func(_ context.Context, s *stack.Stack, p *stack.Proc, in suite.Inbound) error {
			if err := os.WriteFile(s.Path(in.Name+".hcl"), []byte(accept(s, in)), 0o600); err != nil {
				return err
			}
			return p.Signal(syscall.SIGHUP)
		},
		Dial: func(ctx context.Context, s *stack.Stack, out suite.Outbound) (*stack.Proc, error) {
			var b strings.Builder
			fmt.Fprintf(&b, head+"namer \"io.l5d.consul\" { connect = true }\nclient \"/\" {\n  tls { connect = %q }\n}\n",
				s.Consul.Addr, "/svc => /#/io.l5d.consul/.local", out.Service)
			for _, service := range slices.Sorted(maps.Keys(out.Services)) {
				fmt.Fprintf(&b, "listener %q {\n  address     = %q\n  destination = \"/svc/%s\"\n}\n", service, out.Services[service], service)
			}
			return start(ctx, s, out.Name, b.String())
		},
	}
}

// consul is the proxy that is built into Consul.
func consul() suite.Proxy {
	start := func(ctx context.Context, s *stack.Stack, name string, args ...string) (*stack.Proc, error) {
		program, err := servers.Locate(ctx, servers.Consul, nil)
		if err != nil {
			return nil, err
		}
		return s.Go(name, program, append([]string{"connect", "proxy"}, args...))
	}
	// It takes its settings from the catalog, and follows them as far as it can.
	register := func(ctx context.Context, s *stack.Stack, in suite.Inbound) error {
		host, port, err := split(in.Listen)
		if err != nil {
			return err
		}
		proxy := map[string]any{
			"DestinationServiceName": in.Service, "Config": map[string]any{"handshake_timeout_ms": 10_000},
		}
		if strings.HasPrefix(in.App, "/") {
			proxy["LocalServiceSocketPath"] = in.App
		} else if proxy["LocalServiceAddress"], proxy["LocalServicePort"], err = split(in.App); err != nil {
			return err
		}
		return s.Consul.Put(ctx, "/v1/agent/service/register", map[string]any{
			"ID": in.Name, "Name": in.Service + "-proxy", "Kind": "connect-proxy", "Address": host, "Port": port, "Proxy": proxy,
		})
	}
	return suite.Proxy{
		Name: "consul",
		Accept: func(ctx context.Context, s *stack.Stack, in suite.Inbound) (*stack.Proc, error) {
			if err := register(ctx, s, in); err != nil {
				return nil, err
			}
			return start(ctx, s, in.Name, "-proxy-id", in.Name)
		},
		Move: func(ctx context.Context, s *stack.Stack, _ *stack.Proc, in suite.Inbound) error {
			return register(ctx, s, in)
		},
		Dial: func(ctx context.Context, s *stack.Stack, out suite.Outbound) (*stack.Proc, error) {
			args := []string{"-service", out.Service}
			for service, addr := range out.Services {
				args = append(args, "-upstream", service+":"+addr)
			}
			return start(ctx, s, out.Name, args...)
		},
	}
}

func split(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}
