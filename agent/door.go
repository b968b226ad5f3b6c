package agent

import (
	"crypto/tls"
	"fmt"
	"os"
	"reflect"
	"time"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/internal/door"
)

// adminServer is the HTTP endpoint for operators and Prometheus.
type adminServer struct{ *door.Server }

func (s *adminServer) address() string { return s.Address() }

// stop lets answers that are on their way finish, for a moment.
func (s *adminServer) stop() { s.Stop(time.Second) }

// leave is stop where another process goes on with the socket.
func (s *adminServer) leave() {
	if l, ok := s.Listener().(*door.UnixListener); ok {
		l.Leave()
	}
	s.stop()
}

// duplicate is the listening socket for another process, which is the caller's to close; nil if it cannot be handed over.
func (s *adminServer) duplicate() *os.File {
	l, ok := s.Listener().(interface{ File() (*os.File, error) })
	if !ok {
		return nil
	}
	f, err := l.File()
	if err != nil {
		return nil
	}
	return f
}

// samePlace reports whether a socket that was opened for one can serve the other.
func samePlace(a, b config.Admin) bool { return a.Network == b.Network && a.Address == b.Address }

// prepareAdmin makes the admin endpoint of g, on the socket of old where that is at the same place.
func (a *Agent) prepareAdmin(g, old *generation, identityOf func(identityKey) (*liveIdentity, error)) (undo func(), err error) {
	cfg := g.config.Admin
	if g.adminPeers, err = a.adminPeers(g, identityOf); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if old.admin != nil && samePlace(old.config.Admin, cfg) {
		g.admin = old.admin
		if g.adminIdentity == old.adminIdentity && reflect.DeepEqual(old.config.Admin.TLS, cfg.TLS) {
			g.adminPeers = old.adminPeers
		}
		return func() {}, nil
	}
	l, err := door.Listen(cfg, a.inherited(adminSocket+cfg.Address))
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	logger := a.logger.Named("admin")
	d := door.New(cfg, g.adminPeers, door.Options{Logger: logger, Registry: a.deps.Registry, Realm: "argosy agent"})
	g.admin = &adminServer{Server: door.NewServer(d, l, a.handler(), logger)}
	return g.admin.stop, nil
}

// adminPeers makes the TLS part of the admin endpoint.
func (a *Agent) adminPeers(g *generation, identityOf func(identityKey) (*liveIdentity, error)) (*door.Peers, error) {
	t := g.config.Admin.TLS
	if t == nil || t.Connect == "" {
		return door.FilePeers(t, a.logger.Named("admin"))
	}
	key := identityKey{connect: t.Connect}
	alone := g.identities[key] == nil // no traffic needs it
	i, err := identityOf(key)
	if err != nil {
		return nil, err
	}
	if g.adminIdentity = i; alone {
		g.adminOnly = i
	}
	authority, ok := i.Identity.(interface {
		Authorize(tls.ConnectionState) error
	})
	if !ok {
		return nil, fmt.Errorf("%s is no Connect service", i.Name())
	}
	server := i.Server()
	server.NextProtos = []string{"http/1.1"}
	if verify := server.VerifyConnection; !t.Required { // what is open needs no certificate
		server.ClientAuth = tls.RequestClientCert
		server.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			return verify(s)
		}
	}
	return &door.Peers{TLS: i.mesh.Server(server), Verify: authority.Authorize, Name: identity.PeerName}, nil
}

// commitAdmin makes the admin endpoint of g the one that serves, by the rules of g.
func (a *Agent) commitAdmin(g, old *generation) {
	cfg := g.config.Admin
	if reflect.DeepEqual(cfg, old.config.Admin) && g.admin == old.admin && g.adminPeers == old.adminPeers {
		return
	}
	if missing := cfg.Exposed(); missing != "" {
		a.logger.Warn("the admin endpoint is open to the network without "+missing+": see docs/admin.md", "address", cfg.Address)
	}
	if g.admin == old.admin {
		if err := g.admin.Use(cfg, g.adminPeers); err != nil {
			a.logger.Error("the permissions of the admin endpoint's socket cannot be changed", "socket", cfg.Address, "error", err)
		}
		return
	}
	g.admin.Start()
}

// AdminURL is where the admin endpoint is to be asked: a URL, or "unix:" and a path.
func (a *Agent) AdminURL() string {
	g := a.current.Load()
	return g.adminURL(g.admin.address())
}

// adminURL makes a URL of an address of the admin endpoint.
func (g *generation) adminURL(address string) string {
	switch {
	case g.config.Admin.Network == "unix":
		return address
	case g.config.Admin.TLS != nil:
		return "https://" + address
	}
	return "http://" + address
}

// checkURL is what Consul may ask; empty where it cannot.
func (g *generation) checkURL() string {
	if g.config.Admin.Network == "unix" {
		return ""
	}
	return g.adminURL(reachable(g.admin.address(), "127.0.0.1")) + "/ready"
}
