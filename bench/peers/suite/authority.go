package suite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// signer is a certificate with its key, which may sign others whether it is allowed to or not.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	by   *signer // nil: itself
}

// sign makes a certificate. The template is a leaf's, good for both ends of a connection for an hour, that change may make
// another of. Signed by nil it has signed itself.
func sign(by *signer, change ...func(*x509.Certificate)) (*signer, error) {
	fail := func(err error) (*signer, error) { return nil, fmt.Errorf("make a certificate: %w", err) }
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, f := range change {
		f(c)
	}
	parent, with := c, key
	if by != nil {
		parent, with = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, with)
	if err != nil {
		return fail(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	return &signer{cert, key, by}, nil
}

// authority makes a certificate one that may sign others.
func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.ExtKeyUsage = true, nil
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
		c.NotAfter = c.NotBefore.Add(10 * 365 * 24 * time.Hour)
	}
}

// named gives a certificate further URIs.
func named(uris ...*url.URL) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.URIs = append(c.URIs, uris...) }
}

func only(u x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }
}

// valid says from when to when, counted from now.
func valid(from, to time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

// chain is the certificate for TLS, with those that have signed it but the root.
func (s *signer) chain() tls.Certificate {
	c := tls.Certificate{PrivateKey: s.key, Leaf: s.cert}
	for ; s != nil && (s.by != nil || len(c.Certificate) == 0); s = s.by {
		c.Certificate = append(c.Certificate, s.cert.Raw)
	}
	return c
}

func (s *signer) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

func (s *signer) keyPEM() (string, error) {
	der, err := x509.MarshalECPrivateKey(s.key)
	if err != nil {
		return "", fmt.Errorf("write a key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), nil
}

// id is a service's SPIFFE id in our Consul.
func (w *World) id(service string) *url.URL { return w.idAt("dc1", service) }

func (w *World) idAt(datacenter, service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: w.domain, Path: "/ns/default/dc/" + datacenter + "/svc/" + service}
}

// leaf is a certificate of our Consul's authority, as that would give one to a service.
func (w *World) leaf(service string, change ...func(*x509.Certificate)) (*signer, error) {
	return sign(w.root, append([]func(*x509.Certificate){named(w.id(service))}, change...)...)
}
