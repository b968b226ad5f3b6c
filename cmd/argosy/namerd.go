package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"argosy/internal/consulclient"
	"argosy/internal/door"
	"argosy/namer"
	"argosy/namer/mounts"
	"argosy/namerd"
	"argosy/namerd/config"
	"argosy/namerd/names"
	"argosy/namerd/store"
	"argosy/namerd/store/consul"
	"argosy/namerd/store/files"
)

type namerdCommand struct{ *meta }

func (c *namerdCommand) Synopsis() string {
	return "Serve tables, and what names stand for, over the HTTP API of Namerd"
}

func (c *namerdCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy namerd -config FILE|DIR [-config ...]

  Serves tables from Consul's KV store, from files or from memory over the
  HTTP API of Namerd, and tells what names stand for under them: for argosy
  dtab, namerctl, Linkerd, linkerd-tcp and agents. Agents that read Consul
  themselves need no namerd to be up.

  SIGHUP reloads the log level, read_only and who may come in, SIGTERM ends
  the server.

Options:

  -config FILE|DIR  An HCL file, or a directory of *.hcl files. Repeatable.

Exit codes: 0 stopped, 1 failed, 2 wrong usage or invalid configuration.

Example:

    argosy namerd -config hcl/namerd-memory.hcl
    curl -s http://127.0.0.1:4180/api/1/dtabs/default
    curl -s 'http://127.0.0.1:4180/api/1/bind/default?path=/svc/redis'`)
}

func (c *namerdCommand) Run(args []string) int {
	paths, code, ok := c.configured(c.flags("namerd"), args, c.Help)
	if !ok {
		return code
	}
	cfg, err := config.Load(paths)
	if err != nil {
		return c.fail(err)
	}
	logger := c.logger(cfg.Log).Named(cfg.Name)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	tables, closeTables, err := tableStore(cfg, logger, registry)
	if err != nil {
		return c.fail(err)
	}
	defer closeTables()
	tables = store.WithGauge(tables, registry)
	naming, err := openNames(cfg, tables, logger, registry)
	if err != nil {
		return c.fail(err)
	}
	defer naming.Close()
	listener, entrance, err := openDoor(cfg.HTTP, logger, registry)
	if err != nil {
		return c.fail(fmt.Errorf("http: %w", err))
	}
	var current atomic.Pointer[config.Config]
	current.Store(cfg)
	server := namerd.NewServer(tables, namerd.Options{
		Logger: logger, Registry: registry, ReadOnly: cfg.HTTP.ReadOnly, Names: naming,
		Door: entrance, Config: func() any { return current.Load() },
	})
	runMesh, err := openMesh(cfg.Mesh, naming, logger, registry)
	if err != nil {
		return c.fail(err)
	}
	return c.serve(func(ctx context.Context, reload <-chan struct{}) error {
		ended := make(chan error, 1)
		go func() {
			ended <- runAll(ctx, func(ctx context.Context) error { return server.Run(ctx, listener) }, runMesh)
		}()
		for {
			select {
			case err := <-ended:
				return err
			case <-reload:
				next, err := config.Load(paths)
				var peers *door.Peers
				if err == nil {
					peers, err = door.FilePeers(next.HTTP.TLS, logger)
				}
				if err != nil {
					logger.Error("reload refused, going on as before", "error", err)
					continue
				}
				logger.SetLevel(hclog.LevelFromString(next.Log.Level))
				server.SetReadOnly(next.HTTP.ReadOnly)
				entrance.Use(next.HTTP.Door, peers)
				shown := *cfg // what needs a restart is as it was
				shown.Log, shown.HTTP = next.Log, next.HTTP
				current.Store(&shown)
				logger.Info("reloaded", "read_only", next.HTTP.ReadOnly, "log_level", next.Log.Level)
			}
		}
	}, nil)
}

// tableStore opens the store that the configuration names; done gives it back.
func tableStore(cfg *config.Config, logger hclog.Logger, registry *prometheus.Registry) (tables store.Historian, done func(), err error) {
	done = func() {}
	switch {
	case cfg.Memory != nil:
		return store.NewMemory(cfg.Memory.Namespaces, cfg.History), done, nil
	case cfg.Files != nil:
		s, err := files.Open(cfg.Files.Dir, files.Options{Logger: logger.Named("store"), Limits: cfg.History})
		if err != nil {
			return nil, nil, err
		}
		return s, func() { s.Close() }, nil
	}
	client, err := consulclient.Shared(cfg.Consul, logger, registry)
	if err != nil {
		return nil, nil, fmt.Errorf("consul: %w", err)
	}
	return consul.New(client, cfg.KV.PathPrefix, logger.Named("store"), cfg.History), done, nil
}

// openNames opens the namers, and binds names by them.
func openNames(cfg *config.Config, tables store.Store, logger hclog.Logger, registry *prometheus.Registry) (*names.Names, error) {
	logger = logger.Named("namer")
	mounted, err := mounts.Open(cfg.Namers, cfg.Consul, logger, registry)
	if err != nil {
		return nil, err
	}
	return names.New(tables, namer.Options{
		Mounts: mounted, EmptyFallsThrough: !cfg.Binding.EmptyStops, PendingLegTimeout: cfg.Binding.AlternativeTimeout,
		MaxWatches: cfg.Binding.MaxWatches, Registry: registry,
	}, logger), nil
}

// openDoor listens for the API as the configuration says, and complains where that lets everybody in.
func openDoor(h config.HTTP, logger hclog.Logger, registry *prometheus.Registry) (net.Listener, *door.Door, error) {
	warnOfExposed(h, logger)
	peers, err := door.FilePeers(h.TLS, logger)
	if err != nil {
		return nil, nil, err
	}
	l, err := door.Listen(h.Door, nil)
	if err != nil {
		return nil, nil, err
	}
	return l, door.New(h.Door, peers, door.Options{Logger: logger, Registry: registry, Realm: "namerd"}), nil
}

func warnOfExposed(h config.HTTP, logger hclog.Logger) {
	if missing := h.Exposed(); missing != "" {
		logger.Warn("the API is open to the network without "+missing+": whoever reaches it can read tables, and change them unless it is read-only",
			"address", h.Address, "read_only", h.ReadOnly)
	}
}
