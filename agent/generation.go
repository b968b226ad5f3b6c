package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"argosy/agent/accesslog"
	"argosy/agent/balance"
	"argosy/agent/config"
	"argosy/agent/dial"
	"argosy/agent/listen"
	"argosy/agent/register"
	"argosy/dtab"
	"argosy/internal/door"
)

// generation is what one configuration has been made into. Parts that a reload leaves alone are shared with the
// generation before. But for begun it is not changed once it is current.
type generation struct {
	config     *config.Config
	naming     *naming
	identities map[identityKey]*liveIdentity
	mesh       *liveMesh // nil: no Connect identity
	clients    []clientRule
	otherwise  clientRule  // where no client block fits
	tells      bool        // some endpoints are told of their clients
	listeners  []*listener // in the order of the configuration
	admin      *adminServer
	adminPeers *door.Peers        // of the TLS of admin; nil: none
	services   []register.Service // in Consul's catalog

	adminIdentity *liveIdentity // of the TLS of admin, where that is Connect
	adminOnly     *liveIdentity // the same, where nothing else uses it

	accessLog *accesslog.Sink // nil: none
	begun     bool            // identities and naming are live; guarded by Agent.changing
}

// clientRule is a client block, made ready.
type clientRule struct {
	prefix dtab.Prefix
	policy *dial.Policy
	config config.Client
}

// client returns how to dial a cluster: the first client block whose prefix matches the cluster or the name, or the
// defaults.
func (g *generation) client(cluster, name dtab.Path) *clientRule {
	for i := range g.clients {
		if r := &g.clients[i]; r.prefix.Matches(cluster) || r.prefix.Matches(name) {
			return r
		}
	}
	return &g.otherwise
}

