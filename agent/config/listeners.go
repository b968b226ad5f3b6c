package config

import (
	"math"
	"slices"
	"time"

	"argosy/dtab"
	"argosy/internal/hclx"
)

func (l *loader) listeners() {
	if len(l.raw.Listeners) == 0 {
		l.d.Errorf(l.d.Whole(), `add a block listener "redis" { ... } with an address and a destination`,
			"there is no listener: an agent needs a place to accept connections")
	}
	names := map[string]hclx.Range{}
	for i := range l.raw.Listeners {
		raw := &l.raw.Listeners[i]
		l.d.CheckName("listener", hclx.Text{Value: raw.Name, Range: raw.NameRange})
		if raw.Name == "" {
			l.d.Errorf(raw.NameRange, `write listener "redis" { ... }`, "the listener's name is empty")
		}
		if first, again := names[raw.Name]; again {
			l.d.Errorf(raw.NameRange, "the first is at "+hclx.At(first), "a second listener %q", raw.Name)
		}
		names[raw.Name] = raw.NameRange
		l.cfg.Listeners = append(l.cfg.Listeners, l.listener(raw))
	}
}

func (l *loader) listener(raw *rawListener) Listener {
	d := l.d
	out := Listener{
		Name:           raw.Name,
		Network:        "tcp",
		Address:        d.Address(raw.Address),
		ReusePort:      d.Bool(raw.ReusePort),
		MaxConnections: d.Int(raw.MaxConnections, 0, math.MaxInt32),
		ConnectTimeout: d.Duration(raw.ConnectTimeout, time.Millisecond, time.Hour),
		IdleTimeout:    d.Duration(raw.IdleTimeout, 0, hclx.Forever),
		TLS:            l.serverTLS(raw.TLS),
	}
	if raw.Address == nil {
		d.Errorf(raw.Range, `add address = "127.0.0.1:7474"`, "%s has no address", label("listener", raw.Name))
	}
	if out.ReusePort && hclx.FreePort(out.Address) {
		d.Errorf(hclx.Place(raw.ReusePort), "name the port that the agents share", "reuse_port makes no sense with port 0")
	}
	switch {
	case raw.Destination != nil && raw.SNI != nil:
		d.Errorf(raw.Range, "leave one of them out; the sni block's default is for clients that send no name",
			"%s has both destination and sni", label("listener", raw.Name))
	case raw.Destination == nil && raw.SNI == nil:
		d.Errorf(raw.Range, `add destination = "/svc/redis", or sni {} to take the name from TLS`,
			"%s has no destination", label("listener", raw.Name))
	case raw.SNI != nil:
		out.SNI = l.sni(raw.SNI)
	default:
		out.Destination = l.name(raw.Destination)
	}
	if r := raw.Register; r != nil {
		out.Register = &ListenerEntry{
			Service: l.cfg.Name,
			Port:    d.Int(r.Port, 1, 65535),
			Native:  out.TLS != nil && out.TLS.Connect != "",
		}
		if r.Service != nil {
			out.Register.Service = d.Name(r.Service)
		}
	}
	return out
}

// name takes a path that connections go to; "/" is none.
func (l *loader) name(a hclx.Attr) dtab.Path {
	p := l.d.Path(a)
	if p != nil && len(p) == 0 {
		l.d.Errorf(hclx.Place(a), `write a path such as "/svc/redis"`, "%s is the root, which is no name", a.Name)
	}
	return p
}

func (l *loader) sni(raw *rawSNI) *SNI {
	return &SNI{
		Prefix:  l.d.Path(raw.Prefix),
		Default: l.name(raw.Default),
		Timeout: l.d.Duration(raw.Timeout, time.Millisecond, time.Hour),
	}
}

