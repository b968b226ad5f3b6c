package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/internal/devca"
)

// servers are commands that run in this process until the test ends.
type servers struct {
	t     *testing.T
	ended []chan int
}

// newServers ends all with one SIGTERM: a second one would cut them off.
func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{t: t}
	t.Cleanup(func() {
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		for _, ended := range s.ended {
			if code := <-ended; code != exitOK {
				t.Errorf("exit %d", code)
			}
		}
	})
	return s
}

// start returns what the command says and logs.
func (s *servers) start(command, config string) *syncBuffer {
	s.t.Helper()
	log := &syncBuffer{}
	ended := make(chan int, 1)
	go func() { ended <- run([]string{command, "-config", config}, strings.NewReader(""), log, log) }()
	s.ended = append(s.ended, ended)
	return log
}

// doors are configurations of the three servers; where they listen is the address in their output.
type doorKind struct {
	command, config, address string
	reads, changes           []string // besides /metrics and /health
}

func doorKinds(door string) []doorKind {
	return []doorKind{
		{"agent", `
admin {` + door + `}
dtab { static = "/svc => /$/inet/127.0.0.1" }
listener "a" {
  address     = "127.0.0.1:0"
  destination = "/svc/9"
}
`, `admin (?:https?://|unix:)(\S+)`, []string{
			"/v1/connections", "/v1/connections/1", "/v1/routes", "/v1/explain?name=/svc/9", "/v1/config", "/debug/pprof/", "/", "/v1/../health", "/Health",
		}, []string{"DELETE /v1/connections?listener=none", "DELETE /v1/connections/1", "POST /v1/plan", "POST /health", "PUT /metrics", "OPTIONS /v1/routes"}},
		{"scheduler", `
http {` + door + `}
scrape { targets = ["127.0.0.1:1"] }
`, `scheduler started: http=(?:unix:)?(\S+)`, []string{"/v1/sd", "/v1/policies", "/v1/decisions", "/v1/config", "/debug/pprof/goroutine", "/"},
			[]string{"POST /v1/policies", "DELETE /metrics"}},
		{"namerd", `
http {` + door + `}
store "memory" { namespaces = { default = "/svc => /$/inet/127.0.0.1" } }
`, `serving dtabs: address=(\S+)`, []string{
			"/api/1/dtabs", "/api/1/dtabs/default", "/api/1/bind/default?path=/svc/9", "/api/1/addr/default?path=/$/inet/127.0.0.1/9", "/api/1/resolve/default?path=/svc/9",
			"/api/1/delegate/default?path=/svc/9", "/api/1/explain/default?path=/svc/9", "/api/1/bound-names", "/api/1/history/default", "/v1/config", "/", "/health/../api/1/dtabs", "//health",
		}, []string{"PUT /api/1/dtabs/default", "POST /api/1/dtabs/new", "DELETE /api/1/dtabs/default", "POST /api/1/rollback/default?version=AAAAAAAAAAE=", "POST /health"}},
	}
}

// Each path of each server, read and changed, by each kind of caller. The real commands run.
func TestWhoMayWhat(t *testing.T) {
	ours, others := devcaOf(t), devcaOf(t)
	server, ops, stranger := issued(t, ours, "argosy"), issued(t, ours, "ops"), issued(t, others, "ops")
	const token = "0123456789abcdef-door"
	tokens := writeFile(t, "tokens", token+"\n")
	all := newServers(t)
	for _, k := range doorKinds(`
  address    = "127.0.0.1:0"
  token_file = "` + tokens + `"
  open       = ["/health", "/metrics"]
  tls {
    cert_file      = "` + server.Cert + `"
    key_file       = "` + server.Key + `"
    client_ca_file = "` + server.CA + `"
    client_auth    = "optional"
  }
`) {
		log := all.start(k.command, writeFile(t, k.command+".hcl", k.config))
		base := "https://" + logged(t, log, k.address)[1]
		for _, caller := range []struct {
			name        string
			token       string
			certificate *devca.Files
			may, open   bool
		}{
			{"nothing", "", nil, false, true}, {"a wrong token", token + "x", nil, false, true}, {"a part of the token", token[:16], nil, false, true},
			{"a foreign certificate", "", &stranger, false, false}, {"the token", token, nil, true, true}, {"a certificate", "", &ops, true, true},
			{"a certificate with a wrong token", "x", &ops, false, true},
		} {
			h := httpsClient(t, server.CA, caller.certificate)
			ask := func(method, path string, may bool) {
				t.Helper()
				status, body := request(t, h, method, base+path, caller.token)
				switch {
				case may && (status == 0 || status == 401 || status == 403):
					t.Errorf("%s: %s may not %s %s: %d %s", k.command, caller.name, method, path, status, body)
				case !may && caller.certificate == &stranger && status != 0:
					t.Errorf("%s: %s connects: %s %s: %d", k.command, caller.name, method, path, status)
				case !may && caller.certificate != &stranger && status != 401:
					t.Errorf("%s: %s may %s %s: %d %s", k.command, caller.name, method, path, status, body)
				}
			}
			for _, path := range []string{"/health", "/metrics"} {
				ask("GET", path, caller.open)
				ask("HEAD", path, caller.open)
			}
			for _, path := range k.reads {
				ask("GET", path, caller.may)
			}
			for _, x := range k.changes {
				method, path, _ := strings.Cut(x, " ")
				ask(method, path, caller.may)
			}
		}
		if status, _ := request(t, httpsClient(t, server.CA, nil), "GET", strings.Replace(base, "https", "http", 1)+"/health", token); status == 200 {
			t.Errorf("%s serves without TLS", k.command)
		}
	}
}