// direct returns the address of an endpoint that can be dialled on the event loop.
func (r *clientRule) direct(lease *balance.Lease) (netip.AddrPort, bool) {
	if r.policy.TLS != nil {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddrPort(lease.Endpoint.Addr)
	return addr, err == nil && addr.Addr().Zone() == ""
}

// newRule makes a client block ready, but for its TLS.
func newRule(c config.Client) clientRule {
	p := &dial.Policy{
		Timeout: c.ConnectTimeout, Retries: c.Retries, RetryShare: c.RetryBudget,
		Socket: c.Socket, FastOpen: c.FastOpen, ProxyProtocol: c.ProxyProtocol,
	}
	if c.TLS != nil {
		p.StartTLS = c.TLS.StartTLS
	}
	return clientRule{prefix: c.Prefix, config: c, policy: p}
}

// fixed are the names of the configuration.
func (g *generation) fixed() []dtab.Path {
	var names []dtab.Path
	for _, l := range g.listeners {
		sni := l.config.SNI
		if sni == nil {
			names = append(names, l.config.Destination)
			continue
		}
		if sni.Default != nil {
			names = append(names, sni.Default)
		}
		for _, route := range sni.ALPN {
			names = append(names, route.Name)
		}
	}
	return names
}

// prepare does everything for cfg that can fail: reads files, resolves settings, binds sockets. Nothing that is in use
// changes. On an error all that is new is undone; otherwise the caller commits the generation, or calls undo.
func (a *Agent) prepare(cfg *config.Config, old *generation) (g *generation, undo func(), err error) {
	var undos []func()
	undoAll := func() {
		for _, u := range slices.Backward(undos) {
			u()
		}
	}
	defer func() {
		if err != nil {
			undoAll()
		}
	}()
	if old == nil {
		old = &generation{config: &config.Config{}}
	}
	g = &generation{config: cfg, identities: map[identityKey]*liveIdentity{},
		otherwise: newRule(config.DefaultClient())}

	if old.naming != nil && sameNaming(old.config, cfg) {
		g.naming = old.naming
	} else {
		if g.naming, err = newNaming(cfg, a.logger, a.deps.Registry); err != nil {
			return nil, nil, err
		}
		undos = append(undos, g.naming.stop)
	}
	consulSame := reflect.DeepEqual(old.config.Consul, cfg.Consul)
	mesh := func() (*liveMesh, error) {
		if g.mesh == nil && consulSame {
			g.mesh = old.mesh
		}
		if g.mesh == nil {
			m, err := newMesh(cfg.Consul, a.logger, a.deps.Registry)
			if err != nil {
				return nil, err
			}
			g.mesh = m
		}
		return g.mesh, nil
	}
	sourceSame := consulSame && old.config.Connect == cfg.Connect
	identity := func(k identityKey) (*liveIdentity, error) {
		if i := g.identities[k]; i != nil {
			return i, nil
		}
		if i := old.identities[k]; i != nil && (sourceSame || k.connect == "") {
			g.identities[k], g.mesh = i, cmp.Or(g.mesh, i.mesh)
			return i, nil
		}
		i, err := newIdentity(k, cfg, a.logger, a.deps.Registry)
		if err != nil {
			return nil, err
		}
		if k.connect != "" {
			if i.mesh, err = mesh(); err != nil {
				return nil, err
			}
		}
		i.judge = judgeOf(i.Identity)
		g.identities[k] = i
		return i, nil
	}
	for _, c := range cfg.Clients {
		rule := newRule(c)
		g.tells = g.tells || c.ProxyProtocol != ""
		if c.TLS != nil {
			if rule.policy.TLS, err = clientTLS(c.TLS, identity); err != nil {
				return nil, nil, fmt.Errorf("client %s: %w", c.Prefix, err)
			}
		}
		g.clients = append(g.clients, rule)
	}
	for _, c := range cfg.Listeners {
		l := &listener{name: c.Name, config: c}
		if l.router, err = newRouter(c, identity); err != nil {
			return nil, nil, fmt.Errorf("listener %q: %w", c.Name, err)
		}
		if c.TLS.AsksClients() {
			key := guardOf(c)
			if l.guard = a.guards[key]; l.guard == nil {
				l.guard = newGuard(a)
				a.guards[key] = l.guard
				undos = append(undos, func() { delete(a.guards, key) })
			}
		}
		if l.state = a.states[c.Name]; l.state == nil {
			l.state = &listenerState{metrics: a.metrics.listener(c.Name), limits: &listen.Limiter{}, handshakes: &handshakes{Limiter: &listen.Limiter{}}}
			a.states[c.Name] = l.state
			undos = append(undos, func() {
				delete(a.states, c.Name)
				a.metrics.forgetListener(c.Name)
			})
		}
		l.plain = c.TLS == nil && c.SNI == nil && c.ProxyProtocol == nil
		if l.label = c.Destination.String(); c.SNI != nil {
			l.label = c.SNI.Prefix.String() + "/*"
		}
		if l.port = old.port(keyOf(c)); l.port == nil {
			if l.port, err = openPort(context.Background(), c, a.inherited(socketName(keyOf(c))), a.logger); err != nil {
				return nil, nil, fmt.Errorf("listener %q: %w", c.Name, err)
			}
			undos = append(undos, l.port.stop)
		} else {
			undos = append(undos, func() { old.tune(l.port) })
			if err = l.port.tune(c); err != nil {
				return nil, nil, fmt.Errorf("listener %q: %w", c.Name, err)
			}
		}
		g.listeners = append(g.listeners, l)
	}
	g.keepTLS(old)
	undoAdmin, err := a.prepareAdmin(g, old, identity)
	if err != nil {
		return nil, nil, err
	}
	undos = append(undos, undoAdmin)
	if cfg.AccessLog != nil {
		sink, err := a.openAccessLog(cfg.AccessLog)
		if err != nil {
			return nil, nil, err
		}
		g.accessLog = sink
		undos = append(undos, func() { sink.Close() })
	}
	if g.services, err = services(cfg, g, a.deps.Version); err != nil {
		return nil, nil, err
	}
	return g, undoAll, nil
}

func (g *generation) port(key portKey) *port {
	for _, l := range g.listeners {
		if l.port.key == key {
			return l.port
		}
	}
	return nil
}

// tune gives a port the settings that it has in g.
func (g *generation) tune(p *port) {
	for _, l := range g.listeners {
		if l.port == p {
			p.tune(l.config)
		}
	}
}

// newRouter makes the routing part of a listener.
func newRouter(c config.Listener, identity func(identityKey) (*liveIdentity, error)) (*listen.Router, error) {
	r := &listen.Router{Destination: c.Destination, Handshake: c.Timeouts.Handshake}
	if c.SNI != nil {
		r.SNI = &listen.SNI{Prefix: c.SNI.Prefix, Default: c.SNI.Default, Timeout: c.SNI.Timeout}
		for _, route := range c.SNI.ALPN {
			r.SNI.ALPN = append(r.SNI.ALPN, listen.ALPNRoute(route))
		}
	}
	if p := c.ProxyProtocol; p != nil {
		r.Proxy = &listen.Proxy{From: p.From, Optional: p.Optional}
	}
	if c.TLS != nil {
		t, err := serverTLS(c.TLS, identity)
		if err != nil {
			return nil, err
		}
		r.TLS = listen.AwaitHello(t)
	}
	return r, nil
}

// commit makes g current and starts what is new in it; then it stops what only old had. It cannot fail.
func (a *Agent) commit(g, old *generation) {
	if old == nil {
		old = &generation{config: &config.Config{}}
	}
	g.begin(old)
	kept := map[string]bool{}
	for _, l := range g.listeners {
		l.state.limits.SetLimits(limits(l.config))
		l.state.handshakes.setLimits(l.config)
		kept[l.name] = true
	}
	a.names.balanceBy(func(cluster, name dtab.Path) *config.Client { return &g.client(cluster, name).config })
	a.names.use(g.naming.binder(), g.fixed(), g.config.Dtab.MaxNames)
	a.current.Store(g)
	judgedBefore := a.watchClients(g)
	a.access.Use(g.accessLog)
	for _, l := range g.listeners {
		fresh := l.port.current.Swap(l) == nil
		if fresh {
			l.port.start(a)
		}
	}
	a.commitAdmin(g, old)

	for _, l := range old.listeners {
		if g.port(l.port.key) == nil {
			l.port.stop()
		}
		if !kept[l.name] {
			a.retired = append(a.retired, l)
			delete(a.states, l.name)
		}
	}
	if old.admin != nil && g.admin != old.admin {
		old.admin.stop()
	}
	if old.naming != nil && g.naming != old.naming {
		old.naming.stop()
	}
	for k, i := range old.identities {
		if g.identities[k] != i && !a.judges(i) {
			i.stop()
		}
	}
	for _, i := range judgedBefore { // also what has left the configuration before
		i.stop()
	}
	if g.mesh != old.mesh {
		old.mesh.stop()
	}
	a.registry.use(g)
}

// begin starts to follow what connections need, where that is not followed already.
func (g *generation) begin(old *generation) {
	if g.begun {
		return
	}
	g.begun = true
	if g.mesh != old.mesh {
		g.mesh.start(old.mesh)
	}
	for k, i := range g.identities {
		if before := old.identities[k]; before != i {
			i.start(before)
		}
	}
	if g.naming != old.naming {
		g.naming.start()
	}
}

// missing says what g lacks to serve.
func (g *generation) missing() (reasons []string) {
	if known, err := g.naming.known(); !known {
		reason := "the table is not known yet"
		if err != nil {
			reason += ": " + err.Error()
		}
		reasons = append(reasons, reason)
	}
	for _, i := range g.identities {
		if i == g.adminOnly { // no traffic needs it
			continue
		}
		if err := i.Ready(); err != nil {
			reasons = append(reasons, fmt.Sprintf("identity %s: %v", i.Name(), err))
		}
	}
	return reasons
}
