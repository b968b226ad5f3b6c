package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"argosy/internal/hclx"
	"argosy/internal/settings"
)

// HTTP is the endpoint of the API.
type HTTP struct {
	Address  string // "127.0.0.1:4180" unless set
	ReadOnly bool
	TLS      *TLS
	Tokens   []Token
}

// TLS has the files of an endpoint with TLS.
type TLS struct {
	CertFile, KeyFile string
	ClientCAFile      string // empty: clients show no certificates
	Optional          bool   // a client may show a token in place of a certificate
}

// Token lets its holder in.
type Token struct {
	Name   string
	Secret settings.Secret
	Write  bool
}

// Exposed says what is missing where others than this machine can reach the endpoint; "" if nothing is.
func (h HTTP) Exposed() string {
	host, _, err := net.SplitHostPort(h.Address)
	if err != nil || host == "localhost" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return ""
	}
	var missing []string
	if h.TLS == nil {
		missing = append(missing, "TLS")
	}
	if len(h.Tokens) == 0 && (h.TLS == nil || h.TLS.ClientCAFile == "") {
		missing = append(missing, "authentication")
	}
	return strings.Join(missing, " and ")
}

// rawHTTP serves `/api/1/`, `/health` and `/metrics`. On other addresses than loopback it should have `tls`, and `token`
// or `client_ca_file`: namerd warns where one is missing.
type rawHTTP struct {
	// `host:port` to listen on; port 0 takes a free one.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:4180"`
	// Refuse to change tables.
	ReadOnly hclx.Attr `hcl:"read_only,optional" type:"boolean" default:"false"`
	// Serve HTTPS.
	TLS *rawTLS `hcl:"tls,block"`
	// With any of these, every request needs one, besides those to `/health` and `/metrics`.
	Tokens []rawToken `hcl:"token,block"`
}

// rawTLS takes TLS 1.2 and 1.3. The files are read again when they change.
type rawTLS struct {
	// The certificate (PEM), with those of the authorities between it and the root.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// Clients must show a certificate that one of these CA certificates (PEM) has signed. Its common name stands in the history.
	ClientCAFile hclx.Attr `hcl:"client_ca_file,optional" type:"file"`
	// `required`: nobody connects without a certificate, and where there are tokens, one is needed besides. `optional`: either
	// a certificate, which may write, or a token is enough, and `/health` and `/metrics` need none. Needs `client_ca_file`.
	ClientAuth hclx.Attr  `hcl:"client_auth,optional" type:"string" default:"required"`
	Range      hclx.Range `hcl:",def_range"`
}

// rawToken is shown as `Authorization: Bearer SECRET`. Its name stands in the history. It needs either `file` or `secret`.
type rawToken struct {
	Name      string     `hcl:"name,label"`
	NameRange hclx.Range `hcl:"name,label_range"`
	// A file that holds the secret. Read at start and at every reload.
	File hclx.Attr `hcl:"file,optional" type:"file"`
	// The secret itself. Keep it out of the file: `secret = env("NAMERD_TOKEN")`.
	Secret hclx.Attr `hcl:"secret,optional" type:"secret"`
	// `read`, or `write` for both.
	Access hclx.Attr `hcl:"access,optional" type:"string" default:"read"`
}

func loadHTTP(d *hclx.Decoder, raw *rawHTTP) HTTP {
	raw = hclx.OrDefault(raw)
	return HTTP{Address: d.Address(raw.Address), ReadOnly: d.Bool(raw.ReadOnly), TLS: loadTLS(d, raw.TLS), Tokens: loadTokens(d, raw.Tokens)}
}

func loadTLS(d *hclx.Decoder, raw *rawTLS) *TLS {
	if raw == nil {
		return nil
	}
	t := &TLS{ClientCAFile: d.CAFile(raw.ClientCAFile), Optional: d.OneOf(raw.ClientAuth, "required", "optional") == "optional"}
	t.CertFile, t.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	if raw.CertFile == nil && raw.KeyFile == nil {
		d.Errorf(raw.Range, "add cert_file and key_file", "the tls block has no certificate")
	}
	if t.Optional && raw.ClientCAFile == nil {
		d.Errorf(hclx.Place(raw.ClientAuth), "add client_ca_file, or leave client_auth out", "client_auth has no effect without client_ca_file")
	}
	return t
}

func loadTokens(d *hclx.Decoder, raw []rawToken) []Token {
	var tokens []Token
	names, secrets := map[string]hclx.Range{}, map[string]hclx.Range{}
	for _, r := range raw {
		d.CheckName("token", hclx.Text{Value: r.Name, Range: r.NameRange})
		if first, again := names[r.Name]; again {
			d.Errorf(r.NameRange, "the first is at "+hclx.At(first), "a second token %q", r.Name)
		}
		names[r.Name] = r.NameRange
		if r.File == nil && r.Secret == nil {
			d.Errorf(r.NameRange, `add file = "..."`, "token %q has no secret", r.Name)
		}
		t := Token{Name: r.Name, Secret: d.Secret(r.Secret, r.File), Write: d.OneOf(r.Access, "read", "write") == "write"}
		secret := t.Secret.Reveal()
		switch first, again := secrets[secret]; {
		case secret == "":
			if r.Secret != nil && r.File == nil && !d.Failed(r.Secret) {
				d.Errorf(hclx.Place(r.Secret), `write secret = env("NAMERD_TOKEN"), or file = "..."`, "the secret of token %q is empty", r.Name)
			}
		case strings.ContainsAny(secret, " \t\r\n"):
			d.Errorf(r.NameRange, "a header cannot carry it", "the secret of token %q has white space in it", r.Name)
		case again:
			d.Errorf(r.NameRange, fmt.Sprintf("the other is at %s", hclx.At(first)), "token %q has the secret of another one", r.Name)
		}
		secrets[secret] = r.NameRange
		tokens = append(tokens, t)
	}
	return tokens
}
