package devca

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"
	"time"
)

func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil { // in TLS 1.3 the client learns of a refusal with the first byte
		_, clientErr = c.Read(make([]byte, 1))
	}
	b.Close()
	return <-done, clientErr
}

func pair(t *testing.T, ca *CA, service string, hosts ...string) tls.Certificate {
	t.Helper()
	l, err := ca.Issue(service, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(l.Cert, l.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(t *testing.T, ca *CA) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("CA's PEM does not parse")
	}
	return p
}

func TestMutualTLS(t *testing.T) {
	ca, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{
		Certificates: []tls.Certificate{pair(t, ca, "redis", "localhost")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool(t, ca),
	}
	for name, c := range map[string]struct {
		certs []tls.Certificate
		host  string
		ok    bool
	}{
		"own certificate":       {[]tls.Certificate{pair(t, ca, "web")}, "localhost", true},
		"no certificate":        {nil, "localhost", false},
		"certificate of others": {[]tls.Certificate{pair(t, other, "web")}, "localhost", false},
		"wrong host":            {[]tls.Certificate{pair(t, ca, "web")}, "example.invalid", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, c2 := handshake(t, server, &tls.Config{Certificates: c.certs, RootCAs: pool(t, ca), ServerName: c.host})
			if (s == nil && c2 == nil) != c.ok {
				t.Errorf("server: %v, client: %v; want success %v", s, c2, c.ok)
			}
		})
	}
}

func TestLeafLooksLikeConnects(t *testing.T) {
	ca, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := pair(t, ca, "web", "127.0.0.1")
	leaf := c.Leaf
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != ca.ID("web").String() {
		t.Errorf("URIs are %v, want %v", leaf.URIs, ca.ID("web"))
	}
	if got := leaf.URIs[0].Path; got != "/ns/default/dc/dc1/svc/web" {
		t.Errorf("path is %s", got)
	}
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d > Lifetime+skew {
		t.Errorf("valid for %v", d)
	}
	if leaf.NotAfter.After(ca.cert.NotAfter) {
		t.Error("leaf outlives its authority")
	}
}

func TestWriteKeepsKeysPrivate(t *testing.T) {
	ca, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for range 2 { // the second time replaces
		f, err := ca.Write(dir, "redis", "localhost")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{f.Cert, f.Key, f.CA} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("left in folder: %v, %v", entries, err)
	}
	if _, err := ca.Write(dir+"/missing", "redis"); err == nil {
		t.Error("no error for a folder that is not there")
	}
}
