// Package consulclient makes clients for Consul's HTTP API from settings. It is the only place that does.
package consulclient

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// Consul answers at most 200 connections of one address (http_max_conns_per_client), so that a process with very many
// watches must not use them all up; registration and other short requests have connections of their own.
const (
	maxWatches  = 96 // while one configuration gives way to the next, there are the watches of both, some of which wait
	maxSteady   = 40
	maxShared   = 40 // Consul has 250 requests on each
	maxPlain    = 20
	maxReserved = 4 // without a leader each of these requests takes its time
	maxIdle     = 4 // of each of these
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
// by the request that follows the change, and by those that wait within a second.
func (l *Link) Tokens() uint64 { return l.tokens.Load() }

// New makes a client. What s leaves open comes from the environment variables that Consul's own commands use, such as
// CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN_FILE. A token file is read again whenever it has changed, and requests that wait
// at Consul go on with the new token; certificate files are read again for new connections.
//
// A request whose context has no deadline and that does not block is given s.Timeout (10s unless set). An answer 429
// or 503 that carries Retry-After becomes an error with the method RetryAfter() time.Duration. A refusal (403) says which
// rule the token's policy lacks.
func New(s settings.Consul) (*api.Client, error) {
	client, _, err := newClient(s, nil)
	return client, err
}

// NewLinked is New, and returns the client's link.
func NewLinked(s settings.Consul) (*api.Client, *Link, error) { return newClient(s, nil) }

func newClient(s settings.Consul, a *alarm) (*api.Client, *Link, error) {
	environment := api.DefaultConfig()
	if err := onlyDefault(environment); err != nil {
		return nil, nil, err
	}
	c := &api.Config{Address: s.Address, Datacenter: s.Datacenter, Token: s.Token.Reveal(), HttpAuth: environment.HttpAuth}
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
	secure, err := newTLSMaker(api.TLSConfig{
		Address: s.ServerName, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}, environment.TLSConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("set up TLS to Consul: %w", err)
	}

	link := &Link{}
	var token *tokenFile
	if path := tokenPath(s, environment); path != "" {
		token = &tokenFile{path: path, changes: &link.tokens}
		if c.Token, err = token.read(); err != nil {
			return nil, nil, fmt.Errorf("read the Consul token: %w", err)
		}
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	pool := func(connections int) *http.Transport { return newPool(dialer(socket, a), secure, connections) }
	c.HttpClient = &http.Client{CheckRedirect: stay, Transport: &transport{
		watches:  pool(maxWatches),
		steady:   pool(maxSteady),
		shared:   pool(maxShared),
		plain:    pool(maxPlain),
		reserved: pool(maxReserved),
		token:    token,
		timeout:  timeout,
		turns:    make(chan struct{}, largeTurns),
		link:     link,
		alarm:    a,
	}}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, nil, fmt.Errorf("make a Consul client: %w", err)
	}
	return client, link, nil
}

// stay follows no redirect, which would take the token along. Consul's API has none.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// onlyDefault refuses what would send requests to another place than all the rest goes by.
func onlyDefault(environment *api.Config) error {
	if ns := environment.Namespace; ns != "" {
		return fmt.Errorf("CONSUL_NAMESPACE is %q: namespaces are a feature of Consul Enterprise, and only the default one is used; unset it", ns)
	}
	if ap := environment.Partition; ap != "" {
		return fmt.Errorf("CONSUL_PARTITION is %q: partitions are a feature of Consul Enterprise, and only the default one is used; unset it", ap)
	}
	return nil
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
