package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"argosy/internal/devca"
)

// loadWith loads a configuration that is right; DIR is a folder with a certificate.
func loadWith(t *testing.T, text string) *Config {
	t.Helper()
	dir := t.TempDir()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Write(dir, "edge"); err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer("DIR", dir).Replace(text)
	cfg, err := Load([]string{write(t, dir, "agent.hcl", text)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestConnectSource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Connect{
		``:                               {Source: "agent"},
		`connect {}`:                     {Source: "agent"},
		`connect { source = "agent" }`:   {Source: "agent"},
		`connect { source = "servers" }`: {Source: "servers", Address: "127.0.0.1:8502"},
		`connect {
		  source  = "servers"
		  address = "localhost:1"
		}`: {Source: "servers", Address: "localhost:1"},
		// Elsewhere there is no plaintext without leave.
		`connect {
		  source  = "servers"
		  address = "consul.example:8503"
		}`: {Source: "servers", Address: "consul.example:8503", TLS: true, ServerName: "consul.example"},
		`connect {
		  source   = "servers"
		  address  = "[fd00::1]:8502"
		  insecure = true
		}`: {Source: "servers", Address: "[fd00::1]:8502"},
		`connect {
		  source  = "servers"
		  address = "10.0.0.1:8503"
		}`: {Source: "servers", Address: "10.0.0.1:8503", TLS: true, ServerName: "10.0.0.1"},
		`connect {
		  source      = "servers"
		  address     = "[::1]:8503"
		  server_name = "server.dc1.consul"
		  ca_file     = "DIR/ca.pem"
		  cert_file   = "DIR/edge.pem"
		  key_file    = "DIR/edge-key.pem"
		}`: {Source: "servers", Address: "[::1]:8503", TLS: true, ServerName: "server.dc1.consul",
			CAFile: "ca.pem", CertFile: "edge.pem", KeyFile: "edge-key.pem"},
	} {
		got := loadWith(t, `dtab { static = "" }
			listener "a" {
			  address     = "127.0.0.1:0"
			  destination = "/svc/a"
			}
		`+text).Connect
		for _, file := range []*string{&got.CAFile, &got.CertFile, &got.KeyFile} {
			if *file != "" {
				*file = filepath.Base(*file)
			}
		}
		if got != want {
			t.Errorf("%s: got %+v", text, got)
		}
	}
}

func TestClientSPIFFEIDs(t *testing.T) {
	t.Parallel()
	cfg := loadWith(t, `dtab { static = "" }
		listener "a" {
		  address     = "127.0.0.1:0"
		  destination = "/svc/a"
		  tls {
		    cert_file         = "DIR/edge.pem"
		    key_file          = "DIR/edge-key.pem"
		    client_ca_file    = "DIR/ca.pem"
		    client_spiffe_ids = ["spiffe://example.org/Web_1.x", "spiffe://example.org/ns/prod/*", "spiffe://other-1.example", "spiffe://all/*"]
		  }
		}
	`)
	want := []string{"spiffe://example.org/Web_1.x", "spiffe://example.org/ns/prod/*", "spiffe://other-1.example", "spiffe://all/*"}
	if got := cfg.Listeners[0].TLS.ClientIDs; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}
