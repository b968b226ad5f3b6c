package consulclient

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"argosy/internal/devca"
	"argosy/internal/settings"
)

// New connections go by what is in the files then, and by what was in them last while they make no sense.
func TestCertificateFilesAreReadAgain(t *testing.T) {
	clearEnv(t)
	ca := func() *devca.CA {
		t.Helper()
		ca, err := devca.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	good, other := ca(), ca()
	own, err := good.Issue("consul", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(good.PEM())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`"x"`)) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)

	dir := t.TempDir()
	files := devca.Files{Cert: filepath.Join(dir, "agent.pem"), Key: filepath.Join(dir, "agent-key.pem"), CA: filepath.Join(dir, "ca.pem")}
	write := func(identity, roots *devca.CA) {
		t.Helper()
		leaf, err := identity.Issue("agent")
		if err != nil {
			t.Fatal(err)
		}
		replace(t, files.Cert, string(leaf.Cert))
		replace(t, files.Key, string(leaf.Key))
		replace(t, files.CA, string(roots.PEM()))
	}
	write(other, good)
	c, err := New(settings.Consul{Address: s.URL, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key})
	if err != nil {
		t.Fatal(err)
	}
	works := func(want bool) {
		t.Helper()
		s.CloseClientConnections()
		if _, err := c.Status().Leader(); (err == nil) != want {
			t.Errorf("got %v", err)
		}
	}
	works(false) // the server does not know who has signed for us
	write(good, other)
	works(false) // we do not know who has signed for the server
	write(good, good)
	works(true)
	replace(t, files.Key, "half a")
	works(true)
	os.Remove(files.CA)
	works(true)
	write(other, good)
	works(false)
	write(good, good)
	works(true)
}
