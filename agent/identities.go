package agent

import (
	"context"
	"crypto/tls"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/dial"
	"argosy/agent/identity"
	"argosy/agent/listen"
	"argosy/internal/consulclient"
	"argosy/internal/tlsfiles"
	"argosy/namer"
)

// identityKey says where an identity comes from: a Connect service, or files.
type identityKey struct {
	connect string
	pairs   string // the files of the certificates, one after the other, each ended by a zero
	ca      string
}

// filesKey is the key of an identity from files.
func filesKey(ca string, certificates ...config.Certificate) identityKey {
	var b strings.Builder
	for _, c := range certificates {
		for _, file := range []string{c.CertFile, c.KeyFile, c.OCSPFile} {
			b.WriteString(file)
			b.WriteByte(0)
		}
	}
	return identityKey{pairs: b.String(), ca: ca}
}

func (k identityKey) certificates() (pairs []tlsfiles.Pair) {
	for files := range slices.Chunk(strings.Split(k.pairs, "\x00"), 3) {
		if len(files) == 3 { // and the rest is what stands behind the last zero
			pairs = append(pairs, tlsfiles.Pair{Cert: files[0], Key: files[1], OCSP: files[2]})
		}
	}
	return pairs
}

// liveIdentity is an identity that is kept up to date. It is shared by all listeners and clients that use it.
type liveIdentity struct {
	identity.Identity
	judge   identity.Judge // the same, for listeners
	key     identityKey
	mesh    *liveMesh // of a Connect service, else nil; it runs by itself
	logger  hclog.Logger
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newIdentity(k identityKey, cfg *config.Config, logger hclog.Logger, reg prometheus.Registerer) (*liveIdentity, error) {
	i := &liveIdentity{key: k, logger: logger.Named("identity")}
	if k.connect == "" {
		files, err := identity.NewFilePairs(k.certificates(), k.ca)
		if err != nil {
			return nil, err
		}
		files.SetLogger(i.logger)
		files.SetMetrics(reg)
		i.Identity = files
		return i, nil
	}
	client, err := consulclient.Shared(cfg.Consul, logger, reg)
	if err != nil {
		return nil, err
	}
	connect := identity.NewConnect(client, k.connect, i.logger, reg)
	if cfg.Connect.Source == config.FromServers {
		servers, err := consulServers(cfg)
		if err != nil {
			return nil, err
		}
		connect.UseServers(servers)
	}
	i.Identity = connect
	return i, nil
}

// consulServers says how to reach Consul's servers over gRPC.
func consulServers(cfg *config.Config) (o identity.ServersOptions, err error) {
	c := cfg.Connect
	o = identity.ServersOptions{Address: c.Address, Datacenter: cfg.Consul.Datacenter}
	if o.Token, err = consulclient.Token(cfg.Consul); err != nil {
		return o, err
	}
	if c.TLS {
		files, err := tlsfiles.New(c.CertFile, c.KeyFile, c.CAFile)
		if err != nil {
			return o, err
		}
		o.TLS = files.Client(c.ServerName)
	}
	return o, nil
}

// start makes it live. That of a Connect service begins with what the one before knows, if there was one: as late as this, lest
// what that one has heard meanwhile is forgotten, such as a denial.
func (i *liveIdentity) start(before *liveIdentity) {
	if before != nil && i.key.connect != "" {
		i.Identity.(*identity.Connect).Inherit(before.Identity.(*identity.Connect))
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	i.running.Go(func() {
		if err := i.Run(ctx); err != nil && ctx.Err() == nil {
			i.logger.Error("identity is not kept up to date any more", "identity", i.Name(), "error", err)
		}
	})
}

func (i *liveIdentity) stop() {
	if i.cancel != nil {
		i.cancel()
	}
	i.running.Wait()
}

func clientKey(c *config.ClientTLS) identityKey {
	switch {
	case c.Connect != "":
		return identityKey{connect: c.Connect}
	case c.CertFile == "":
		return filesKey(c.CAFile)
	}
	return filesKey(c.CAFile, config.Certificate{CertFile: c.CertFile, KeyFile: c.KeyFile})
}

func serverKey(c *config.ServerTLS) identityKey {
	if c.Connect != "" {
		return identityKey{connect: c.Connect}
	}
	return filesKey(c.ClientCAFile, c.Certificates...)
}

// keepTLS takes the TLS parts of the generation before over where all that they were made of is the same: sessions can then
// be resumed after a reload.
func (g *generation) keepTLS(old *generation) {
	same := func(k identityKey) bool { return g.identities[k] == old.identities[k] }
	for _, l := range g.listeners {
		for _, o := range old.listeners {
			if t := l.config.TLS; t != nil && o.name == l.name && reflect.DeepEqual(o.config.TLS, t) && same(serverKey(t)) {
				l.router.TLS = o.router.TLS
			}
		}
	}
	for i := range g.clients {
		c := &g.clients[i]
		for _, o := range old.clients {
			if t := c.config.TLS; t != nil && reflect.DeepEqual(o.prefix, c.prefix) && reflect.DeepEqual(o.config.TLS, t) && same(clientKey(t)) {
				c.policy.TLS = o.policy.TLS
			}
		}
	}
}

// clientTLS makes the TLS part of a client block.
func clientTLS(
	c *config.ClientTLS, identityOf func(identityKey) (*liveIdentity, error),
) (func(namer.Endpoint) (*tls.Config, error), error) {
	i, err := identityOf(clientKey(c))
	if err != nil {
		return nil, err
	}
	if c.Connect != "" {
		return dial.ByIdentity(func(expect namer.ConnectID) (*tls.Config, error) {
			t, err := i.Client(expect)
			if err != nil {
				return nil, err
			}
			t.MinVersion = max(t.MinVersion, c.MinVersion)
			return t, i.mesh.Client(t)
		}), nil
	}
	files := i.Identity.(*identity.Files)
	t, err := files.ClientWith(identity.ClientOptions{
		ServerName: c.ServerName, SPIFFEID: c.SPIFFEID, Pins: c.Pins, ALPN: c.ALPN, MinVersion: c.MinVersion,
	})
	if err != nil {
		return nil, err
	}
	sessions := files.Sessions(t)
	return func(ep namer.Endpoint) (*tls.Config, error) { return sessions.Config(ep.Addr), nil }, nil
}

// serverTLS makes the TLS part of a listener.
func serverTLS(c *config.ServerTLS, identityOf func(identityKey) (*liveIdentity, error)) (*tls.Config, error) {
	i, err := identityOf(serverKey(c))
	if err != nil {
		return nil, err
	}
	if c.Connect != "" {
		t := i.Server()
		t.MinVersion = max(t.MinVersion, c.MinVersion)
		return i.mesh.Server(t), nil
	}
	return i.Identity.(*identity.Files).ServerWith(identity.ServerOptions{
		OptionalClients: c.ClientAuth == "optional", MinVersion: c.MinVersion, ALPN: c.ALPN, ClientIDs: c.ClientIDs,
	}), nil
}

// request is what an endpoint is to be told of the client.
func (c *connection) request(in *listen.Inbound, g *generation) dial.Request {
	r := dial.Request{Budget: &c.destination.budget, StartTLS: in.StartTLS}
	if !g.tells {
		return r
	}
	r.Info = dial.Info{Client: c.client, ServerName: in.ServerName}
	if len(in.ALPN) == 1 {
		r.Info.ALPN = in.ALPN[0]
	}
	if in.Proxy != nil && in.Proxy.Destination.IsValid() {
		r.Info.Local = in.Proxy.Destination
	} else if local, ok := in.Conn.LocalAddr().(*net.TCPAddr); ok {
		r.Info.Local = local.AddrPort()
	}
	if t, ok := in.Conn.(*tls.Conn); ok {
		s := t.ConnectionState()
		r.Info.ServerName = s.ServerName
		r.Info.TLSVersion = strings.Replace(tls.VersionName(s.Version), " ", "v", 1) // as OpenSSL writes it
		r.Info.Certificate = len(s.PeerCertificates) > 0
		r.Info.CommonName, r.Info.SPIFFEID = identity.PeerSubject(s)
	}
	return r
}

// peerName is who a client has proved to be, for logs; empty without a client certificate.
func peerName(c net.Conn) string {
	if t, ok := c.(*tls.Conn); ok {
		return identity.PeerName(t.ConnectionState())
	}
	return ""
}
