//go:build linux

package proxies

import (
	"context"
	"fmt"
	"strings"

	"argosy/e2e/stack"
)

// peer is a proxy that is compared.
type peer struct {
	name      string
	only      []topology // unless empty
	available func() error
	version   func(context.Context) string
	// start starts one process that does the work of a hop; nil is no proxy at all. The process may have children in its
	// group.
	start func(context.Context, *lab, hop) (*stack.Proc, error)
}

func peers(s Settings) []peer {
	return []peer{
		{name: "direct"},
		argosy("argosy", "loop", s.Argosy),
		argosy("argosy-goroutines", "goroutines", s.Argosy),
		haproxy(),
		nginx(),
		connectProxy(),
	}
}

// argosy is this project, with one of its two engines.
func argosy(name, engine, binary string) peer {
	return peer{
		name: name,
		version: func(ctx context.Context) string {
			return firstLine(ctx, binary, "version")
		},
		start: func(_ context.Context, l *lab, h hop) (*stack.Proc, error) {
			var in, out string
			if h.tlsIn {
				in = fmt.Sprintf("  tls {\n    cert_file = %q\n    key_file = %q\n", l.server.Cert, l.server.Key)
				if h.mutual {
					in += fmt.Sprintf("    client_ca_file = %q\n", l.server.CA)
				}
				in += "    min_version = \"1.3\"\n  }\n"
			}
			if h.tlsOut {
				out = fmt.Sprintf("client \"/\" {\n  tls {\n    server_name = %q\n    ca_file = %q\n    cert_file = %q\n    key_file = %q\n    min_version = \"1.3\"\n  }\n}\n",
					serverName, l.client.CA, l.client.Cert, l.client.Key)
			}
			path, err := l.write(h.name+".hcl", fmt.Sprintf(`admin { address = "127.0.0.1:0" }
log { level = "warn" }
relay { engine = %q }
dtab { static = "/svc => /#/static" }
namer "static" {
  services = { backend = [%q] }
}
listener "bench" {
  address     = %q
  destination = "/svc/backend"
%s}
%s`, engine, h.upstream, h.listen, in, out))
			if err != nil {
				return nil, err
			}
			return l.stack.Go(h.name, binary, []string{"agent", "-config", path})
		},
	}
}

// haproxy has two threads, and is otherwise as its manual would have it in production. It splices where it thinks that it
// is worth it; where all is bulk it is told to, which is cheaper there and dearer elsewhere. It counts the pipes among its open files when it starts; 200 are more than all streams need.
func haproxy() peer {
	return peer{
		name:      "haproxy",
		available: func() error { return available("haproxy", "haproxy") },
		version:   func(ctx context.Context) string { return firstLine(ctx, "haproxy", "-v") },
		start: func(_ context.Context, l *lab, h hop) (*stack.Proc, error) {
			var in, out string
			if h.tlsIn {
				in = " ssl crt " + l.bundles.server
				if h.mutual {
					in += " ca-file " + l.server.CA + " verify required"
				}
			}
			if h.tlsOut {
				out = fmt.Sprintf(" ssl crt %s ca-file %s verify required sni str(%s) verifyhost %s", l.bundles.client, l.client.CA, serverName, serverName)
			}
			splice := "option splice-auto"
			if h.bulk {
				splice = "option splice-request\n  option splice-response"
			}
			path, err := l.write(h.name+".cfg", fmt.Sprintf(`global
  nbthread 2
  maxconn %d
  maxpipes 200
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode tcp
  %s
  option dontlognull
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen bench
  bind %s%s
  server backend %s%s
`, mostConnections(), splice, h.listen, in, h.upstream, out))
			if err != nil {
				return nil, err
			}
			return l.stack.Go(h.name, "haproxy", []string{"-W", "-db", "-f", path})
		},
	}
}

// nginx has two workers that share one socket: with a socket each, a client's few connections may all end up with one of
// them. Where all is bulk it has larger buffers.
func nginx() peer {
	return peer{
		name:      "nginx",
		available: func() error { return available("nginx", "nginx-core libnginx-mod-stream") },
		version:   func(ctx context.Context) string { return firstLine(ctx, "nginx", "-v") },
		start: func(_ context.Context, l *lab, h hop) (*stack.Proc, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid %s;
error_log stderr error;
worker_processes 2;
events { worker_connections %d; }
stream {
  proxy_timeout 1h;
  tcp_nodelay on;
  server {
`, l.stack.Path(h.name+".pid"), 2*mostConnections())
			if h.bulk {
				b.WriteString("    proxy_buffer_size 128k;\n")
			}
			if h.tlsIn {
				fmt.Fprintf(&b, "    listen %s ssl backlog=4096;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n    ssl_protocols TLSv1.3;\n    ssl_session_cache shared:bench:10m;\n",
					h.listen, l.server.Cert, l.server.Key)
				if h.mutual {
					fmt.Fprintf(&b, "    ssl_verify_client on;\n    ssl_client_certificate %s;\n", l.server.CA)
				}
			} else {
				fmt.Fprintf(&b, "    listen %s backlog=4096;\n", h.listen)
			}
			if h.tlsOut {
				fmt.Fprintf(&b, "    proxy_ssl on;\n    proxy_ssl_protocols TLSv1.3;\n    proxy_ssl_name %s;\n    proxy_ssl_server_name on;\n    proxy_ssl_verify on;\n    proxy_ssl_trusted_certificate %s;\n    proxy_ssl_certificate %s;\n    proxy_ssl_certificate_key %s;\n",
					serverName, l.client.CA, l.client.Cert, l.client.Key)
			}
			fmt.Fprintf(&b, "    proxy_pass %s;\n  }\n}\n", h.upstream)
			path, err := l.write(h.name+".conf", b.String())
			if err != nil {
				return nil, err
			}
			return l.stack.Go(h.name, "nginx", []string{"-p", l.stack.Dir, "-c", path, "-e", "stderr"})
		},
	}
}
