package agent

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/identity"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

// liveMesh is Consul's mesh config entry, kept up to date for all Connect identities of an agent. A nil one is none.
type liveMesh struct {
	*identity.Mesh
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newMesh(consul settings.Consul, logger hclog.Logger, reg prometheus.Registerer) (*liveMesh, error) {
	client, err := consulclient.Shared(consul, logger, reg)
	if err != nil {
		return nil, err
	}
	return &liveMesh{Mesh: identity.NewMesh(client, logger.Named("identity"), reg)}, nil
}

// start makes it live. It begins with what the one before knows, if there was one.
func (m *liveMesh) start(before *liveMesh) {
	if m == nil {
		return
	}
	if before != nil {
		m.Inherit(before.Mesh)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.running.Go(func() { m.Run(ctx) })
}

func (m *liveMesh) stop() {
	if m == nil {
		return
	}
	if m.cancel != nil {
		m.cancel()
	}
	m.running.Wait()
}

// Ready is that of the identity, and of the mesh that it belongs to.
func (i *liveIdentity) Ready() error {
	if err := i.Identity.Ready(); err != nil || i.mesh == nil {
		return err
	}
	return i.mesh.Ready()
}
