package door

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
	"argosy/internal/tlsfiles"
)

// Peers are the TLS side of a door: its own certificate, and who its clients are.
type Peers struct {
	// TLS is for accepting. Where clients may come without a certificate its VerifyConnection has to let them pass.
	TLS *tls.Config
	// Verify is asked with each request whether the client's certificate, of which there is one at least, is good now: one that
	// ends, or whose authority is not trusted any more, ends the rights of connections that are open.
	Verify func(tls.ConnectionState) error
	// Name is what a verified certificate calls the client.
	Name func(tls.ConnectionState) string
}

// FilePeers are from files, which are read again when they change. It returns nil where there is no TLS.
func FilePeers(t *settings.DoorTLS, logger hclog.Logger) (*Peers, error) {
	if t == nil {
		return nil, nil
	}
	files, err := tlsfiles.New(t.CertFile, t.KeyFile, t.ClientCAFile)
	if err != nil {
		return nil, err
	}
	if logger != nil {
		files.SetLogger(logger)
	}
	return &Peers{
		TLS: files.Server(!t.Required),
		Verify: func(s tls.ConnectionState) error {
			return tlsfiles.VerifyChain(s.PeerCertificates, files.Roots(), x509.ExtKeyUsageClientAuth, "")
		},
		Name: func(s tls.ConnectionState) string { return CertificateName(s.PeerCertificates[0]) },
	}, nil
}

// identify returns the name of a client that has shown a certificate.
func (p *Peers) identify(s tls.ConnectionState) (string, error) {
	if err := p.Verify(s); err != nil {
		return "", fmt.Errorf("client certificate: %w", err)
	}
	return p.Name(s), nil
}

// CertificateName is what a client's certificate calls it: its common name, else its first URI or DNS name.
func CertificateName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	}
	return "a certificate without a name"
}
