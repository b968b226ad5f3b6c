package config

import (
	"reflect"
	"testing"

	"argosy/internal/devca"
	"argosy/internal/settings"
)

func TestMesh(t *testing.T) {
	const store = "store \"memory\" {}\n"
	if c := fromText(t, store); c.Mesh != nil {
		t.Errorf("without a block: %+v", c.Mesh)
	}
	if c := fromText(t, store+"mesh {}"); !reflect.DeepEqual(c.Mesh, &Mesh{Address: "127.0.0.1:4321"}) || c.Mesh.Exposed() != "" {
		t.Errorf("%+v", c.Mesh)
	}
	if c := fromText(t, store+`mesh { address = ":4321" }`); c.Mesh.Exposed() != "TLS and authentication" {
		t.Errorf("%+v is missing %q", c.Mesh, c.Mesh.Exposed())
	}
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "namerd")
	if err != nil {
		t.Fatal(err)
	}
	c := fromText(t, store+`mesh {
  address = ":0"
  tls {
    cert_file      = "`+files.Cert+`"
    key_file       = "`+files.Key+`"
    client_ca_file = "`+files.CA+`"
  }
}`)
	want := &Mesh{Address: ":0", TLS: &settings.DoorTLS{CertFile: files.Cert, KeyFile: files.Key, ClientCAFile: files.CA}}
	if !reflect.DeepEqual(c.Mesh, want) || c.Mesh.Exposed() != "" {
		t.Errorf("%+v %+v", c.Mesh, c.Mesh.TLS)
	}
}
