package config

import (
	"fmt"
	"strings"

	"argosy/internal/hclx"
	"argosy/internal/settings"
)

// HTTP is the endpoint of the API, at "127.0.0.1:4180" unless set.
type HTTP struct {
	settings.Door
	ReadOnly bool
}

// rawHTTP serves `/api/1/`, `/health` and `/metrics`. Where other machines can reach it, it wants tokens or client certificates.
type rawHTTP struct {
	// `host:port` to listen on; port 0 takes a free one. Or a Unix socket, such as `unix:/run/argosy/namerd.sock`.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:4180"`
	// The permissions of a Unix socket: who may write to it may do everything.
	SocketMode hclx.Attr `hcl:"socket_mode,optional" type:"string" default:"0660"`
	// The owner of a Unix socket, `user` or `user:group`. The process's own unless set.
	SocketOwner hclx.Attr `hcl:"socket_owner,optional" type:"string"`
	// Refuse to change tables.
	ReadOnly hclx.Attr `hcl:"read_only,optional" type:"boolean" default:"false"`
	// Serve HTTPS.
	TLS *rawTLS `hcl:"tls,block"`
	// With any of these, every request needs one, besides those to the `open` paths.
	Tokens []rawToken `hcl:"token,block"`
	// A file of further tokens, one on each line, which may write. It is read again when it changes.
	TokenFile hclx.Attr `hcl:"token_file,optional" type:"file"`
	// Paths that anybody may read without a token or a certificate. `["/health", "/ready"]` unless set. Where other machines can
	// reach the endpoint and it wants neither, nothing else is served.
	Open hclx.Attr `hcl:"open,optional" type:"list of strings"`
	// Names by which clients on this machine may call the endpoint where they show neither token nor certificate, beside
	// addresses and `localhost`: requests for others may come from a web page.
	Hosts hclx.Attr `hcl:"hosts,optional" type:"list of strings"`
	// Let everybody in who reaches the endpoint, also from other machines.
	Insecure hclx.Attr `hcl:"insecure,optional" type:"boolean" default:"false"`
	// How many requests, streams among them, are served at a time. Connections without one do not count: they make room.
	MaxConnections hclx.Attr `hcl:"max_connections,optional" type:"number" default:"10000"`
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
	// a certificate, which may write, or a token is enough, and the `open` paths need none. Needs `client_ca_file`.
	ClientAuth hclx.Attr  `hcl:"client_auth,optional" type:"string" default:"required"`
	Range      hclx.Range `hcl:",def_range"`
}

// rawToken is shown as `Authorization: Bearer SECRET`. Its name stands in the history. It needs either `file` or `secret`.
type rawToken struct {
	Name      string     `hcl:"name,label"`
	NameRange hclx.Range `hcl:"name,label_range"`
	// A file that holds the secret, or several, one on each line. It is read again when it changes.
	File hclx.Attr `hcl:"file,optional" type:"file"`
	// The secret itself. Keep it out of the file: `secret = env("NAMERD_TOKEN")`.
	Secret hclx.Attr `hcl:"secret,optional" type:"secret"`
	// `read`, or `write` for both.
	Access hclx.Attr `hcl:"access,optional" type:"string" default:"read"`
}

func loadHTTP(d *hclx.Decoder, raw *rawHTTP) HTTP {
	raw = hclx.OrDefault(raw)
	b := hclx.DoorBlock{
		Address: raw.Address, SocketMode: raw.SocketMode, SocketOwner: raw.SocketOwner, TokenFile: raw.TokenFile,
		Open: raw.Open, Hosts: raw.Hosts, Insecure: raw.Insecure, MaxConnections: raw.MaxConnections,
	}
	h := HTTP{Door: b.Values(d, "", false), ReadOnly: d.Bool(raw.ReadOnly)}
	h.TLS = loadTLS(d, raw.TLS)
	h.Tokens = append(loadTokens(d, raw.Tokens), h.Tokens...)
	b.Check(d, &h.Door, "http")
	return h
}

func loadTLS(d *hclx.Decoder, raw *rawTLS) *settings.DoorTLS {
	if raw == nil {
		return nil
	}
	b := hclx.DoorTLSBlock{CertFile: raw.CertFile, KeyFile: raw.KeyFile, ClientCAFile: raw.ClientCAFile, ClientAuth: raw.ClientAuth, Range: raw.Range}
	return b.Values(d, false)
}

func loadTokens(d *hclx.Decoder, raw []rawToken) []settings.DoorToken {
	var tokens []settings.DoorToken
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
		t := settings.DoorToken{Name: r.Name, Secret: d.Secret(r.Secret, r.File), Write: d.OneOf(r.Access, "read", "write") == "write"}
		secret := t.Secret.Reveal()
		if r.File != nil {
			t.File, t.Secret = d.String(r.File), settings.Secret{}
		}
		switch first, again := secrets[secret]; {
		case secret == "":
			if r.Secret != nil && r.File == nil && !d.Failed(r.Secret) {
				d.Errorf(hclx.Place(r.Secret), `write secret = env("NAMERD_TOKEN"), or file = "..."`, "the secret of token %q is empty", r.Name)
			}
		case strings.ContainsAny(secret, " \t\r") || r.File == nil && strings.Contains(secret, "\n"):
			d.Errorf(r.NameRange, "a header cannot carry it", "the secret of token %q has white space in it", r.Name)
		case again:
			d.Errorf(r.NameRange, fmt.Sprintf("the other is at %s", hclx.At(first)), "token %q has the secret of another one", r.Name)
		}
		secrets[secret] = r.NameRange
		tokens = append(tokens, t)
	}
	return tokens
}
