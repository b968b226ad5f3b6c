// Package nomadclient makes clients of Nomad's HTTP API the way the rest of the program needs them: from the
// configuration and Nomad's usual environment, with verified TLS, a bounded number of connections, and tokens that may
// be replaced while we run.
package nomadclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"argosy/internal/settings"
)

// MaxConnections is how many connections a client holds at most. Nomad closes those beyond 100 of one address
// (http_max_conns_per_client), and others on this machine want some, too.
const MaxConnections = 80

// New makes a client. What s leaves open comes from the environment variables that Nomad's own commands use, such as
// NOMAD_ADDR and NOMAD_TOKEN. It does not connect.
func New(s settings.Nomad) (*api.Client, error) {
	conf := api.DefaultConfig() // reads the environment
	if s.Address != "" {
		conf.Address = s.Address
	}
	if s.Region != "" {
		conf.Region = s.Region
	}
	if !s.Token.IsZero() {
		conf.SecretID = s.Token.Reveal()
	}
	if s.CAFile != "" {
		conf.TLSConfig.CACert, conf.TLSConfig.CAPath = s.CAFile, ""
	}
	if s.CertFile != "" {
		conf.TLSConfig.ClientCert, conf.TLSConfig.ClientKey = s.CertFile, s.KeyFile
	}
	where := conf.Address
	var socket string
	if rest, ok := strings.CutPrefix(conf.Address, "unix://"); ok {
		socket, conf.Address = rest, "http://localhost"
	}
	if !strings.Contains(conf.Address, "://") {
		conf.Address = "http://" + conf.Address
	}
	conf.HttpClient = &http.Client{Transport: transport(socket)}
	if err := api.ConfigureTLS(conf.HttpClient, conf.TLSConfig); err != nil {
		return nil, fmt.Errorf("set up TLS to Nomad at %s: %w", where, err)
	}
	if s.TokenFile != "" {
		t := &tokens{path: s.TokenFile, next: conf.HttpClient.Transport}
		token, err := t.read()
		if err != nil {
			return nil, fmt.Errorf("read the Nomad token: %w", err)
		}
		t.last = token
		conf.HttpClient.Transport = t
	}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("make a client of Nomad at %s: %w", where, err)
	}
	return client, nil
}

func transport(socket string) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	dial := dialer.DialContext
	if socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxConnsPerHost:     MaxConnections,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}
}

// tokens sends the token that is in a file now.
type tokens struct {
	path string
	next http.RoundTripper

	mu   sync.Mutex
	last string
}

// RoundTrip implements http.RoundTripper. A file that has become unreadable or empty leaves the last token in use: it
// may still be good.
func (t *tokens) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	if token, err := t.read(); err == nil {
		t.last = token
	}
	token := t.last
	t.mu.Unlock()
	r = r.Clone(r.Context())
	r.Header.Set("X-Nomad-Token", token)
	return t.next.RoundTrip(r)
}

func (t *tokens) read() (string, error) {
	secret, err := settings.SecretFromFile(t.path)
	if err == nil && secret.IsZero() {
		err = fmt.Errorf("%s is empty", t.path)
	}
	return secret.Reveal(), err
}
