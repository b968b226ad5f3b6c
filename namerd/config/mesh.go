package config

import (
	"argosy/internal/hclx"
	"argosy/internal/settings"
)

// Mesh is the endpoint for Linkerd 1.x.
type Mesh struct {
	Address string // "127.0.0.1:4321" unless set
	TLS     *settings.DoorTLS
}

// Exposed says what is missing where others than this machine can reach the endpoint; "" if nothing is.
func (m Mesh) Exposed() string {
	d := settings.Door{Address: m.Address, TLS: m.TLS}
	return d.Exposed()
}

// rawMesh serves Linkerd 1.x over gRPC, as Namerd's `io.l5d.mesh` interface does. It can change nothing. Without this block it is
// off.
type rawMesh struct {
	// `host:port` to listen on; port 0 takes a free one.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:4321"`
	// Serve TLS.
	TLS *rawMeshTLS `hcl:"tls,block"`
}

// rawMeshTLS takes TLS 1.2 and 1.3. The files are read again when they change.
type rawMeshTLS struct {
	// The certificate (PEM), with those of the authorities between it and the root.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// Clients must show a certificate that one of these CA certificates (PEM) has signed.
	ClientCAFile hclx.Attr  `hcl:"client_ca_file,optional" type:"file"`
	Range        hclx.Range `hcl:",def_range"`
}

func loadMesh(d *hclx.Decoder, raw *rawMesh) *Mesh {
	if raw == nil {
		return nil
	}
	m := &Mesh{Address: d.Address(raw.Address)}
	if t := raw.TLS; t != nil {
		m.TLS = loadTLS(d, &rawTLS{CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile, Range: t.Range})
	}
	return m
}
