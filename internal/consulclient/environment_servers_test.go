//go:build servers

package consulclient_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/devca"
	"argosy/internal/settings"
)

// The ways to a Consul that wants client certificates, in the words of Consul's own environment variables and of a
// configuration.
func TestWaysToConsul(t *testing.T) {
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files, err := ca.Write(dir, "consul", "localhost", "127.0.0.1", "server.dc1.consul")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "cas")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "one.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range os.Environ() {
		if name, value, _ := strings.Cut(name, "="); strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, value) })
		}
	}
	socket := filepath.Join(dir, "consul.sock")
	port := consultest.FreePort(t)
	c := consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(`
ports {
  https = %d
}
addresses {
  http = "127.0.0.1 unix://%s"
}
tls {
  https {
    ca_file         = %q
    cert_file       = %q
    key_file        = %q
    verify_incoming = true
  }
}
`, port, socket, files.CA, files.Cert, files.Key)})
	secure := fmt.Sprintf("127.0.0.1:%d", port)
	type env = map[string]string
	for _, test := range []struct {
		name     string
		env      env
		settings settings.Consul
		fails    string // what the error has in it; "": it works
		shared   bool   // requests share connections
	}{
		{"plain", env{"CONSUL_HTTP_ADDR": c.Addr}, settings.Consul{}, "", false},
		{"URL", env{"CONSUL_HTTP_ADDR": c.URL()}, settings.Consul{}, "", false},
		{"socket", env{"CONSUL_HTTP_ADDR": "unix://" + socket}, settings.Consul{}, "", false},
		{"socket in the configuration", env{"CONSUL_HTTP_ADDR": "127.0.0.1:1"}, settings.Consul{Address: "unix://" + socket}, "", false},
		{"https", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CACERT": files.CA, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key}, settings.Consul{}, "", true},
		{"SSL", env{"CONSUL_HTTP_ADDR": secure, "CONSUL_HTTP_SSL": "true", "CONSUL_CACERT": files.CA, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key}, settings.Consul{}, "", true},
		{"folder of CAs", env{"CONSUL_HTTP_ADDR": secure, "CONSUL_HTTP_SSL": "true", "CONSUL_CAPATH": folder, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key}, settings.Consul{}, "", true},
		{"no verification", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_HTTP_SSL_VERIFY": "false", "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key}, settings.Consul{}, "", true},
		{"server name", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CACERT": files.CA, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key, "CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}, settings.Consul{}, "", true},
		{"another server name", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CACERT": files.CA, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key, "CONSUL_TLS_SERVER_NAME": "server.dc2.consul"}, settings.Consul{}, "not server.dc2.consul", false},
		{"no CA", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CLIENT_CERT": files.Cert, "CONSUL_CLIENT_KEY": files.Key}, settings.Consul{}, "unknown authority", false},
		{"no client certificate", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CACERT": files.CA}, settings.Consul{}, "https://" /* the reason comes too late for some writes */, false},
		{"no key", env{"CONSUL_HTTP_ADDR": "https://" + secure, "CONSUL_CACERT": files.CA, "CONSUL_CLIENT_CERT": files.Cert}, settings.Consul{}, "both client cert and client key", false},
		{"configuration", nil, settings.Consul{Address: "https://" + secure, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}, "", true},
		{"server name in the configuration", env{"CONSUL_TLS_SERVER_NAME": "other"}, settings.Consul{Address: "https://" + secure, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, ServerName: "server.dc1.consul"}, "", true},
		{"configuration over environment", env{"CONSUL_HTTP_ADDR": "127.0.0.1:1", "CONSUL_CACERT": "/nowhere", "CONSUL_CAPATH": "/nowhere"}, settings.Consul{Address: "https://" + secure, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}, "", true},
		{"namespace", env{"CONSUL_HTTP_ADDR": c.Addr, "CONSUL_NAMESPACE": "team"}, settings.Consul{}, `CONSUL_NAMESPACE is "team": namespaces are a feature of Consul Enterprise`, false},
		{"partition", env{"CONSUL_HTTP_ADDR": c.Addr, "CONSUL_PARTITION": "part"}, settings.Consul{}, `CONSUL_PARTITION is "part"`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			client, link, err := consulclient.NewLinked(test.settings)
			if err == nil {
				_, err = client.Catalog().Datacenters()
			}
			switch {
			case test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
				t.Errorf("got %v, want an error with %q", err, test.fails)
			case test.fails == "" && err != nil:
				t.Error(err)
			case test.fails == "" && link.Multiplexed() != test.shared:
				t.Errorf("requests share connections: %v", link.Multiplexed())
			}
		})
	}
}
