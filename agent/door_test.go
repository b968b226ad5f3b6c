package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/internal/devca"
	"argosy/internal/settings"
)

// adminClient trusts the CA, shows the certificate if there is one, and connects a Unix socket if there is a path.
func adminClient(t *testing.T, ca []byte, certificate *tls.Certificate, unix string) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca)
	if certificate != nil {
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	if unix != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", unix)
		}
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: transport}
}

// status of a request with a token; 0 if there was no answer.
func status(t *testing.T, h *http.Client, method, url, token string) int {
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
		t.Logf("%s %s: %v", method, url, err)
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// A reload changes who may use the admin endpoint, on the same socket; one that fails changes nothing.
func TestReloadOfTheDoor(t *testing.T) {
	b := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"one": {b.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/one")}
	p := startAgent(t, cfg)
	address := p.agent.AdminAddress()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "argosy", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	h := adminClient(t, ca.PEM(), nil, "")
	expect := func(step string, want map[string]int) {
		t.Helper()
		for request, code := range want {
			f := strings.Fields(request)
			token := ""
			if len(f) > 1 {
				token = f[1]
			}
			if got := status(t, h, "GET", f[0]+"://"+address+"/v1/config", token); got != code {
				t.Errorf("%s: %s: %d, want %d", step, request, got, code)
			}
		}
		if got := p.agent.AdminAddress(); got != address {
			t.Errorf("%s: the admin endpoint went to %s", step, got)
		}
	}
	reload := func(edit func(*config.Config)) error {
		cfg = edited(cfg, edit)
		return p.agent.Reload(cfg)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	token := func(secret string) []settings.DoorToken {
		return []settings.DoorToken{{Name: "t", Secret: settings.NewSecret(secret), Write: true}}
	}
	expect("at first", map[string]int{"http": 200})
	must(reload(func(c *config.Config) { c.Admin.Tokens = token("first") }))
	expect("with a token", map[string]int{"http": 401, "http first": 200, "http second": 401})
	before := cfg
	if err := reload(func(c *config.Config) {
		c.Admin.Tokens = token("second")
		c.Listeners = append(c.Listeners, listenerTo("more", "/svc/one"))
		c.Listeners[1].Address = address // which is taken
	}); err == nil {
		t.Error("two listen on one address")
	}
	expect("after a failure", map[string]int{"http": 401, "http first": 200, "http second": 401})
	cfg = before
	must(reload(func(c *config.Config) {
		c.Admin.TLS = &settings.DoorTLS{CertFile: files.Cert, KeyFile: files.Key}
	}))
	expect("with TLS", map[string]int{"http first": 400, "https": 401, "https first": 200})
	if got := p.agent.AdminURL(); got != "https://"+address {
		t.Errorf("URL %s", got)
	}
	must(reload(func(c *config.Config) { c.Admin.TLS, c.Admin.Tokens = nil, nil }))
	expect("in the end", map[string]int{"http": 200, "https": 0})
}

// A new process takes the Unix socket of the admin endpoint over: somebody answers all the time, and the file stays until the last
// one has left.
func TestSuccessionAtAUnixSocket(t *testing.T) {
	b := startBackend(t, "one")
	folder := t.TempDir()
	path := filepath.Join(folder, "admin.sock")
	cfg := baseConfig(map[string][]string{"one": {b.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/one")}
	cfg.Admin = config.Admin{Network: "unix", Address: path, Mode: 0o600}
	cfg.Handover = filepath.Join(folder, "handover")
	h := adminClient(t, nil, nil, path)
	answers := func() {
		t.Helper()
		if got := status(t, h, "GET", "http://localhost/health", ""); got != 200 {
			t.Errorf("the health: %d", got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
	first := startAgent(t, cfg)
	answers()
	eventually(t, "the sockets are offered", func() bool {
		_, err := os.Stat(cfg.Handover)
		return err == nil
	})
	second := startAgent(t, cfg)
	answers()
	first.wait()
	answers()
	second.leave()
	second.wait()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
