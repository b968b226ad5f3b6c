package config

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"argosy/agent/socket"
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
		Limits:         l.limits(raw.Limits),
		ReusePort:      d.Bool(raw.ReusePort),
		MaxConnections: d.Int(raw.MaxConnections, 0, math.MaxInt32),
		ConnectTimeout: d.Duration(raw.ConnectTimeout, time.Millisecond, time.Hour),
		Timeouts: Timeouts{
			Handshake: d.Duration(raw.HandshakeTimeout, 0, time.Hour),
			FirstByte: d.Duration(raw.FirstByteTimeout, 0, hclx.Forever),
			Idle:      d.Duration(raw.IdleTimeout, 0, hclx.Forever),
			HalfClose: d.Duration(raw.HalfCloseTimeout, 0, hclx.Forever),
			Lifetime:  d.Duration(raw.MaxLifetime, 0, hclx.Forever), LifetimeJitter: d.Float(raw.LifetimeJitter, 0, 1),
		},
		ProxyProtocol: l.proxyProtocol(raw.ProxyProtocol),
		TLS:           l.serverTLS(raw.TLS),
	}
	out.Deny = l.deny(raw.TLS, out.TLS.AsksClients())
	l.place(raw, &out)
	tuned := hclx.OrDefault(raw.Socket)
	out.Socket = l.socket(tuned.NoDelay, tuned.KeepAlive, tuned.UserTimeout, tuned.Mark)
	out.FastOpen = d.Int(tuned.FastOpen, 0, math.MaxInt32)
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

// longestSocket is the longest path of a Unix socket: sun_path of unix(7), less its final zero.
const longestSocket = 107

// place takes the address, and what goes with its kind.
func (l *loader) place(raw *rawListener, out *Listener) {
	d := l.d
	out.Network = "tcp"
	path, local := d.AddressOrPath(raw.Address)
	if !local {
		out.Address = path
		if raw.SocketOwner != nil {
			d.Errorf(hclx.Place(raw.SocketOwner), "leave it out", "socket_owner is for Unix sockets only")
		}
		return
	}
	out.Network, out.Address = "unix", path
	if len(path) > longestSocket || strings.ContainsRune(path, 0) {
		d.Errorf(hclx.Place(raw.Address), fmt.Sprintf("a path of a Unix socket has at most %d bytes", longestSocket), "address %q is too long", path)
	}
	mode, err := strconv.ParseUint(d.String(raw.SocketMode), 8, 32)
	if err != nil || mode > 0o777 {
		d.Errorf(hclx.Place(raw.SocketMode), `write socket_mode = "0660"`, "socket_mode is no file mode")
	}
	out.Unix.Mode = fs.FileMode(mode)
	out.Unix.Owner, out.Unix.Group, _ = strings.Cut(d.String(raw.SocketOwner), ":")
	if out.ReusePort {
		d.Errorf(hclx.Place(raw.ReusePort), "leave it out", "reuse_port makes no sense with a Unix socket")
	}
	if raw.Register != nil {
		d.Errorf(raw.Range, "leave register out", "%s cannot be registered: Consul's catalog has addresses with ports", label("listener", raw.Name))
	}
}

func (l *loader) limits(raw *rawLimits) Limits {
	d := l.d
	r := hclx.OrDefault(raw)
	out := Limits{
		PerSource: d.Int(r.ConnectionsPerSource, 0, math.MaxInt32), Rate: d.Float(r.Rate, 0, 1e9), Burst: d.Int(r.Burst, 1, math.MaxInt32),
		AtLimit: d.OneOf(r.AtLimit, Refuse, Queue), QueueLength: d.Int(r.Queue, 1, 1_000_000),
		QueueTimeout: d.Duration(r.QueueTimeout, time.Millisecond, time.Hour), Handshakes: d.Int(r.Handshakes, 0, math.MaxInt32/10),
	}
	if r.Burst == nil && out.Rate > 0 {
		out.Burst = max(int(out.Rate), 1)
	}
	if r.Burst != nil && out.Rate == 0 && !d.Failed(r.Burst) {
		d.Errorf(hclx.Place(r.Burst), "add rate", "burst has no effect without rate")
	}
	return out
}

