package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"argosy/internal/consulclient"
	"argosy/namerd"
	"argosy/namerd/config"
	"argosy/namerd/store"
	"argosy/namerd/store/consul"
)

type namerdCommand struct{ *meta }

func (c *namerdCommand) Synopsis() string { return "Serve tables over the HTTP API of Namerd" }

func (c *namerdCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy namerd -config FILE|DIR [-config ...]

  Serves tables from Consul's KV store or from memory over the HTTP API of
  Namerd, for argosy dtab, namerctl and agents. Agents that read Consul
  themselves need no namerd to be up.

  SIGHUP reloads the log level and read_only, SIGTERM ends the server.

Options:

  -config FILE|DIR  An HCL file, or a directory of *.hcl files. Repeatable.

Exit codes: 0 stopped, 1 failed, 2 wrong usage or invalid configuration.

Example:

    argosy namerd -config hcl/namerd-memory.hcl
    curl -s http://127.0.0.1:4180/api/1/dtabs/default`)
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
	tables, err := tableStore(cfg, logger)
	if err != nil {
		return c.fail(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	listener, err := net.Listen("tcp", cfg.HTTP.Address)
	if err != nil {
		return c.fail(fmt.Errorf("http: %w", err))
	}
	server := namerd.NewServer(tables, namerd.Options{Logger: logger, Registerer: registry, ReadOnly: cfg.HTTP.ReadOnly})
	return c.serve(func(ctx context.Context, reload <-chan struct{}) error {
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx, listener) }()
		for {
			select {
			case err := <-ended:
				return err
			case <-reload:
				next, err := config.Load(paths)
				if err != nil {
					logger.Error("reload refused, going on as before", "error", err)
					continue
				}
				logger.SetLevel(hclog.LevelFromString(next.Log.Level))
				server.SetReadOnly(next.HTTP.ReadOnly)
				logger.Info("reloaded", "read_only", next.HTTP.ReadOnly, "log_level", next.Log.Level)
			}
		}
	}, nil)
}

// tableStore opens the store that the configuration names.
func tableStore(cfg *config.Config, logger hclog.Logger) (store.Store, error) {
	if cfg.Memory != nil {
		return store.NewMemory(cfg.Memory.Namespaces), nil
	}
	client, err := consulclient.New(cfg.Consul)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return consul.New(client, cfg.KV.PathPrefix, logger.Named("store")), nil
}
