package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"argosy/internal/tlsfiles"
	"argosy/namerd/config"
	"argosy/namerd/mesh"
	"argosy/namerd/names"
)

// runner serves until ctx ends.
type runner func(ctx context.Context) error

// openMesh listens for Linkerd 1.x. What it returns does nothing where that is not configured.
func openMesh(cfg *config.Mesh, naming *names.Names, logger hclog.Logger, registry *prometheus.Registry) (runner, error) {
	if cfg == nil {
		return func(context.Context) error { return nil }, nil
	}
	logger = logger.Named("mesh")
	if missing := cfg.Exposed(); missing != "" {
		logger.Warn("the mesh interface is open to the network without "+missing+": whoever reaches it can read tables and names", "address", cfg.Address)
	}
	var secured *tls.Config
	if cfg.TLS != nil {
		files, err := tlsfiles.New(cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("mesh: %w", err)
		}
		files.SetLogger(logger)
		secured = files.Server(false)
	}
	listener, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	server := mesh.New(mesh.Options{Names: naming, Logger: logger, Registry: registry, TLS: secured})
	return func(ctx context.Context) error { return server.Run(ctx, listener) }, nil
}

// runAll serves all until ctx ends or one fails, and waits for the others.
func runAll(ctx context.Context, all ...runner) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range all {
		group.Go(func() error { return run(ctx) })
	}
	return group.Wait()
}
