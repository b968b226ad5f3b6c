package suite

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy/e2e/stack"
)

// Names of services. friend may connect to target, guest may in some cases, and nobody else may.
const (
	target   = "target"
	friend   = "friend"
	guest    = "guest"
	stranger = "stranger"
	dialler  = "dialler" // whom the proxy is as a client
)

// patience is for what happens within a second on an idle machine.
const patience = 20 * time.Second

// World is a proxy with a Consul of its own, and all that is around it. Its methods are for one goroutine.
type World struct {
	proxy  Proxy
	config Config
	stack  *stack.Stack
	domain string // Consul's trust domain
	root   *signer
	pool   *x509.CertPool // of root
	app    *app
	in     Inbound
	proc   *stack.Proc       // of in
	dials  map[string]string // services that the proxy dials, and where it listens for them
	places map[string][]*app // their instances
	lost   bool              // Consul has been killed
}

// Start starts Consul and the proxy, and returns when a good client gets through, both to the service behind the proxy and
// to one that it dials. progress shows the building of servers that are missing.
func Start(ctx context.Context, p Proxy, c Config, progress io.Writer) (w *World, err error) {
	c.Sockets = cmp.Or(c.Sockets, 500)
	w = &World{proxy: p, config: c, dials: map[string]string{}, places: map[string][]*app{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", p.Name, errors.Join(err, w.Close()))
		}
	}()
	if w.root, err = sign(nil, authority("Test CA")); err != nil {
		return w, err
	}
	w.pool = x509.NewCertPool()
	w.pool.AddCert(w.root.cert)
	key, err := w.root.keyPEM()
	if err != nil {
		return w, err
	}
	w.stack, err = stack.Start(ctx, stack.Options{Consul: true, Progress: progress, ConsulHCL: fmt.Sprintf(
		"connect {\n  ca_provider = \"consul\"\n  ca_config {\n    private_key = %q\n    root_cert = %q\n  }\n}\n", key, w.root.certPEM())})
	if err != nil {
		return w, err
	}
	if err := w.learn(ctx); err != nil {
		return w, err
	}
	if w.app, err = startApp(""); err != nil {
		return w, err
	}
	if err := w.allow(ctx, friend); err != nil {
		return w, err
	}
	if err := w.startServers(ctx); err != nil {
		return w, err
	}
	w.in = w.inbound("inbound", w.app.addr)
	if w.proc, err = p.Accept(ctx, w.stack, w.in); err != nil {
		return w, err
	}
	if _, err = p.Dial(ctx, w.stack, Outbound{Name: "outbound", Service: dialler, Services: w.dials}); err != nil {
		return w, err
	}
	b := &bed{World: w, ctx: ctx}
	if err := b.opens(w.in.Listen); err != nil {
		return w, fmt.Errorf("%w\n%s", err, w.stack.Logs(20))
	}
	if err := b.within(patience, func(context.Context) error { return b.through(goodServer) }); err != nil {
		return w, fmt.Errorf("dial a good server: %w\n%s", err, w.stack.Logs(20))
	}
	return w, nil
}

// Close ends all that Start has started.
func (w *World) Close() error {
	var err error
	if w.stack != nil {
		err = w.stack.Close()
	}
	for _, name := range slices.Sorted(maps.Keys(w.places)) {
		for _, s := range w.places[name] {
			s.close()
		}
	}
	if w.app != nil {
		w.app.close()
	}
	return err
}

// inbound is a further proxy for the same service.
func (w *World) inbound(name, app string) Inbound {
	return Inbound{Name: name, Service: target, Listen: w.stack.Addr(), App: app}
}

// learn asks for the trust domain, and makes sure that our authority is Consul's.
func (w *World) learn(ctx context.Context) error {
	return stack.Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		var roots struct {
			TrustDomain string
			Roots       []struct{ RootCert string }
		}
		if err := w.stack.Consul.Get(ctx, "/v1/agent/connect/ca/roots", &roots); err != nil {
			return err
		}
		if len(roots.Roots) != 1 || strings.TrimSpace(roots.Roots[0].RootCert) != strings.TrimSpace(w.root.certPEM()) {
			return errors.New("consul has another root than ours")
		}
		w.domain = roots.TrustDomain
		return nil
	})
}

// source is whom an intention is about. Without an action it has L7 permissions.
type source struct{ name, action string }

// intend sets the intentions of target. Everybody else is denied.
func (w *World) intend(ctx context.Context, sources ...source) error {
	list := []map[string]any{{"Name": "*", "Action": "deny"}}
	for _, s := range sources {
		one := map[string]any{"Name": s.name}
		if s.action != "" {
			one["Action"] = s.action
		} else {
			one["Permissions"] = []map[string]any{{"Action": "allow", "HTTP": map[string]any{"PathPrefix": "/"}}}
		}
		list = append(list, one)
	}
	// A Consul that has just been elected says for a moment that intentions are read-only.
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return stack.Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		return w.stack.Consul.Put(ctx, "/v1/config", map[string]any{"Kind": "service-intentions", "Name": target, "Sources": list})
	})
}

// allow lets these connect to target, and nobody else.
func (w *World) allow(ctx context.Context, names ...string) error {
	var sources []source
	for _, n := range names {
		sources = append(sources, source{n, "allow"})
	}
	return w.intend(ctx, sources...)
}

// protocol says what target speaks.
func (w *World) protocol(ctx context.Context, protocol string) error {
	return w.stack.Consul.Put(ctx, "/v1/config", map[string]any{"Kind": "service-defaults", "Name": target, "Protocol": protocol})
}

// register puts an instance of a service into the catalog that speaks Connect itself.
func (w *World) register(ctx context.Context, id, service, addr string, weight int) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	return w.stack.Consul.Put(ctx, "/v1/agent/service/register", map[string]any{
		"ID": id, "Name": service, "Address": host, "Port": n,
		"Connect": map[string]any{"Native": true}, "Weights": map[string]any{"Passing": weight, "Warning": 1},
	})
}
