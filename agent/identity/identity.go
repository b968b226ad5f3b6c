// Package identity is who an agent is to its peers, and whom it trusts: a Consul Connect service whose certificate,
// roots and intentions are kept live, or certificates from files that are read again when they change.
//
// Peers are checked in tls.Config.VerifyConnection, which crypto/tls also calls for resumed sessions: VerifyPeerCertificate
// alone would let a client in that was denied after it got a ticket. Connect services hand out no tickets at all.
package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"argosy/internal/tlsfiles"
	"argosy/namer"
)

// Why a handshake was refused. errors.Is tells them apart, on the side that refused; the other side sees an alert.
var (
	// ErrDenied: the peer is who it says, and may not connect.
	ErrDenied = errors.New("denied")
	// ErrPeer: the peer did not prove that it is anybody we know, or the one we wanted.
	ErrPeer = errors.New("peer's certificate is not accepted")
	// ErrNotReady: we have no valid certificate, no roots, or no rules yet.
	ErrNotReady = errors.New("identity is not ready")
)

// Identity is one end of TLS connections. Its methods may be called from any goroutine.
type Identity interface {
	// Run keeps the identity live until ctx ends; then it returns nil. Errors on the way are logged and retried, and
	// what is known stays in use.
	Run(ctx context.Context) error
	// Ready returns nil when connections can be accepted and made, and else an ErrNotReady that says what is missing.
	Ready() error
	// Server is the configuration for accepting connections: it always uses the newest certificate and rules, and offers no
	// ALPN protocol. Handshakes fail while the identity is not ready.
	Server() *tls.Config
	// Client is the configuration for a connection to the service expect, whose identity the server must prove.
	Client(expect namer.ConnectID) (*tls.Config, error)
	// Name is the service's name, or what the certificate says.
	Name() string
}

// PeerName names the peer of a connection for logs: its Connect service, else its SPIFFE id, its common name or its
// first DNS name. It is empty for a peer without a certificate. It does not verify anything.
func PeerName(s tls.ConnectionState) string {
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	return certificateName(s.PeerCertificates[0])
}

// PeerSubject returns the common name and the SPIFFE id in the peer's certificate; what is not there is empty, and so is the
// id where there are several. It does not verify anything.
func PeerSubject(s tls.ConnectionState) (commonName, spiffeID string) {
	if len(s.PeerCertificates) == 0 {
		return "", ""
	}
	c := s.PeerCertificates[0]
	if len(c.URIs) == 1 && c.URIs[0].Scheme == "spiffe" {
		spiffeID = c.URIs[0].String()
	}
	return c.Subject.CommonName, spiffeID
}

func certificateName(c *x509.Certificate) string {
	for _, u := range c.URIs {
		if id, err := parseID(u); err == nil {
			return id.Service
		}
		if u.Scheme == "spiffe" {
			return u.String()
		}
	}
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return ""
}

// verifyChain is tlsfiles.VerifyChain with an error that is an ErrPeer.
func verifyChain(certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, dnsName string) error {
	if err := tlsfiles.VerifyChain(certs, roots, usage, dnsName); err != nil {
		return fmt.Errorf("%w: %w", ErrPeer, err)
	}
	return nil
}

// validNow returns an error for a certificate that has ended or not begun.
func validNow(c *x509.Certificate) error { return validAt(c, time.Now()) }

func validAt(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%w: certificate ended at %s", ErrNotReady, c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("%w: certificate begins at %s", ErrNotReady, c.NotBefore.Format(time.RFC3339))
	}
	return nil
}
