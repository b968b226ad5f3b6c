package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Base is what all configurations have in common. Of TLS 1.2 it takes the suites with forward secrecy and
// authenticated encryption, as Consul Connect's own proxies do; TLS 1.3 has no others.
func Base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Small records at the start help browsers; a relay's bytes are needed by programs, and full records cost less.
		DynamicRecordSizingDisabled: true,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// VerifyChain checks that certs, as a peer sent them, lead from its own certificate to a root, and that it may be used
// as usage. Nil roots are those of the system. What the peer sent beyond its own certificate may help: after a rotation
// Connect's leaves come with the new root signed by the old one. name is checked unless it is empty.
func VerifyChain(certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, name string) error {
	_, err := Chains(certs, roots, usage, name)
	return err
}

// Chains is VerifyChain that also returns the ways from the peer's certificate to a root, both included.
func Chains(certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, name string) ([][]*x509.Certificate, error) {
	return chains(certs, x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, DNSName: name})
}

// ChainsAt is Chains at another time than now, without a name.
func ChainsAt(at time.Time, certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	return chains(certs, x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: at})
}

func chains(certs []*x509.Certificate, o x509.VerifyOptions) ([][]*x509.Certificate, error) {
	if len(certs) == 0 {
		return nil, errors.New("it sent none")
	}
	o.Intermediates = x509.NewCertPool()
	for _, c := range certs[1:] {
		o.Intermediates.AddCert(c)
	}
	return certs[0].Verify(o)
}

// Server is the configuration of an HTTP server that looks for changed files by itself. With roots, clients show a
// certificate that one of them has signed; where it is optional they may show none.
func (f *Files) Server(optional bool) *tls.Config {
	t := Base()
	t.NextProtos = []string{"http/1.1"}
	t.SessionTicketsDisabled = true // whom a changed root does not know is not to come back with a ticket
	t.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return f.fresh().Choose(h) }
	if !f.HasRoots() {
		return t
	}
	t.ClientAuth = tls.RequireAnyClientCert
	if optional {
		t.ClientAuth = tls.RequestClientCert
	}
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if optional && len(s.PeerCertificates) == 0 {
			return nil
		}
		return VerifyChain(s.PeerCertificates, f.fresh().Roots, x509.ExtKeyUsageClientAuth, "")
	}
	return t
}

// Client is the configuration of a client that looks for changed files by itself. The server must have a certificate for
// the DNS name or IP address name, signed by one of our roots; without roots, by one of the system's.
func (f *Files) Client(name string) *tls.Config {
	t := Base()
	t.ServerName = name
	t.InsecureSkipVerify = true // so that changed roots count at once; all is verified in VerifyConnection
	t.VerifyConnection = func(s tls.ConnectionState) error {
		return VerifyChain(s.PeerCertificates, f.fresh().Roots, x509.ExtKeyUsageServerAuth, name)
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert := f.fresh().first(); cert != nil {
			return cert, nil
		}
		return &tls.Certificate{}, nil
	}
	return t
}
