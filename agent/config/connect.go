package config

import (
	"net"
	"net/netip"
	"strings"

	"argosy/internal/hclx"
)

// Where Connect's certificates come from.
const (
	FromAgent   = "agent"   // the HTTP API of Consul's agent
	FromServers = "servers" // the gRPC of Consul's servers
)

// Connect says where Connect's certificates and roots come from.
type Connect struct {
	Source            string // "agent" unless set, or "servers"
	Address           string // host:port of the servers' gRPC; "" unless Source is "servers"
	TLS               bool   // to the servers
	ServerName        string // that their certificate must have; set with TLS
	CAFile            string // the system's roots unless set
	CertFile, KeyFile string // to show to them
}

// rawConnect says where the certificates of Connect services, and the roots, come from. Intentions come from the HTTP API of
// the `consul` block in any case, and so does the token. See [identity.md](identity.md).
type rawConnect struct {
	// `agent` is the Consul agent's HTTP API: the agent makes the keys. `servers` is the gRPC of Consul's servers: keys are made by
	// this process, and never leave it.
	Source hclx.Attr `hcl:"source,optional" type:"string" default:"agent"`
	// `host:port` of the servers' gRPC: their port `grpc_tls` (8503), or `grpc` (8502) for plaintext; or of that of a Consul agent,
	// which passes requests on to them. A name may stand for several servers. `127.0.0.1:8502` unless set.
	Address hclx.Attr `hcl:"address,optional" type:"address"`
	// The CA certificates (PEM) that the servers' certificate is checked against; the system's unless set.
	CAFile hclx.Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to the servers; with `key_file`.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// The name that the servers' certificate must have, such as `server.dc1.consul`. The host in `address` unless set.
	ServerName hclx.Attr `hcl:"server_name,optional" type:"string"`
	// Speak plaintext to servers on other machines: whoever sees the traffic can take the token. On this machine plaintext needs no
	// leave, and is what is spoken where no other key says TLS.
	Insecure hclx.Attr  `hcl:"insecure,optional" type:"boolean" default:"false"`
	Range    hclx.Range `hcl:",def_range"`
}

func (l *loader) connectSource() {
	d, raw := l.d, hclx.OrDefault(l.raw.Connect)
	out := Connect{Source: d.OneOf(raw.Source, FromAgent, FromServers)}
	defer func() { l.cfg.Connect = out }()
	if out.Source != FromServers {
		for _, a := range []hclx.Attr{raw.Address, raw.CAFile, raw.CertFile, raw.KeyFile, raw.ServerName} {
			if a != nil && !d.Failed(raw.Source) {
				d.Errorf(a.NameRange, `add source = "servers"; the consul block says how to reach the agent`,
					"%s has no effect unless certificates come from Consul's servers", a.Name)
			}
		}
		return
	}
	out.Address = "127.0.0.1:8502"
	if raw.Address != nil {
		out.Address = d.Address(raw.Address)
	}
	out.CAFile, out.ServerName = d.CAFile(raw.CAFile), d.String(raw.ServerName)
	out.CertFile, out.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	host, _, err := net.SplitHostPort(out.Address)
	if err != nil {
		return // it has been told
	}
	if host == "" || hclx.FreePort(out.Address) {
		d.Errorf(hclx.Place(raw.Address), `write address = "127.0.0.1:8502"`, "address %q does not say where the servers are", out.Address)
	}
	secure := raw.CAFile != nil || raw.CertFile != nil || raw.ServerName != nil
	plain := d.Bool(raw.Insecure)
	if secure && plain {
		d.Errorf(hclx.Place(raw.Insecure), "leave it out, or the keys that say TLS", "insecure does not go with TLS")
	}
	out.TLS = secure || !plain && !loopback(host)
	switch {
	case !out.TLS:
		out.ServerName = ""
	case out.ServerName == "":
		out.ServerName = host
	}
}

// loopback reports whether a host is this machine, over an interface that leads nowhere else.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// clientIDs takes the SPIFFE ids, or prefixes of them, that clients of a listener may have.
func (l *loader) clientIDs(raw *rawServerTLS) []string {
	const hint = `write client_spiffe_ids = ["spiffe://example.org/web"], or "spiffe://example.org/ns/prod/*" for all below`
	if raw.ClientSPIFFEIDs == nil {
		return nil
	}
	at := hclx.Place(raw.ClientSPIFFEIDs)
	if raw.Connect == nil && raw.ClientCAFile == nil {
		l.d.Errorf(at, "add client_ca_file", "client_spiffe_ids has no effect where clients show no certificates")
	}
	if raw.Connect != nil {
		l.d.Errorf(at, "Connect's intentions say who may connect; leave it out", "client_spiffe_ids does not go with connect")
	}
	ids := l.d.Texts(raw.ClientSPIFFEIDs)
	if len(ids) == 0 && !l.d.Failed(raw.ClientSPIFFEIDs) {
		l.d.Errorf(at, hint, "client_spiffe_ids has no ids: nobody could connect")
	}
	var all []string
	for _, id := range ids {
		if problem := spiffeProblem(strings.TrimSuffix(id.Value, "/*")); problem != "" {
			l.d.Errorf(id.Range, hint, "%q is no SPIFFE id: %s", id.Value, problem)
			continue
		}
		all = append(all, id.Value)
	}
	return all
}

// spiffeProblem says what is wrong with a SPIFFE id; "" is nothing
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md).
func spiffeProblem(id string) string {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	domain, path, _ := strings.Cut(rest, "/")
	const small = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	switch {
	case !ok:
		return "it does not begin with spiffe://"
	case len(id) > 2048:
		return "it has more than 2048 bytes"
	case domain == "" || strings.Trim(domain, small) != "":
		return "its trust domain has other characters than a-z, 0-9, -, _ and ."
	case rest == domain:
		return ""
	}
	for _, part := range strings.Split(path, "/") {
		switch {
		case strings.Contains(part, "*"):
			return "a * stands at the end only, after a slash"
		case part == "" || part == "." || part == "..":
			return "a part of its path is empty, or . or .."
		case strings.Trim(part, small+"ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
			return "its path has other characters than letters, digits, -, _ and ."
		}
	}
	return ""
}
