package web

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// TLS is how a server proves itself to the proxies, and whom it expects there.
type TLS struct{ config *tls.Config }

// LoadTLS reads certificate, key and authority from files. service is the SPIFFE service that must answer, as the last
// part of the id in the answering certificate. Without certFile no certificate is offered.
func LoadTLS(certFile, keyFile, caFile, service string) (*TLS, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read authority: %s holds no certificate", caFile)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Connect's certificates name services, not hosts: chain and name are checked below instead.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verify(s, roots, service) },
	}
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return &TLS{c}, nil
}

func (t *TLS) client(c net.Conn) *tls.Conn { return tls.Client(c, t.config) }

// Config returns the client side's configuration.
func (t *TLS) Config() *tls.Config { return t.config.Clone() }

func verify(s tls.ConnectionState, roots *x509.CertPool, service string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("server has no certificate")
	}
	leaf := s.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return err
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe" || !strings.HasSuffix(leaf.URIs[0].Path, "/svc/"+service) {
		return fmt.Errorf("server is %v, not service %q", leaf.URIs, service)
	}
	return nil
}
