package agent

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/dial"
	"argosy/agent/identity"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/namer"
)

// identityKey says where an identity comes from: a Connect service, or files.
type identityKey struct {
	connect       string
	cert, key, ca string
}

// liveIdentity is an identity that is kept up to date. It is shared by all listeners and clients that use it.
type liveIdentity struct {
	identity.Identity
	key     identityKey
	logger  hclog.Logger
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newIdentity(k identityKey, consul settings.Consul, logger hclog.Logger, reg prometheus.Registerer) (*liveIdentity, error) {
	i := &liveIdentity{key: k, logger: logger.Named("identity")}
	if k.connect == "" {
		files, err := identity.NewFiles(k.cert, k.key, k.ca)
		if err != nil {
			return nil, err
		}
		files.SetLogger(i.logger)
		i.Identity = files
		return i, nil
	}
	client, err := consulclient.New(consul)
	if err != nil {
		return nil, err
	}
	i.Identity = identity.NewConnect(client, k.connect, i.logger, reg)
	return i, nil
}

func (i *liveIdentity) start() {
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

// clientTLS makes the TLS part of a client block.
func clientTLS(
	c *config.ClientTLS, identityOf func(identityKey) (*liveIdentity, error),
) (func(namer.Endpoint) (*tls.Config, error), error) {
	if c.Connect != "" {
		i, err := identityOf(identityKey{connect: c.Connect})
		if err != nil {
			return nil, err
		}
		return dial.ByIdentity(i.Client), nil
	}
	i, err := identityOf(identityKey{cert: c.CertFile, key: c.KeyFile, ca: c.CAFile})
	if err != nil {
		return nil, err
	}
	files := i.Identity.(*identity.Files)
	if _, err := files.ClientNamed(c.ServerName); err != nil {
		return nil, err
	}
	return func(namer.Endpoint) (*tls.Config, error) { return files.ClientNamed(c.ServerName) }, nil
}

// peerName is who a client has proved to be, for logs; empty without a client certificate.
func peerName(c net.Conn) string {
	if t, ok := c.(*tls.Conn); ok {
		return identity.PeerName(t.ConnectionState())
	}
	return ""
}
