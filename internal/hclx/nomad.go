package hclx

import (
	"strings"

	"argosy/internal/settings"
)

// NomadBlock takes what is not set from Nomad's own environment variables (`NOMAD_ADDR`, `NOMAD_TOKEN`,
// `NOMAD_CACERT` and so on), and then from Nomad's defaults.
type NomadBlock struct {
	// The base URL, or `unix:///path`, as in a task: `"unix://${env("NOMAD_SECRETS_DIR")}/api.sock"`. Nomad's default is
	// `http://127.0.0.1:4646`.
	Address Attr `hcl:"address,optional" type:"url"`
	// The ACL token, which needs `read-job` in the namespaces of the names. Keep it out of the file:
	// `token = env("NOMAD_TOKEN")`. It is never printed.
	Token Attr `hcl:"token,optional" type:"secret"`
	// A file that holds the ACL token. It is read again whenever it changes.
	TokenFile Attr `hcl:"token_file,optional" type:"file"`
	// The region of the names. That of the Nomad agent that is asked unless set.
	Region Attr `hcl:"region,optional" type:"string"`
	// The CA certificates (PEM) that Nomad's HTTPS certificate is checked against.
	CAFile Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to Nomad; with `key_file`.
	CertFile Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile Attr `hcl:"key_file,optional" type:"file"`
}

// Settings takes the values out of a block that may be missing.
func (b *NomadBlock) Settings(d *Decoder) settings.Nomad {
	b = OrDefault(b)
	s := settings.Nomad{
		Address: d.nomadAddress(b.Address),
		Token:   d.Secret(b.Token, b.TokenFile), // a look at the file, which may be missing or empty
		Region:  d.String(b.Region),
		CAFile:  d.CAFile(b.CAFile),
	}
	if b.TokenFile != nil {
		s.TokenFile, s.Token = d.String(b.TokenFile), settings.Secret{}
	}
	s.CertFile, s.KeyFile = d.KeyPair(b.CertFile, b.KeyFile)
	return s
}

// nomadAddress takes a URL, or the socket that Nomad gives to tasks.
func (d *Decoder) nomadAddress(a Attr) string {
	if a != nil {
		if s := d.String(a); strings.HasPrefix(s, "unix:///") {
			return s
		}
	}
	return d.URL(a)
}