func (l *loader) serverTLS(raw *rawServerTLS) *ServerTLS {
	if raw == nil {
		return nil
	}
	out := &ServerTLS{ClientCAFile: l.d.CAFile(raw.ClientCAFile)}
	out.CertFile, out.KeyFile = l.d.KeyPair(raw.CertFile, raw.KeyFile)
	files := raw.CertFile != nil || raw.KeyFile != nil
	switch {
	case raw.Connect == nil && !files:
		l.d.Errorf(raw.Range, `add cert_file and key_file, or connect = "service"`, "the tls block has no certificate")
	case raw.Connect == nil:
	case files:
		l.d.Errorf(raw.Range, "connect brings its certificate along; leave the files out", "the tls block has both files and connect")
	case raw.ClientCAFile != nil:
		l.d.Errorf(raw.ClientCAFile.NameRange, "connect lets Consul's CA and intentions decide; leave client_ca_file out",
			"client_ca_file does not go with connect")
	default:
		out.Connect = l.d.Name(raw.Connect)
	}
	return out
}

func (l *loader) clients() {
	seen := map[string]hclx.Range{}
	for i := range l.raw.Clients {
		raw := &l.raw.Clients[i]
		prefix := l.d.Prefix("client", hclx.Text{Value: raw.Prefix, Range: raw.PrefixRange})
		if first, again := seen[prefix.String()]; again && prefix != nil {
			l.d.Errorf(raw.PrefixRange, "the first that fits applies, and it is at "+hclx.At(first), "a second client %q", raw.Prefix)
		}
		if prefix != nil {
			seen[prefix.String()] = raw.PrefixRange
		}
		l.cfg.Clients = append(l.cfg.Clients, Client{
			Prefix:         prefix,
			ConnectTimeout: l.d.Duration(raw.ConnectTimeout, time.Millisecond, time.Hour),
			Retries:        l.d.Int(raw.Retries, 0, 100),
			TLS:            l.clientTLS(raw.TLS),
		})
	}
}

func (l *loader) clientTLS(raw *rawClientTLS) *ClientTLS {
	if raw == nil {
		return nil
	}
	out := &ClientTLS{ServerName: l.d.String(raw.ServerName), CAFile: l.d.CAFile(raw.CAFile)}
	out.CertFile, out.KeyFile = l.d.KeyPair(raw.CertFile, raw.KeyFile)
	switch {
	case raw.Connect == nil && raw.ServerName == nil:
		l.d.Errorf(raw.Range, `add server_name = "db.example", or connect = "service"`, "the tls block does not say whom to expect")
	case raw.Connect == nil:
		if out.ServerName == "" && !l.d.Failed(raw.ServerName) {
			l.d.Errorf(hclx.Place(raw.ServerName), `write server_name = "db.example"`, "server_name is empty")
		}
	case raw.ServerName != nil || raw.CAFile != nil || raw.CertFile != nil || raw.KeyFile != nil:
		l.d.Errorf(raw.Range, "connect brings certificate, CA and the expected name along; leave the others out",
			"the tls block has connect and other keys")
	default:
		out.Connect = l.d.Name(raw.Connect)
	}
	return out
}

func (l *loader) register() {
	used := slices.ContainsFunc(l.cfg.Listeners, func(x Listener) bool { return x.Register != nil })
	if !used && l.raw.Register == nil {
		return
	}
	d, raw := l.d, hclx.OrDefault(l.raw.Register)
	if !used {
		d.Errorf(raw.Range, "add register {} to the listeners that are to be found in Consul", "register has no effect: no listener has a register block")
	}
	out := &Register{
		ID:              d.String(raw.ID),
		Tags:            d.Strings(raw.Tags),
		Meta:            d.StringMap(raw.Meta),
		Address:         d.String(raw.Address),
		CheckInterval:   d.Duration(raw.CheckInterval, time.Second, time.Hour),
		CheckTimeout:    d.Duration(raw.CheckTimeout, 100*time.Millisecond, time.Hour),
		DeregisterAfter: d.Duration(raw.DeregisterAfter, time.Minute, hclx.Forever),
	}
	for _, reserved := range []string{"version", "admin", "routes"} {
		if _, set := out.Meta[reserved]; set {
			d.Errorf(hclx.Place(raw.Meta), "choose another key", "meta %q is set by the agent itself", reserved)
		}
	}
	if hclx.HasPort(out.Address) {
		d.Errorf(hclx.Place(raw.Address), "the port is the listener's, or its register block's", "address %q has a port", out.Address)
	}
	l.cfg.Register = out
}
