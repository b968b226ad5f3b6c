package consulclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// tlsMaker makes the TLS part of connections to Consul. The files may be replaced while we run: each new connection goes
// by what is in them then, and by what was in them last where that is no good. Its methods may be called from any
// goroutine.
type tlsMaker struct {
	settings api.TLSConfig

	mu     sync.Mutex
	config *tls.Config
	seen   []os.FileInfo
}

func newTLSMaker(c, environment api.TLSConfig) (*tlsMaker, error) {
	if c.Address == "" {
		c.Address = environment.Address
	}
	c.InsecureSkipVerify = environment.InsecureSkipVerify
	if c.CAFile == "" {
		c.CAFile, c.CAPath = environment.CAFile, environment.CAPath
	}
	if c.CertFile == "" {
		c.CertFile, c.KeyFile = environment.CertFile, environment.KeyFile
	}
	m := &tlsMaker{settings: c}
	var err error
	m.seen = m.files()
	m.config, err = m.load()
	return m, err
}

func (m *tlsMaker) load() (*tls.Config, error) {
	t, err := api.SetupTLSConfig(&m.settings)
	if err != nil {
		return nil, err
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	t.NextProtos = []string{"h2", "http/1.1"}
	return t, nil
}

// files is the state of the files that the settings name; nil for one that is not there.
func (m *tlsMaker) files() []os.FileInfo {
	s := m.settings
	paths := slices.DeleteFunc([]string{s.CAFile, s.CAPath, s.CertFile, s.KeyFile}, func(p string) bool { return p == "" })
	if s.CAPath != "" { // the folder itself does not change with what is in its files
		inside, _ := filepath.Glob(filepath.Join(s.CAPath, "*"))
		paths = append(paths, inside...)
	}
	all := make([]os.FileInfo, len(paths))
	for i, p := range paths {
		all[i], _ = os.Stat(p)
	}
	return all
}

// current is the configuration for a connection that begins now.
func (m *tlsMaker) current() *tls.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.files()
	same := func(a, b os.FileInfo) bool { return a == nil && b == nil || a != nil && b != nil && sameFile(a, b) }
	if !slices.EqualFunc(now, m.seen, same) {
		// A certificate without its key yet is looked at again with the next connection.
		if t, err := m.load(); err == nil {
			m.config, m.seen = t, now
		}
	}
	return m.config
}

// dial makes a connection over one that connect makes.
func (m *tlsMaker) dial(connect dial) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := connect(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t := m.current()
		if t.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				host = address
			}
			t = t.Clone()
			t.ServerName = host
		}
		c := tls.Client(raw, t)
		ctx, cancel := context.WithTimeoutCause(ctx, tlsTimeout, fmt.Errorf("no TLS handshake within %v", tlsTimeout))
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return c, nil
	}
}

// tlsTimeout bounds the handshake with Consul.
const tlsTimeout = 10 * time.Second
