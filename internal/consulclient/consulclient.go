// Package consulclient makes clients for Consul's HTTP API from settings. It is the only place that does.
package consulclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// Consul answers at most 200 connections of one address (http_max_conns_per_client), so that a process with very many
// watches must not use them all up; registration and other short requests have connections of their own.
const (
	maxBlocking = 128
	maxShared   = 40 // Consul has 250 requests on each
	maxPlain    = 20
	maxIdle     = 8
	idleTimeout = 90 * time.Second
	dialTimeout = 5 * time.Second

	pingAfter   = 20 * time.Second // an HTTP/2 connection on which nothing came is tried
	pingTimeout = 10 * time.Second

	largestAnswer = 32 << 20 // bytes; what answers more is not Consul
	smallAnswer   = 1 << 20  // bytes; what is larger is read while it has a turn,
	largeTurns    = 1        // so that not all requests at once can fill the memory
)

// Link tells how requests travel to one Consul. It may be used from any goroutine.
type Link struct {
	multiplexed atomic.Bool
	tokens      atomic.Uint64
}

// Multiplexed reports whether very many requests can wait at Consul at a time: over HTTPS it speaks HTTP/2, where they
// share a few connections. It is false before the first answer.
func (l *Link) Multiplexed() bool { return l.multiplexed.Load() }

// Tokens is another number when requests carry another token than before: one from a file that has changed. That is seen
// by the request that follows the change.
func (l *Link) Tokens() uint64 { return l.tokens.Load() }

// New makes a client. What s leaves open comes from the environment variables that Consul's own commands use, such as
// CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN_FILE. A token file is read again whenever it has changed.
//
// A request whose context has no deadline and that does not block is given s.Timeout (10s unless set). An answer 429
// or 503 that carries Retry-After becomes an error with the method RetryAfter() time.Duration.
func New(s settings.Consul) (*api.Client, error) {
	client, _, err := NewLinked(s)
	return client, err
}

// NewLinked is New, and returns the client's link.
func NewLinked(s settings.Consul) (*api.Client, *Link, error) {
	c := &api.Config{
		Address:    s.Address,
		Datacenter: s.Datacenter,
		Token:      s.Token.Reveal(),
		TLSConfig:  api.TLSConfig{CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile},
	}
	environment := api.DefaultConfig()
	c.HttpAuth = environment.HttpAuth
	if c.Address == "" {
		c.Address = environment.Address
	}
	if c.Address == "localhost:8500" { // Consul's default, where localhost may also be ::1 and Consul is not
		c.Address = "127.0.0.1:8500"
	}
	var socket string
	if rest, ok := strings.CutPrefix(c.Address, "unix://"); ok {
		socket, c.Address = rest, "localhost"
	}
	tlsConfig, err := tlsConfig(c.TLSConfig, environment.TLSConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("set up TLS to Consul: %w", err)
	}

	var token *tokenFile
	if path := tokenPath(s, environment); path != "" {
		token = &tokenFile{path: path}
		if c.Token, err = token.read(); err != nil {
			return nil, nil, fmt.Errorf("read the Consul token: %w", err)
		}
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	link := &Link{}
	c.HttpClient = &http.Client{Transport: &transport{
		blocking: pool(socket, tlsConfig, maxBlocking),
		shared:   pool(socket, tlsConfig, maxShared),
		plain:    pool(socket, tlsConfig, maxPlain),
		token:    token,
		timeout:  timeout,
		turns:    make(chan struct{}, largeTurns),
		link:     link,
	}}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, nil, fmt.Errorf("make a Consul client: %w", err)
	}
	return client, link, nil
}

// tokenPath says which file holds the token. What is configured goes before the environment.
func tokenPath(s settings.Consul, environment *api.Config) string {
	if s.TokenFile != "" {
		return s.TokenFile
	}
	if !s.Token.IsZero() {
		return ""
	}
	return environment.TokenFile
}

func tlsConfig(c, environment api.TLSConfig) (*tls.Config, error) {
	c.Address, c.CAPath = environment.Address, environment.CAPath
	c.InsecureSkipVerify = environment.InsecureSkipVerify
	if c.CAFile == "" {
		c.CAFile = environment.CAFile
	} else {
		c.CAPath = ""
	}
	if c.CertFile == "" {
		c.CertFile, c.KeyFile = environment.CertFile, environment.KeyFile
	}
	t, err := api.SetupTLSConfig(&c)
	if err == nil && t.MinVersion < tls.VersionTLS12 {
		t.MinVersion = tls.VersionTLS12
	}
	return t, err
}

// pool makes a transport that holds on to a bounded number of connections.
func pool(socket string, t *tls.Config, connections int) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	dial := dialer.DialContext
	if socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       t,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxConnsPerHost:       connections,
		MaxIdleConnsPerHost:   maxIdle,
		MaxIdleConns:          maxIdle,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// readToken reads a token without the white space around it.
func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}
