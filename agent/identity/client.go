package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"argosy/internal/tlsfiles"
)

// ClientOptions say whom a client with files expects. One of ServerName, SPIFFEID and Pins is needed.
type ClientOptions struct {
	ServerName string // sent as SNI, and expected in the certificate unless SPIFFEID is set
	SPIFFEID   string // the one URI that the certificate must have
	// Pins are SHA-256 sums of public keys (SubjectPublicKeyInfo), in base64. One of them must be in a chain that leads to
	// a root. Where there is neither a name, nor a SPIFFE id, nor a CA file, they are all that is asked for: the pinned key
	// must be that of the certificate, or of one that the server has sent along and that has signed it, each signed by the
	// next, and none of these has ended.
	Pins       []string
	ALPN       []string // offered
	MinVersion uint16   // tls.VersionTLS12 unless set
}

// ClientWith is the configuration for connections to a server that has to prove what o says. One configuration is good for
// any number of connections.
func (f *Files) ClientWith(o ClientOptions) (*tls.Config, error) {
	if o.ServerName == "" && o.SPIFFEID == "" && len(o.Pins) == 0 {
		return nil, errors.New("no server name: the server cannot be verified")
	}
	var pins pinSet
	for _, p := range o.Pins {
		sum, err := base64.StdEncoding.DecodeString(p)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("the pin %q is no SHA-256 in base64", p)
		}
		pins = append(pins, sum)
	}
	t := f.client()
	t.ServerName = o.ServerName
	t.NextProtos = o.ALPN
	t.MinVersion = max(t.MinVersion, o.MinVersion)
	bare := o.ServerName == "" && o.SPIFFEID == "" && !f.files.HasRoots()
	name := o.ServerName
	if o.SPIFFEID != "" {
		name = ""
	}
	t.VerifyConnection = func(s tls.ConnectionState) error { // also called for sessions that are resumed
		if bare {
			return pins.verify(s.PeerCertificates, time.Now())
		}
		chains, err := tlsfiles.Chains(s.PeerCertificates, f.files.Roots(), x509.ExtKeyUsageServerAuth, name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPeer, err)
		}
		if leaf := s.PeerCertificates[0]; o.SPIFFEID != "" && (len(leaf.URIs) != 1 || leaf.URIs[0].String() != o.SPIFFEID) {
			return fmt.Errorf("%w: it is %s, not %s", ErrPeer, describe(leaf), o.SPIFFEID)
		}
		if len(pins) == 0 {
			return nil
		}
		for _, chain := range chains {
			for _, c := range chain {
				if pins.has(c) {
					return nil
				}
			}
		}
		return errPin
	}
	return t, nil
}

// describe says whose a certificate is, in an error.
func describe(c *x509.Certificate) string {
	switch len(c.URIs) {
	case 0:
		return fmt.Sprintf("%q (without a URI)", certificateName(c))
	case 1:
		return c.URIs[0].String()
	}
	return fmt.Sprintf("%q, with %d URIs", certificateName(c), len(c.URIs))
}

var errPin = fmt.Errorf("%w: none of the keys is pinned", ErrPeer)

// pinSet are SHA-256 sums of public keys.
type pinSet [][]byte

func (p pinSet) has(c *x509.Certificate) bool {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	for _, pin := range p {
		if bytes.Equal(pin, sum[:]) {
			return true
		}
	}
	return false
}

// verify follows the certificates as they were sent up to one whose key is pinned.
func (p pinSet) verify(certs []*x509.Certificate, now time.Time) error {
	for i, c := range certs {
		if now.After(c.NotAfter) || now.Before(c.NotBefore) {
			return fmt.Errorf("%w: certificate %d of %q is not valid now", ErrPeer, i+1, certificateName(c))
		}
		if i > 0 {
			if err := certs[i-1].CheckSignatureFrom(c); err != nil {
				return fmt.Errorf("%w: certificate %d was not signed by the next: %w", ErrPeer, i, err)
			}
		}
		if p.has(c) {
			return nil
		}
	}
	return errPin
}
