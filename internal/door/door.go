// Package door lets callers into an HTTP endpoint: those who show a token or a certificate that is known, or everybody, where the
// endpoint is for this machine only. It refuses what web pages do in a browser on this machine, and keeps strangers from using
// the endpoint up.
//
//	d := door.New(cfg, peers, door.Options{Logger: logger, Registry: registry, Realm: "argosy"})
//	l, err := door.Listen(cfg, nil)
//	s := door.NewServer(d, l, handler, logger) // for a server of one's own: Check, Listener, Connected and Note
//	s.Start()
//	d.Use(newCfg, newPeers)
//	s.Stop(time.Second)
//
// Who may what: paths that are open may be read by anybody. All else needs, with tokens, one of them; with client certificates,
// one that is good at this moment; with both, either, or both where certificates are required. A Unix socket lets in whom its
// file's permissions do.
package door

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
	"argosy/internal/settings"
)

// DefaultConnections is how many callers that were let in are served at a time.
const DefaultConnections = 256

// Options of a door. All may be left out.
type Options struct {
	Logger   hclog.Logger
	Registry prometheus.Registerer
	Realm    string // names the endpoint in what it answers
}

// Door lets callers in. Its methods may be called from any goroutine.
type Door struct {
	options Options
	rules   atomic.Pointer[rules]
	conns   *conns
	origin  *http.CrossOriginProtection
	metrics *Metrics

	body, write time.Duration // for the body of a request, and for a client to take a part of an answer; tests have less time
}

// rules are of one configuration. They are replaced, never changed.
type rules struct {
	cfg    settings.Door
	realm  string
	peers  *Peers // nil: no TLS
	tokens []*token
	asks   bool // for certificates
}

// Metrics are those of a door.
type Metrics struct {
	refused *prometheus.CounterVec
	evicted prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		refused: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_http_refused_total",
			Help: "Requests to the process's own HTTP endpoint that were not let in.",
		}, []string{"reason"})),
		evicted: promx.Registered(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argosy_http_evicted_connections_total",
			Help: "Connections to the process's own HTTP endpoint that had to make room for others.",
		})),
	}
}

// New makes a door. With peers it speaks TLS.
func New(cfg settings.Door, peers *Peers, o Options) *Door {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Realm == "" {
		o.Realm = "endpoint"
	}
	m := newMetrics(o.Registry)
	d := &Door{
		options: o, metrics: m, origin: http.NewCrossOriginProtection(), body: bodyTimeout, write: writeTimeout,
		conns: &conns{metrics: m, max: most(cfg), sources: map[netip.Prefix]*source{}},
	}
	d.rules.Store(d.newRules(cfg, peers))
	return d
}

func most(cfg settings.Door) int {
	if cfg.MaxConnections > 0 {
		return cfg.MaxConnections
	}
	return DefaultConnections
}

func (d *Door) newRules(cfg settings.Door, peers *Peers) *rules {
	return &rules{
		cfg: cfg, realm: d.options.Realm, peers: peers, tokens: newTokens(cfg.Tokens, d.options.Logger),
		asks: cfg.TLS != nil && (cfg.TLS.ClientCAFile != "" || cfg.TLS.Connect != ""),
	}
}

// Use changes who may come in, from the next request on. Address and socket stay as they are. Connections are closed when nothing
// is under way on them.
func (d *Door) Use(cfg settings.Door, peers *Peers) {
	d.rules.Store(d.newRules(cfg, peers))
	d.conns.renew(most(cfg))
}

// Caller is who was let in.
type Caller struct {
	Name  string // empty where nobody is asked who they are
	Write bool   // else it may only read
}

// Refusal is why a request was not let in.
type Refusal struct {
	Status int    // of HTTP
	Reason string // token, certificate, client, closed, host, origin or busy
	Text   string
}

// Header is what belongs to the answer beside the text.
func (f *Refusal) Header(h http.Header, realm string) {
	if f.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", realm))
	}
	if f.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	h.Set("Connection", "close")
}

// Check says who sends a request to a path, or why it is refused.
func (d *Door) Check(r *http.Request, path string) (Caller, *Refusal) {
	c, refusal := d.rules.Load().check(r, path, d.origin)
	if refusal == nil && !d.open(r, path) {
		if n, ok := r.Context().Value(connKey{}).(*conn); ok && !d.conns.enter(n) {
			refusal = &Refusal{http.StatusServiceUnavailable, "busy", "too many requests are under way"}
		}
	}
	if refusal == nil {
		return c, nil
	}
	d.metrics.refused.WithLabelValues(refusal.Reason).Inc()
	d.options.Logger.Debug("request refused", "address", r.RemoteAddr, "method", r.Method, "path", path, "reason", refusal.Reason)
	return Caller{}, refusal
}

