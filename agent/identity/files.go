package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/backoff"
	"argosy/namer"
)

// Files is an identity from PEM files. While Run runs, they are read again every few seconds; files that do not go
// together, as in the middle of a replacement, change nothing.
type Files struct {
	paths  [3]string // certificate, key, CA; empty where not given
	every  time.Duration
	logger hclog.Logger
	state  atomic.Pointer[fileState]
}

// fileState is what the files said when they were last good. It is never changed.
type fileState struct {
	raw  [3][]byte
	cert *tls.Certificate // nil: none
	pool *x509.CertPool   // nil: the system's roots, and no client certificates asked for
	own  string           // trust domain of the certificate's SPIFFE id, if it has one
}

// NewFiles reads the files. Without certFile and keyFile the identity can only be a client, one without a certificate.
// With caFile, servers must have certificates signed by it, and so must clients; without, servers are verified by the
// system's roots, and clients need no certificate.
func NewFiles(certFile, keyFile, caFile string) (*Files, error) {
	if (certFile == "") != (keyFile == "") {
		return nil, errors.New("TLS files: a certificate needs a key, and a key a certificate")
	}
	f := &Files{paths: [3]string{certFile, keyFile, caFile}, every: 5 * time.Second, logger: hclog.NewNullLogger()}
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	f.state.Store(s)
	return f, nil
}

// SetLogger makes Run log when files change, or cannot be used. It is called before Run.
func (f *Files) SetLogger(l hclog.Logger) { f.logger = l }

func (f *Files) read() (*fileState, error) {
	s := &fileState{}
	for i, path := range f.paths {
		if path == "" {
			continue
		}
		var err error
		if s.raw[i], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("TLS files: %w", err)
		}
	}
	if f.paths[0] != "" {
		cert, err := tls.X509KeyPair(s.raw[0], s.raw[1])
		if err != nil {
			return nil, fmt.Errorf("TLS files: %s with %s: %w", f.paths[0], f.paths[1], err)
		}
		s.cert = &cert
		if id, err := certificateID(cert.Leaf); err == nil {
			s.own = id.TrustDomain
		}
	}
	if f.paths[2] != "" {
		s.pool = x509.NewCertPool()
		if !s.pool.AppendCertsFromPEM(s.raw[2]) {
			return nil, fmt.Errorf("TLS files: %s has no certificate in it", f.paths[2])
		}
	}
	return s, nil
}

// Run reads the files again and again until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	failing := false
	for backoff.Sleep(ctx, f.every) == nil {
		changed, err := f.reload()
		switch {
		case err != nil && !failing:
			f.logger.Warn("changed TLS files cannot be used: the old ones stay in use", "error", err)
		case changed:
			f.logger.Info("read changed TLS files", "name", f.Name())
		}
		failing = err != nil
	}
	return nil
}

// reload takes the files over if they have changed and are good.
func (f *Files) reload() (changed bool, err error) {
	s, err := f.read()
	if err != nil {
		return false, err
	}
	old := f.state.Load()
	for i := range s.raw {
		changed = changed || !bytes.Equal(s.raw[i], old.raw[i])
	}
	if changed {
		f.state.Store(s)
	}
	return changed, nil
}

// Ready returns an error when the certificate has ended or not begun.
func (f *Files) Ready() error {
	if cert := f.state.Load().cert; cert != nil {
		return validNow(cert.Leaf)
	}
	return nil
}

// Name is what the certificate says: its Connect service, common name or DNS name.
func (f *Files) Name() string {
	if cert := f.state.Load().cert; cert != nil {
		return certificateName(cert.Leaf)
	}
	return ""
}

// Server implements Identity. With a CA, clients must have certificates that it signed.
func (f *Files) Server() *tls.Config {
	t := base()
	t.SessionTicketsDisabled = true
	t.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := f.state.Load().cert
		if cert == nil {
			return nil, fmt.Errorf("%w: a server needs a certificate", ErrNotReady)
		}
		return cert, nil
	}
	if f.paths[2] != "" {
		t.ClientAuth = tls.RequireAnyClientCert
		t.VerifyConnection = func(s tls.ConnectionState) error {
			return verifyChain(s.PeerCertificates, f.state.Load().pool, x509.ExtKeyUsageClientAuth, "")
		}
	}
	return t
}

// Client implements Identity: the server must have a certificate with the SPIFFE id of the service expect, in our own
// trust domain if our certificate has one. An empty datacenter stands for any.
func (f *Files) Client(expect namer.ConnectID) (*tls.Config, error) {
	if expect.Service == "" {
		return nil, errors.New("no service is expected: the server cannot be verified")
	}
	t := f.client()
	t.ServerName = expect.Service
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		s := f.state.Load()
		if err := verifyChain(cs.PeerCertificates, s.pool, x509.ExtKeyUsageServerAuth, ""); err != nil {
			return err
		}
		id, err := certificateID(cs.PeerCertificates[0])
		if err != nil {
			return err
		}
		if id.Service != expect.Service || expect.Datacenter != "" && id.Datacenter != expect.Datacenter || s.own != "" && id.TrustDomain != s.own {
			return fmt.Errorf("%w: it is %s, not service %s of datacenter %q", ErrPeer, id, expect.Service, expect.Datacenter)
		}
		return nil
	}
	return t, nil
}

// ClientNamed is the configuration for a connection to a server whose certificate must have that DNS name or IP
// address.
func (f *Files) ClientNamed(serverName string) (*tls.Config, error) {
	if serverName == "" {
		return nil, errors.New("no server name: the server cannot be verified")
	}
	t := f.client()
	t.ServerName = serverName
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		return verifyChain(cs.PeerCertificates, f.state.Load().pool, x509.ExtKeyUsageServerAuth, serverName)
	}
	return t, nil
}

func (f *Files) client() *tls.Config {
	t := base()
	t.InsecureSkipVerify = true // so that changed roots count at once; all is verified in VerifyConnection
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert := f.state.Load().cert; cert != nil {
			return cert, nil
		}
		return &tls.Certificate{}, nil
	}
	return t
}
