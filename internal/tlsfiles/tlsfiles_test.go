package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"argosy/internal/devca"
)

func authority(t *testing.T) *devca.CA {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *devca.CA, dir, name string) devca.Files {
	t.Helper()
	files, err := ca.Write(dir, name, name+".example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func open(t *testing.T, cert, key, ca string) *Files {
	t.Helper()
	f, err := New(cert, key, ca)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// shake does a handshake, and returns the error of whichever end has one.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	failed := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).Handshake()
		if err != nil {
			a.Close()
		}
		failed <- err
	}()
	c := tls.Client(b, client)
	err := c.Handshake()
	if err != nil {
		b.Close()
	} else {
		go func() { _, _ = c.Read(make([]byte, 1)) }() // an alert that comes later
	}
	return errors.Join(<-failed, err)
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	ca, other := authority(t), authority(t)
	s, c, stranger := issue(t, ca, t.TempDir(), "server"), issue(t, ca, t.TempDir(), "client"), issue(t, other, t.TempDir(), "client")
	server := open(t, s.Cert, s.Key, s.CA)
	named, bare := open(t, c.Cert, c.Key, c.CA), open(t, "", "", c.CA)
	unknown := open(t, stranger.Cert, stranger.Key, c.CA)
	old := &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	for _, test := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"with a certificate", server.Server(false), named.Client("server.example"), true},
		{"by address", server.Server(false), named.Client("127.0.0.1"), true},
		{"another name", server.Server(false), named.Client("client.example"), false},
		{"without a certificate", server.Server(false), bare.Client("server.example"), false},
		{"without one where it is optional", server.Server(true), bare.Client("server.example"), true},
		{"of another authority", server.Server(false), unknown.Client("server.example"), false},
		{"of another authority where it is optional", server.Server(true), unknown.Client("server.example"), false},
		{"server of another authority", open(t, stranger.Cert, stranger.Key, "").Server(false), named.Client("client.example"), false},
		{"roots of the system", server.Server(true), open(t, "", "", "").Client("server.example"), false},
		{"TLS 1.1", server.Server(true), old, false},
		{"no certificate at all", bare.Server(true), bare.Client("server.example"), false},
	} {
		if err := shake(t, test.server, test.client); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// Changed files are taken over by the handshakes that come, when they fit together.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	dir := t.TempDir()
	paths := issue(t, ca, dir, "old")
	f := open(t, paths.Cert, paths.Key, paths.CA)
	config := f.Server(true)
	name := func() string {
		t.Helper()
		f.looked = time.Time{} // as if some time had passed
		cert, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.Subject.CommonName
	}
	next := issue(t, ca, t.TempDir(), "new")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(next.Cert, paths.Cert)
	if got := name(); got != "old" {
		t.Errorf("a certificate without its key: %s", got)
	}
	move(next.Key, paths.Key)
	cert, _ := config.GetCertificate(nil)
	if got := cert.Leaf.Subject.CommonName; got != "old" {
		t.Errorf("looked again at once: %s", got)
	}
	if got := name(); got != "new" {
		t.Errorf("after the change: %s", got)
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	a, b := issue(t, ca, t.TempDir(), "a"), issue(t, ca, t.TempDir(), "b")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{{a.Cert, "", ""}, {"", a.Key, ""}, {a.Cert, b.Key, ""}, {a.Cert, a.Key, empty}, {a.Cert, a.Key, "/does/not/exist"}} {
		if _, err := New(c[0], c[1], c[2]); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
	if err := VerifyChain(nil, nil, x509.ExtKeyUsageClientAuth, ""); err == nil {
		t.Error("no certificate is good")
	}
}
