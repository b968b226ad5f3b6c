package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"argosy/internal/tlsfiles"
)

// authority is a CA, or what it has signed, with all that devca does not offer: RSA, intermediates, OCSP, wildcards.
type authority struct {
	cert   *x509.Certificate
	key    crypto.Signer
	parent *authority
}

func newAuthority(t testing.TB, parent *authority, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, parent, key, change...)
}

func newRSA(t *testing.T, parent *authority, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, parent, key, change...)
}

func signed(t testing.TB, parent *authority, key crypto.Signer, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, c := range change {
		c(template)
	}
	by, with := template, key
	if parent != nil {
		by, with = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, parent: parent}
}

func isCA(c *x509.Certificate) { c.IsCA = true }

func forNames(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = names, names[0] }
}

func forURIs(ids ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, id := range ids {
			u, err := url.Parse(id)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// chain is the certificate and those that signed it, in PEM.
func (a *authority) chain() (all []byte) {
	for ; a != nil; a = a.parent {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return all
}

func put(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path+".tmp", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// write writes the certificate and its key to dir.
func (a *authority) write(t *testing.T, dir string) tlsfiles.Pair {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tlsfiles.Pair{
		Cert: put(t, filepath.Join(dir, "cert.pem"), a.chain()),
		Key:  put(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// respond says by OCSP that of is good, or whatever else.
func (a *authority) respond(t *testing.T, of *authority, status int, until time.Time) []byte {
	t.Helper()
	der, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		Status: status, SerialNumber: of.cert.SerialNumber, ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: until,
	}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// trust is what a client needs to believe a.
func (a *authority) trust(name string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: name}
}

// trustFile is the file that holds a.
func (a *authority) trustFile(t *testing.T) string {
	t.Helper()
	return put(t, filepath.Join(t.TempDir(), "ca.pem"), (&authority{cert: a.cert}).chain())
}
