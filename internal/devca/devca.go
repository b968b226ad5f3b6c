// Package devca is a certificate authority for one machine and one day: it stands in for Consul Connect where there is
// no Consul. Its leaves carry the SPIFFE URI that Connect's carry, so what checks identities works the same way.
//
// It is no CA to keep: the key of the authority is never written anywhere, and everything it signs ends after a day.
package devca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Lifetime is how long the authority and its leaves are valid.
const Lifetime = 24 * time.Hour

// skew is how far in the past validity begins, for clocks that differ a little.
const skew = time.Minute

// CA signs leaves. Its methods may be called from any goroutine.
type CA struct {
	trustDomain string
	key         *ecdsa.PrivateKey
	cert        *x509.Certificate
	pem         []byte
	now         func() time.Time
}

// Leaf is a signed certificate with its key, both PEM.
type Leaf struct{ Cert, Key []byte }

// Files are the paths of what Write has written.
type Files struct{ Cert, Key, CA string }

// New makes an authority with a trust domain of its own, valid from now on; nil means time.Now.
func New(now func() time.Time) (*CA, error) {
	if now == nil {
		now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make development CA: %w", err)
	}
	domain := make([]byte, 16)
	if _, err := rand.Read(domain); err != nil {
		return nil, fmt.Errorf("make development CA: %w", err)
	}
	// Connect's trust domains are <cluster uuid>.consul.
	h := hex.EncodeToString(domain)
	trust := fmt.Sprintf("%s-%s-%s-%s-%s.consul", h[:8], h[8:12], h[12:16], h[16:20], h[20:])

	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Argosy development CA"},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trust}},
		NotBefore:             t.Add(-skew),
		NotAfter:              t.Add(Lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make development CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make development CA: %w", err)
	}
	return &CA{
		trustDomain: trust,
		key:         key,
		cert:        cert,
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		now:         now,
	}, nil
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte { return ca.pem }

// ID returns the SPIFFE id of a service, in the form of Consul Connect's.
func (ca *CA) ID(service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: ca.trustDomain, Path: "/ns/default/dc/dc1/svc/" + service}
}

// Issue signs a leaf for a service, good for both ends of a connection. hosts are DNS names and IP addresses that it
// also answers to, for clients that know nothing of SPIFFE.
func (ca *CA) Issue(service string, hosts ...string) (Leaf, error) {
	fail := func(err error) (Leaf, error) { return Leaf{}, fmt.Errorf("issue certificate for %s: %w", service, err) }
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := serialNumber()
	if err != nil {
		return fail(err)
	}
	t := ca.now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: service},
		URIs:         []*url.URL{ca.ID(service)},
		NotBefore:    t.Add(-skew),
		NotAfter:     minTime(t.Add(Lifetime), ca.cert.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	return Leaf{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// Write issues a leaf and writes it to dir as SERVICE.pem and SERVICE-key.pem, with the authority as ca.pem. All three
// can be read by their owner only. Files that are there already are replaced, each in one step.
func (ca *CA) Write(dir, service string, hosts ...string) (Files, error) {
	leaf, err := ca.Issue(service, hosts...)
	if err != nil {
		return Files{}, err
	}
	f := Files{
		Cert: filepath.Join(dir, service+".pem"),
		Key:  filepath.Join(dir, service+"-key.pem"),
		CA:   filepath.Join(dir, "ca.pem"),
	}
	for path, content := range map[string][]byte{f.Cert: leaf.Cert, f.Key: leaf.Key, f.CA: ca.pem} {
		if err := replaceFile(path, content); err != nil {
			return Files{}, fmt.Errorf("write certificate for %s: %w", service, err)
		}
	}
	return f, nil
}

// replaceFile never shows a reader half a file, and never a key to others, not even for a moment.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil // RFC 5280 4.1.2.2: positive
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
