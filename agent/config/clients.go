package config

import (
	"encoding/base64"
	"math"
	"net/url"
	"time"

	"argosy/internal/hclx"
)

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
		c := l.client(raw)
		c.Prefix = prefix
		l.cfg.Clients = append(l.cfg.Clients, c)
	}
}

func (l *loader) client(raw *rawClient) Client {
	d := l.d
	out := Client{
		ConnectTimeout: d.Duration(raw.ConnectTimeout, time.Millisecond, time.Hour),
		Retries:        d.Int(raw.Retries, 0, 100),
		RetryBudget:    d.Float(raw.RetryBudget, 0, 100),
		MaxConnections: d.Int(raw.MaxConnections, 0, math.MaxInt32),
		AtLimit:        d.OneOf(raw.AtLimit, Refuse, Queue),
		ProxyProtocol:  d.OneOf(raw.ProxyProtocol, "v1", "v2"),
		Timeouts: ClientTimeouts{
			FirstByte: l.maybe(raw.FirstByteTimeout), Idle: l.maybe(raw.IdleTimeout),
			HalfClose: l.maybe(raw.HalfCloseTimeout), Lifetime: l.maybe(raw.MaxLifetime),
		},
		TLS: l.clientTLS(raw.TLS),
	}
	tuned := hclx.OrDefault(raw.Socket)
	out.Socket = l.socket(tuned.NoDelay, tuned.KeepAlive, tuned.UserTimeout, tuned.Mark)
	out.FastOpen = d.Bool(tuned.FastOpen)

	b := hclx.OrDefault(raw.Balance)
	out.Balance = Balance{
		Policy: d.OneOf(b.Policy, P2C, LeastLoaded, Hash), HashOn: d.OneOf(b.HashOn, "source", "sni"),
		SlowStart: d.Duration(b.SlowStart, 0, 24*time.Hour),
	}
	e := hclx.OrDefault(raw.Ejection)
	out.Ejection = Ejection{
		Failures: d.Int(e.Failures, 0, 1000), Resets: d.Int(e.Resets, 0, 1000),
		Time: d.Duration(e.Time, time.Millisecond, 24*time.Hour), MaxTime: d.Duration(e.MaxTime, time.Millisecond, 24*time.Hour),
		MaxShare: d.Float(e.MaxShare, 0, 1),
	}
	if out.Ejection.MaxTime < out.Ejection.Time && raw.Ejection != nil && raw.Ejection.MaxTime != nil {
		d.Errorf(hclx.Place(e.Time), "max_time is the longest", "time is longer than max_time")
	}
	r := hclx.OrDefault(raw.Removed)
	out.Removed = Removed{
		Action: d.OneOf(r.Action, ActionDrain, ActionCut), After: d.Duration(r.After, 0, 24*time.Hour), Rate: d.Float(r.Rate, 0.001, 1e6),
	}
	if raw.Rebalance != nil {
		out.Rebalance = &Rebalance{
			Rate: d.Float(raw.Rebalance.Rate, 0.001, 1e6), Quiet: d.Duration(raw.Rebalance.Quiet, 0, 24*time.Hour),
		}
	}
	return out
}

// maybe takes a duration that need not be set.
func (l *loader) maybe(a hclx.Attr) *time.Duration {
	if a == nil {
		return nil
	}
	v := l.d.Duration(a, 0, hclx.Forever)
	return &v
}

func (l *loader) clientTLS(raw *rawClientTLS) *ClientTLS {
	if raw == nil {
		return nil
	}
	d := l.d
	out := &ClientTLS{
		ServerName: d.String(raw.ServerName), SPIFFEID: d.String(raw.SPIFFEID), CAFile: d.CAFile(raw.CAFile),
		ALPN: l.protocols(raw.ALPN), StartTLS: d.OneOf(raw.StartTLS, "postgres"), MinVersion: l.tlsVersion(raw.MinVersion),
	}
	out.CertFile, out.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	for _, pin := range d.Texts(raw.Pins) {
		if sum, err := base64.StdEncoding.DecodeString(pin.Value); err != nil || len(sum) != 32 {
			d.Errorf(pin.Range, "openssl x509 -pubkey -noout -in cert.pem | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
				"the pin is no SHA-256 in base64")
			continue
		}
		out.Pins = append(out.Pins, pin.Value)
	}
	switch {
	case raw.Connect == nil && raw.ServerName == nil && raw.SPIFFEID == nil && raw.Pins == nil:
		d.Errorf(raw.Range, `add server_name = "db.example", spiffe_id, pins, or connect = "service"`, "the tls block does not say whom to expect")
	case raw.Connect == nil:
		if raw.ServerName != nil && out.ServerName == "" && !d.Failed(raw.ServerName) {
			d.Errorf(hclx.Place(raw.ServerName), `write server_name = "db.example"`, "server_name is empty")
		}
		if u, err := url.Parse(out.SPIFFEID); raw.SPIFFEID != nil && !d.Failed(raw.SPIFFEID) && (err != nil || u.Scheme != "spiffe" || u.Host == "") {
			d.Errorf(hclx.Place(raw.SPIFFEID), `write spiffe_id = "spiffe://example.org/db"`, "spiffe_id is no SPIFFE id")
		}
	case raw.ServerName != nil || raw.CAFile != nil || raw.CertFile != nil || raw.KeyFile != nil || raw.SPIFFEID != nil ||
		raw.Pins != nil || raw.ALPN != nil:
		d.Errorf(raw.Range, "connect brings certificate, CA and the expected name along; leave the others out",
			"the tls block has connect and other keys")
	default:
		out.Connect = d.Service(raw.Connect)
	}
	return out
}