// The three servers on Unix sockets: with the permissions that are configured, and gone when the server is.
func TestUnixDoors(t *testing.T) {
	for _, name := range []string{"agent", "scheduler", "namerd"} {
		path := filepath.Join(t.TempDir(), "s.sock")
		t.Run(name, func(t *testing.T) {
			for _, k := range doorKinds("\n  address     = \"unix:" + path + "\"\n  socket_mode = \"0600\"\n") {
				if k.command != name {
					continue
				}
				log := newServers(t).start(k.command, writeFile(t, k.command+".hcl", k.config))
				if got := logged(t, log, k.address)[1]; got != path {
					t.Errorf("it listens on %s", got)
				}
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v %v", info, err)
				}
				if name == "agent" {
					t.Setenv("ARGOSY_ADMIN_ADDRESS", "unix://"+path)
					if code, out, errs := call(t, "", "routes"); code != exitOK || !strings.Contains(out, "LISTENER") {
						t.Errorf("exit %d %s%s", code, out, errs)
					}
				}
			}
		})
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s leaves its socket: %v", name, err)
		}
	}
}

// The commands find their way in by flags and environment, and say what is missing.
func TestCommandsAtTheDoor(t *testing.T) {
	ca := devcaOf(t)
	server, ops := issued(t, ca, "argosy"), issued(t, ca, "ops")
	token := writeFile(t, "tokens", "0123456789abcdef-first\n0123456789abcdef-second\n")
	k := doorKinds(`
  address    = "127.0.0.1:0"
  token_file = "` + token + `"
  tls {
    cert_file      = "` + server.Cert + `"
    key_file       = "` + server.Key + `"
    client_ca_file = "` + server.CA + `"
  }
`)[0]
	address := logged(t, newServers(t).start(k.command, writeFile(t, "agent.hcl", k.config)), k.address)[1]
	for _, test := range []struct {
		args string
		env  []string
		errs string // a part of the complaint; empty: it works
	}{
		{args: "routes|-address|" + address, errs: "agent at http://" + address + ": speaks TLS; say https://"},
		{args: "routes|-address|https://" + address, errs: "certificate signed by unknown authority"},
		{args: "routes|-address|" + address + "|-ca-file|" + server.CA, errs: "401 Unauthorized; ARGOSY_ADMIN_TOKEN_FILE names"},
		{args: "routes|-agent|" + address + "|-ca-file|" + server.CA + "|-token-file|" + token},
		{args: "connections|-admin|" + address + "|-ca-file|" + server.CA + "|-cert-file|" + ops.Cert + "|-key-file|" + ops.Key},
		{args: "connections", env: []string{"ADDRESS=" + address, "CACERT=" + server.CA, "TOKEN_FILE=" + token}},
		{args: "routes|-token-file|/nowhere", env: []string{"ADDRESS=" + address, "CACERT=" + server.CA}, errs: "token file: open /nowhere: no such file"},
		{args: "routes", env: []string{"ADDRESS=" + address, "CACERT=" + server.CA, "CLIENT_CERT=" + ops.Cert, "CLIENT_KEY=" + ops.Key}},
		{args: "dtab|plan|-dtab|/svc => /$/inet/127.0.0.1|-agent|" + address, env: []string{"CACERT=" + server.CA}, errs: "401 Unauthorized"},
		{args: "dtab|plan|-dtab|/svc => /$/inet/127.0.0.1|-agent|" + address + "|-agent-ca-file|" + server.CA + "|-agent-token-file|" + token, errs: "its table is in its configuration"},
		{args: "dtab|explain|/svc/9|-agent|https://" + address + "|-agent-ca-file|" + server.CA + "|-agent-token-file|" + token},
		{args: "routes|-address|ftp://x", errs: "is no URL"},
		{args: "routes|-address|unix:admin.sock", errs: "the path of a socket begins with /"},
	} {
		t.Run(test.args, func(t *testing.T) {
			for _, name := range []string{"ADDRESS", "TOKEN_FILE", "CACERT", "CLIENT_CERT", "CLIENT_KEY"} {
				t.Setenv("ARGOSY_ADMIN_"+name, "")
			}
			for _, e := range test.env {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv("ARGOSY_ADMIN_"+name, value)
			}
			code, out, errs := call(t, "", strings.Split(test.args, "|")...)
			if (code == exitOK) != (test.errs == "") || !strings.Contains(out+errs, test.errs) {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
			if strings.Contains(out+errs, "0123456789abcdef") {
				t.Errorf("it shows the token:\n%s%s", out, errs)
			}
		})
	}
}

func devcaOf(t *testing.T) *devca.CA {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issued(t *testing.T, ca *devca.CA, name string) devca.Files {
	t.Helper()
	files, err := ca.Write(t.TempDir(), name, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// httpsClient shows the certificate also to servers that do not know its CA.
func httpsClient(t *testing.T, ca string, certificate *devca.Files) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if certificate != nil {
		pair, err := tls.LoadX509KeyPair(certificate.Cert, certificate.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// request returns the status, 0 without an answer, and the answer.
func request(t *testing.T, h *http.Client, method, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := h.Do(r)
	if err != nil {
		return 0, fmt.Sprint(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, string(body)
}