func (d *Door) open(r *http.Request, path string) bool { return d.rules.Load().open(r, path) }

func (s *rules) open(r *http.Request, path string) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && slices.Contains(s.cfg.Open, path)
}

func (s *rules) check(r *http.Request, path string, origin *http.CrossOriginProtection) (Caller, *Refusal) {
	if s.open(r, path) {
		return Caller{}, nil
	}
	if err := origin.Check(r); err != nil {
		return Caller{}, &Refusal{http.StatusForbidden, "origin", fmt.Sprintf("refused, as a web page must not change anything here: %v", err)}
	}
	c, refusal := s.identify(r)
	if refusal != nil {
		return c, refusal
	}
	if c.Name == "" && !s.hostKnown(r) {
		return c, &Refusal{http.StatusForbidden, "host", fmt.Sprintf(
			"refused, as a web page may have sent it: it is for the host %.100q, not for localhost or an address; hosts in the configuration adds names", r.Host)}
	}
	return c, nil
}

// identify tells who sends a request.
func (s *rules) identify(r *http.Request) (Caller, *Refusal) {
	var c Caller
	certified := false
	if s.asks && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		name, err := s.peers.identify(*r.TLS)
		if err != nil {
			return c, &Refusal{http.StatusUnauthorized, "certificate", "the certificate is not accepted"}
		}
		c.Name, certified = name, true
	}
	found, shown := find(s.tokens, r)
	required := s.asks && s.cfg.TLS.Required
	stranger := certified && s.cfg.TLS.Connect != "" && !slices.Contains(s.cfg.TLS.Clients, c.Name)
	switch {
	case s.cfg.Closed:
		return c, &Refusal{http.StatusUnauthorized, "closed", fmt.Sprintf("this %s serves only what is open: it has no token_file and asks for no certificates", s.realm)}
	case required && !certified:
		return c, s.unknown("certificate", "a certificate")
	case stranger && (required || found == nil): // a token is enough only where a certificate is not required
		return c, &Refusal{http.StatusForbidden, "client", fmt.Sprintf("the service %q is not among the clients of this %s", c.Name, s.realm)}
	case found != nil:
		return Caller{Name: found.name, Write: found.write}, nil
	case len(s.tokens) > 0 && required:
		return c, s.unknown("token", "a token")
	case len(s.tokens) > 0 && shown: // a wrong one is no reason to look for something else
		return c, s.unknown("token", s.wants())
	case certified:
	case s.asks || len(s.tokens) > 0:
		return c, s.unknown("token", s.wants())
	}
	c.Write = true
	return c, nil
}

// wants says what lets callers in, where one thing is enough.
func (s *rules) wants() string {
	switch {
	case s.asks && len(s.tokens) > 0:
		return "a token or a certificate"
	case s.asks:
		return "a certificate"
	}
	return "a token"
}

func (s *rules) unknown(reason, what string) *Refusal {
	return &Refusal{http.StatusUnauthorized, reason, fmt.Sprintf("this %s wants %s that it knows", s.realm, what)}
}

// hostKnown refuses what a web page can send to this machine after its own name was given our address (DNS rebinding): then the
// request is for that name. A page cannot have an address or localhost for its name unless it comes from there.
func (s *rules) hostKnown(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() || r.Host == "" || s.cfg.Insecure {
		return true
	}
	host := hostOf(r.Host)
	switch {
	case host == "":
		return false
	case host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil || host == hostOf(s.cfg.Address):
		return true
	}
	return slices.ContainsFunc(s.cfg.Hosts, func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), host) })
}

// hostOf is the host of "host:port" or "host", in lower case, without brackets and the last dot; empty if it is no name and no
// address.
func hostOf(text string) string {
	if host, port, err := net.SplitHostPort(text); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return ""
		}
		text = host
	} else {
		text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	}
	address, _, _ := strings.Cut(text, "%") // the zone of an IPv6 address
	if net.ParseIP(address) != nil {
		return address
	}
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return ""
	}
	return text
}

// Listener makes connections of l known to the door, and speaks TLS on them where the door does at that moment.
func (d *Door) Listener(l net.Listener) net.Listener { return &listener{l, d} }

type listener struct {
	net.Listener
	door *Door
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.door.conns.add(c)
	if p := l.door.rules.Load().peers; p != nil {
		return tls.Server(n, p.TLS), nil
	}
	return n, nil
}

type connKey struct{}

// Connected is an http.Server's ConnContext.
func (d *Door) Connected(ctx context.Context, c net.Conn) context.Context {
	if n := connOf(c); n != nil {
		return context.WithValue(ctx, connKey{}, n)
	}
	return ctx
}

// Note is an http.Server's ConnState.
func (d *Door) Note(c net.Conn, state http.ConnState) {
	if n := connOf(c); n != nil && state == http.StateIdle {
		d.conns.leave(n)
	}
}
