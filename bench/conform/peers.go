package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// peer is a proxy that can be started. All get the same: 2 s to connect, no second attempt, no end of idle connections,
// half-closes where there is a setting for them.
type peer struct {
	name      string
	plainOnly bool // has TLS where it has it
	consul    bool // needs Consul
	version   func(context.Context) (string, error)
	start     func(place) ([]*stack.Proc, error)
}

func peers() []peer {
	return []peer{
		{name: "argosy", version: ours, start: startArgosy("loop")},
		{name: "argosy-goroutines", version: ours, start: startArgosy("goroutines")},
		{name: "haproxy", version: firstLine("haproxy", "-v"), start: startHAProxy},
		{name: "nginx", version: firstLine("nginx", "-v"), start: startNginx},
		{name: "consul", plainOnly: true, consul: true, version: consulVersion, start: startConsulProxies},
	}
}

func chooseProxies(names string) ([]peer, error) {
	all := peers()
	if names == "" {
		return all, nil
	}
	var chosen []peer
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(p peer) bool { return p.name == strings.TrimSpace(name) })
		if i < 0 {
			var known []string
			for _, p := range all {
				known = append(known, p.name)
			}
			return nil, fmt.Errorf("there is no proxy %q, only %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func ours(context.Context) (string, error) { return "from this tree", nil }

// program finds a program that may be where only root looks for it.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	return path, err
}

// firstLine makes a version of what a program prints first.
func firstLine(name string, args ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		path, err := program(name)
		if err != nil {
			return "", err
		}
		out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		if err != nil {
			return "", err
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line, nil
	}
}

func consulVersion(ctx context.Context) (string, error) {
	path, err := servers.Locate(ctx, servers.Consul, nil)
	if err != nil {
		return "", err
	}
	return firstLine(path, "version")(ctx)
}

// configured writes a configuration and starts a program with it.
func (p place) configured(name, path, text string, args ...string) ([]*stack.Proc, error) {
	file := p.stack.Path(name + ".conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	proc, err := p.stack.Go(name, path, append(args, file))
	return []*stack.Proc{proc}, err
}

func startArgosy(engine string) func(place) ([]*stack.Proc, error) {
	return func(p place) ([]*stack.Proc, error) {
		var in, out string
		if p.in {
			in = fmt.Sprintf("  tls {\n    cert_file = %q\n    key_file  = %q\n  }\n", p.certs+"/target.pem", p.certs+"/target-key.pem")
		}
		if p.out {
			out = fmt.Sprintf("  tls {\n    server_name = \"backend.test\"\n    ca_file     = %q\n  }\n", p.certs+"/ca.pem")
		}
		return p.configured("argosy", p.argosy, fmt.Sprintf(`admin { address = %q }
log { level = "warn" }
relay { engine = %q }
dtab { static = "/svc => /#/static" }
namer "static" {
  services = { backend = [%q] }
}
listener "conform" {
  address     = %q
  destination = "/svc/backend"
%s}
client "/" {
  connect_timeout = "2s"
  retries         = 0
%s}
`, p.stack.Addr(), engine, p.backend, p.target, in, out), "agent", "-config")
	}
}

func startHAProxy(p place) ([]*stack.Proc, error) {
	path, err := program("haproxy")
	if err != nil {
		return nil, err
	}
	var in, out string
	if p.in {
		both := ""
		for _, f := range []string{"target.pem", "target-key.pem"} {
			text, err := os.ReadFile(filepath.Join(p.certs, f))
			if err != nil {
				return nil, err
			}
			both += string(text)
		}
		if err := os.WriteFile(filepath.Join(p.certs, "both.pem"), []byte(both), 0o600); err != nil {
			return nil, err
		}
		in = " ssl crt " + p.certs + "/both.pem"
	}
	if p.out {
		out = " ssl verify required sni str(backend.test) verifyhost backend.test ca-file " + p.certs + "/ca.pem"
	}
	return p.configured("haproxy", path, fmt.Sprintf(`global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  option splice-auto
  retries 0
  timeout connect 2s
  timeout client 1h
  timeout server 1h
frontend conform
  bind %s%s
  default_backend conform
backend conform
  server backend %s%s
`, p.target, in, p.backend, out), "-db", "-f")
}

func startNginx(p place) ([]*stack.Proc, error) {
	path, err := program("nginx")
	if err != nil {
		return nil, err
	}
	var load, ssl, in, out string
	if module := "/usr/lib/nginx/modules/ngx_stream_module.so"; exists(module) { // Debian's
		load = "load_module " + module + ";\n"
	}
	if p.in {
		ssl = " ssl"
		in = fmt.Sprintf("    ssl_certificate %s/target.pem;\n    ssl_certificate_key %[1]s/target-key.pem;\n", p.certs)
	}
	if p.out {
		out = fmt.Sprintf("    proxy_ssl on;\n    proxy_ssl_verify on;\n    proxy_ssl_name backend.test;\n"+
			"    proxy_ssl_server_name on;\n    proxy_ssl_trusted_certificate %s/ca.pem;\n", p.certs)
	}
	return p.configured("nginx", path, fmt.Sprintf(`%sdaemon off;
worker_processes 2;
pid %s;
error_log stderr warn;
events { worker_connections 4096; }
stream {
  server {
    listen %s%s;
%s    proxy_pass %s;
    proxy_connect_timeout 2s;
    proxy_timeout 1h;
    proxy_half_close on;
%s  }
}
`, load, p.stack.Path("nginx.pid"), p.target, ssl, in, p.backend, out), "-e", "stderr", "-c")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// startConsulProxies starts two proxies as Consul's mesh has them: one for the client, which speaks TLS with certificates
// on both sides to one before the backend.
func startConsulProxies(p place) ([]*stack.Proc, error) {
	path, err := servers.Locate(context.Background(), servers.Consul, nil)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(p.target, ":")
	server, err := p.stack.Go("consul-server", path, []string{"connect", "proxy", "-service", "backend",
		"-service-addr", p.backend, "-listen", p.stack.Addr(), "-register", "-log-level", "warn"})
	if err != nil {
		return nil, err
	}
	client, err := p.stack.Go("consul-client", path, []string{"connect", "proxy", "-service", "client",
		"-upstream", "backend:" + port, "-log-level", "warn"})
	return []*stack.Proc{server, client}, err
}
