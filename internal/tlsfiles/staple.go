package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// staple is an OCSP response (RFC 6960) about a certificate.
type staple struct {
	cert        *tls.Certificate // with the response in it
	from, until time.Time        // no until: it does not end
}

// newStaple takes a response that says that cert is good. One that has ended is no error: it is not stapled.
func newStaple(der []byte, cert *tls.Certificate) (*staple, error) {
	var issuer *x509.Certificate // nil: the chain does not have it, and the signature is the client's to check
	if len(cert.Certificate) > 1 {
		var err error
		if issuer, err = x509.ParseCertificate(cert.Certificate[1]); err != nil {
			return nil, err
		}
	}
	r, err := ocsp.ParseResponseForCert(der, cert.Leaf, issuer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("OCSP response: %w", err)
	case r.SerialNumber == nil || r.SerialNumber.Cmp(cert.Leaf.SerialNumber) != 0:
		return nil, errors.New("OCSP response: it is about another certificate")
	case r.Status != ocsp.Good:
		return nil, errors.New("OCSP response: it does not say that the certificate is good")
	}
	with := *cert
	with.OCSPStaple = der
	return &staple{cert: &with, from: r.ThisUpdate, until: r.NextUpdate}, nil
}

// stapled is the certificate with its OCSP response while that is valid, and else without.
func (c *certificate) stapled(now time.Time) *tls.Certificate {
	if s := c.staple; s != nil && !now.Before(s.from) && (s.until.IsZero() || now.Before(s.until)) {
		return s.cert
	}
	return c.cert
}