func (l *loader) proxyProtocol(raw *rawProxyProtocol) *ProxyProtocol {
	if raw == nil {
		return nil
	}
	out := &ProxyProtocol{Optional: l.d.Bool(raw.Optional)}
	if raw.From == nil {
		l.d.Errorf(raw.Range, `add from = ["10.0.0.0/8"]`, "proxy_protocol does not say whom to believe")
	}
	for _, t := range l.d.Texts(raw.From) {
		prefix, err := netip.ParsePrefix(t.Value)
		if addr, single := netip.ParseAddr(t.Value); err != nil && single == nil {
			addr = addr.Unmap()
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			l.d.Errorf(t.Range, `write a network such as "10.0.0.0/8"`, "%q is no network and no address", t.Value)
			continue
		}
		out.From = append(out.From, prefix.Masked())
	}
	return out
}

func (l *loader) socket(noDelay, keepAlive, userTimeout, mark hclx.Attr) socket.Options {
	d := l.d
	return socket.Options{
		NoDelay: d.Bool(noDelay), KeepAlive: d.Duration(keepAlive, 0, 9*time.Hour), // 32767 s is the most that Linux takes
		UserTimeout: d.Duration(userTimeout, 0, 24*time.Hour), Mark: d.Int(mark, 0, math.MaxInt32),
	}
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
	out := &SNI{
		Prefix:  l.d.Path(raw.Prefix),
		Default: l.name(raw.Default),
		Timeout: l.d.Duration(raw.Timeout, time.Millisecond, time.Hour),
	}
	for _, item := range l.d.Items(raw.ALPN) {
		path := l.name(item.Value)
		out.ALPN = append(out.ALPN, ALPNRoute{Protocol: item.Key.Value, Name: path})
	}
	return out
}

func (l *loader) serverTLS(raw *rawServerTLS) *ServerTLS {
	if raw == nil {
		return nil
	}
	d := l.d
	out := &ServerTLS{ClientCAFile: d.CAFile(raw.ClientCAFile), MinVersion: l.tlsVersion(raw.MinVersion), ALPN: l.protocols(raw.ALPN)}
	var first Certificate
	first.CertFile, first.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	first.OCSPFile = d.Readable(raw.OCSPFile)
	files := raw.CertFile != nil || raw.KeyFile != nil
	if files {
		out.Certificates = append(out.Certificates, first)
	}
	for i := range raw.Certificates {
		c := &raw.Certificates[i]
		var more Certificate
		more.CertFile, more.KeyFile = d.KeyPair(c.CertFile, c.KeyFile)
		more.OCSPFile = d.Readable(c.OCSPFile)
		out.Certificates = append(out.Certificates, more)
	}
	files = files || len(raw.Certificates) > 0
	if raw.ClientCAFile != nil {
		out.ClientAuth = d.OneOf(raw.ClientAuth, "required", "optional")
	}
	out.ClientIDs = l.clientIDs(raw)
	switch {
	case raw.Connect == nil && !files:
		d.Errorf(raw.Range, `add cert_file and key_file, or connect = "service"`, "the tls block has no certificate")
	case raw.Connect == nil:
	case files:
		d.Errorf(raw.Range, "connect brings its certificate along; leave the files out", "the tls block has both files and connect")
	case raw.ClientCAFile != nil:
		d.Errorf(raw.ClientCAFile.NameRange, "connect lets Consul's CA and intentions decide; leave client_ca_file out",
			"client_ca_file does not go with connect")
	case raw.ALPN != nil:
		d.Errorf(raw.ALPN.NameRange, "Connect's peers offer none; leave alpn out", "alpn does not go with connect")
	default:
		out.Connect = d.Service(raw.Connect)
	}
	if raw.OCSPFile != nil && raw.CertFile == nil {
		d.Errorf(hclx.Place(raw.OCSPFile), "add cert_file and key_file", "ocsp_file has no certificate that it is about")
	}
	return out
}

func (l *loader) tlsVersion(a hclx.Attr) uint16 {
	if l.d.OneOf(a, "1.2", "1.3") == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func (l *loader) protocols(a hclx.Attr) []string {
	var all []string
	for _, t := range l.d.Texts(a) {
		if t.Value == "" || len(t.Value) > 255 {
			l.d.Errorf(t.Range, `write a protocol such as "postgresql" or "h2"`, "a protocol has from 1 to 255 bytes")
			continue
		}
		all = append(all, t.Value)
	}
	return all
}
