package hclx

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"time"

	"argosy/internal/settings"
)

// LogBlock sends logs to standard error.
type LogBlock struct {
	// The least important level that is logged: `trace`, `debug`, `info`, `warn` or `error`.
	Level Attr `hcl:"level,optional" type:"string" default:"info"`
	// `text` for people, or `json` for programs.
	Format Attr `hcl:"format,optional" type:"string" default:"text"`
}

// Settings takes the values out of a block that may be missing.
func (b *LogBlock) Settings(d *Decoder) settings.Log {
	b = OrDefault(b)
	return settings.Log{
		Level:  d.OneOf(b.Level, "trace", "debug", "info", "warn", "error"),
		Format: d.OneOf(b.Format, "text", "json"),
	}
}

// ConsulBlock takes what is not set from Consul's own environment variables (`CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`,
// `CONSUL_CACERT` and so on), and then from Consul's defaults.
type ConsulBlock struct {
	// `host:port`, a URL, or `unix:///path`. Consul's default is `127.0.0.1:8500`.
	Address Attr `hcl:"address,optional" type:"string"`
	// The ACL token. Keep it out of the file: `token = env("CONSUL_HTTP_TOKEN")`. It is never printed.
	Token Attr `hcl:"token,optional" type:"secret"`
	// A file that holds the ACL token, such as Nomad's: `"${env("NOMAD_SECRETS_DIR")}/consul_token"`. It is read again
	// whenever it changes.
	TokenFile Attr `hcl:"token_file,optional" type:"file"`
	// The Consul datacenter to ask. The Consul agent's own unless set.
	Datacenter Attr `hcl:"datacenter,optional" type:"string"`
	// The CA certificates (PEM) that Consul's HTTPS certificate is checked against.
	CAFile Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to Consul; with `key_file`.
	CertFile Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile Attr `hcl:"key_file,optional" type:"file"`
	// The host name that Consul's HTTPS certificate is for, where that is not the one in `address`, such as
	// `"server.dc1.consul"`.
	ServerName Attr `hcl:"server_name,optional" type:"string"`
	// How many watched services may each have a connection on which a request waits for its changes. Further services
	// take turns, and share one that follows the health checks of all. Over HTTPS all share a few connections, and
	// this bound does not apply.
	WatchConnections Attr `hcl:"watch_connections,optional" type:"number" default:"80"`
	// For requests that do not wait for a change.
	Timeout Attr `hcl:"timeout,optional" type:"duration" default:"10s"`
}

// Settings takes the values out of a block that may be missing.
func (b *ConsulBlock) Settings(d *Decoder) settings.Consul {
	b = OrDefault(b)
	s := settings.Consul{
		Address:    d.consulAddress(b.Address),
		Token:      d.Secret(b.Token, b.TokenFile), // a look at the file, which may be missing or empty
		Datacenter: d.String(b.Datacenter),
		CAFile:     d.CAFile(b.CAFile),
		ServerName: d.String(b.ServerName),
		Timeout:    d.Duration(b.Timeout, time.Millisecond, time.Hour),

		WatchConnections: d.Int(b.WatchConnections, 1, settings.MostWatchConnections),
	}
	if b.TokenFile != nil {
		s.TokenFile, s.Token = d.String(b.TokenFile), settings.Secret{}
	}
	s.CertFile, s.KeyFile = d.KeyPair(b.CertFile, b.KeyFile)
	return s
}

// KeyPair takes a certificate file and its key file: both or neither, and fitting.
func (d *Decoder) KeyPair(cert, key Attr) (certFile, keyFile string) {
	switch {
	case cert == nil && key == nil:
		return "", ""
	case key == nil:
		d.Errorf(cert.NameRange, "add key_file = ...", "%s is set without its key", cert.Name)
		return "", ""
	case cert == nil:
		d.Errorf(key.NameRange, "add cert_file = ...", "%s is set without its certificate", key.Name)
		return "", ""
	}
	certFile, keyFile = d.Readable(cert), d.Readable(key)
	if certFile == "" || keyFile == "" {
		return "", ""
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		d.Errorf(Place(cert), "both are PEM files, and the key belongs to the first certificate of cert_file",
			"%s and %s do not go together: %v", cert.Name, key.Name, err)
		return "", ""
	}
	return certFile, keyFile
}

// CAFile takes a PEM file with at least one certificate.
func (d *Decoder) CAFile(a Attr) string {
	path := d.Readable(a)
	if path == "" {
		return ""
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		d.Errorf(Place(a), "", "%s cannot be read: %v", a.Name, err)
		return ""
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		d.Errorf(Place(a), "it starts with -----BEGIN CERTIFICATE-----", "%s has no PEM certificate in it", a.Name)
		return ""
	}
	return path
}
