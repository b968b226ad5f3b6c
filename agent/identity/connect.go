package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/tlsfiles"
	"argosy/internal/watch"
	"argosy/namer"
)

// Connect is the identity of a Consul Connect service. Nothing has to be registered for it: whoever may write the
// service gets its certificate. It is refused to all before Consul has first given a certificate, the roots and the
// intentions; afterwards what is known stays in force for as long as Consul cannot be reached.
type Connect struct {
	client  *api.Client
	source  source
	service string
	logger  hclog.Logger
	metrics *metrics
	trouble trouble

	leaf    *watch.Cell[*leaf]  // nil: none yet
	trust   *watch.Cell[*trust] // nil: none yet
	rules   *watch.Cell[rules]
	changed *watch.Cell[uint64]
	ask     chan struct{} // of one: the default action is to be asked for
	learned time.Time     // when it was known last; only learnDefault's
	now     func() time.Time
}

// NewConnect makes the identity of a service, whose name must be in lower case as names are in intentions. Run brings
// it to life. Certificate and roots come from the agent that client is for, unless UseServers says otherwise. Several may
// share a registry; reg may be nil.
func NewConnect(client *api.Client, service string, logger hclog.Logger, reg prometheus.Registerer) *Connect {
	return &Connect{
		client:  client,
		source:  fromAgent{client},
		service: service,
		logger:  logger.With("identity", service),
		metrics: newMetrics(reg),
		leaf:    watch.New(nil, (*leaf).equal),
		trust:   watch.New(nil, (*trust).equal),
		rules:   watch.New(rules{}, rules.equal),
		changed: watch.New(uint64(0), nil),
		ask:     make(chan struct{}, 1),
		now:     time.Now,
	}
}

// Name returns the service's name.
func (c *Connect) Name() string { return c.service }

// UseServers has the certificate signed by Consul's servers, and the roots told by them. It is called before Run.
func (c *Connect) UseServers(o ServersOptions) { c.source = newFromServers(c.client, o) }

// Inherit makes c know what another identity of the same service knows, until its own source says something else: where only
// the way to Consul has changed, no handshake is to fail for it. It is called before Run.
func (c *Connect) Inherit(from *Connect) {
	if l := from.leaf.Value(); l != nil {
		c.setLeaf(l)
	}
	if t := from.trust.Value(); t != nil {
		c.setTrust(t)
	}
	c.rules.Set(from.rules.Value())
}

// Run keeps certificate, roots and intentions live until ctx ends.
func (c *Connect) Run(ctx context.Context) error {
	if !validService(c.service) {
		return fmt.Errorf("connect identity %q: a service name has only lower-case letters, digits, - and _, and 63 of them at most", c.service)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){c.keepTelling, c.warnOfEnd, c.watchIntentions, c.learnDefault} {
		wg.Go(func() { f(ctx) })
	}
	err := c.source.follow(ctx, c)
	cancel()
	wg.Wait()
	c.metrics.forget(c.service)
	return err
}

// validService keeps to the names that look the same in a certificate, an intention and a request.
func validService(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return name != "" && len(name) <= 63
}

// Ready implements Identity.
func (c *Connect) Ready() error {
	if _, err := c.certificate(); err != nil {
		return err
	}
	switch {
	case c.trust.Value() == nil:
		return c.noRoots()
	case !c.rules.Value().complete():
		return c.noIntentions()
	}
	return nil
}

// certificate returns the certificate to show to those of whom nothing is known.
func (c *Connect) certificate() (*tls.Certificate, error) { return c.certificateFor("") }

// Server implements Identity. Clients must be Connect services that the intentions allow.
func (c *Connect) Server() *tls.Config {
	t := tlsfiles.Base()
	t.ClientAuth = tls.RequireAnyClientCert
	t.SessionTicketsDisabled = true
	t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if err := c.Ready(); err != nil {
			return nil, err
		}
		return c.certificateFor(domainOf(hello.ServerName))
	}
	t.VerifyConnection = func(s tls.ConnectionState) error {
		err := c.Authorize(s)
		if err != nil {
			c.metrics.refused.WithLabelValues(c.service).Inc()
		}
		return err
	}
	return t
}

// Authorize says whether a client may connect now. Of those who are connected already Judge says whether they may stay.
func (c *Connect) Authorize(s tls.ConnectionState) error {
	source, err := c.peer(s, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	return c.permit(source)
}

// permit says whether the intentions let source connect.
func (c *Connect) permit(source ID) error {
	r := c.rules.Value()
	if allow, why := r.decide(source); !allow {
		if r.unnamed(source) {
			why += fmt.Sprintf(": allow it with `consul intention create %s %s`", source.Service, c.service)
		}
		return fmt.Errorf("%w: %s to %s: %s", ErrDenied, source.Service, c.service, why)
	}
	return nil
}

// Changed is a number that grows whenever roots or intentions have changed, so that Judge may say something else.
func (c *Connect) Changed() watch.Reader[uint64] { return c.changed }

// peer verifies whose certificate the peer of a handshake has.
func (c *Connect) peer(s tls.ConnectionState, usage x509.ExtKeyUsage) (ID, error) {
	t := c.trust.Value()
	if t == nil {
		return ID{}, c.noRoots()
	}
	if len(s.PeerCertificates) == 0 {
		return ID{}, verifyChain(nil, t.pool, usage, "")
	}
	id, roots, wrong := t.member(s.PeerCertificates[0], false, c.now())
	if chain := verifyChain(s.PeerCertificates, roots, usage, ""); chain != nil { // more telling than what else is wrong
		var unknown x509.UnknownAuthorityError
		if errors.As(chain, &unknown) {
			return ID{}, fmt.Errorf("%w: no root of trust domain %s has signed it; is it of another Consul cluster, or none of Connect's?",
				chain, t.domain)
		}
		return ID{}, chain
	}
	return id, wrong
}

// Client implements Identity. The server must prove to be expect, in this trust domain and the default namespace.
func (c *Connect) Client(expect namer.ConnectID) (*tls.Config, error) {
	if expect.Service == "" || expect.Datacenter == "" {
		return nil, fmt.Errorf("connect as %s: the catalog does not offer Connect for the endpoint", c.service)
	}
	if _, err := c.certificate(); err != nil {
		return nil, err
	}
	t := c.trust.Value()
	if t == nil {
		return nil, c.noRoots()
	}
	config := tlsfiles.Base()
	// What Envoy sends: mesh gateways route by it.
	config.ServerName = expect.Service + "." + defaultNamespace + "." + expect.Datacenter + ".internal." + t.domain
	// Servers show their certificate before they see ours, so that it can be told of which domain they are.
	var domain atomic.Pointer[string]
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if d := domain.Load(); d != nil {
			return c.certificateFor(*d)
		}
		return c.certificate()
	}
	config.InsecureSkipVerify = true // the certificate has no DNS name; all is verified below
	config.VerifyConnection = func(s tls.ConnectionState) error {
		id, err := c.peer(s, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		domain.Store(&id.TrustDomain)
		want := ID{TrustDomain: id.TrustDomain, Namespace: defaultNamespace, Datacenter: expect.Datacenter, Service: expect.Service}
		if id != want {
			return fmt.Errorf("%w: it is %s, not %s: look at the address under which %s is in the catalog",
				ErrPeer, id, want, expect.Service)
		}
		return nil
	}
	return config, nil
}
