package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent"
	"argosy/agent/config"
	"argosy/internal/process"
)

// agentCommand runs one proxy.
type agentCommand struct{ *meta }

func (c *agentCommand) Synopsis() string { return "Run a proxy" }

func (c *agentCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy agent -config FILE|DIR [-config ...] [-log-level LEVEL]

  Runs one proxy: accepts connections, finds out by a Dtab where each is to go, and moves the bytes.

  SIGTERM and SIGINT drain: the agent becomes critical in the catalog, goes on accepting for the propagation time, stops
  accepting, lets open connections end, and leaves the catalog. A second signal drops them. SIGHUP reads the configuration
  again: all of it is taken over, or, when anything in it is wrong, nothing.

Options:

  -config FILE|DIR   configuration, HCL; of a directory all *.hcl files; may be given several times
  -log-level LEVEL   trace, debug, info, warn or error, whatever the configuration says

Exit codes: 0 drained, 1 failed, 2 wrong usage or invalid configuration.

Example:

    cat > agent.hcl <<'END'
    dtab {
      static = "/svc => /#/static"
    }
    namer "static" {
      services = { redis = ["127.0.0.1:6379"] }
    }
    listener "redis" {
      address     = "127.0.0.1:7474"
      destination = "/svc/redis"
    }
    END
    argosy agent -config agent.hcl`)
}

func (c *agentCommand) Run(args []string) int {
	f := c.flags("agent")
	level := f.String("log-level", "", "")
	paths, code, ok := c.configured(f, args, c.Help)
	switch {
	case !ok:
		return code
	case *level != "" && hclog.LevelFromString(*level) == hclog.NoLevel:
		return c.usage("agent: -log-level %q: must be trace, debug, info, warn or error", *level)
	}
	load := func() (*config.Config, error) {
		cfg, err := config.Load(paths)
		if err == nil && *level != "" {
			cfg.Log.Level = *level
		}
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		return c.fail(err)
	}
	logger := c.logger(cfg.Log)
	a, err := agent.New(cfg, agent.Deps{Logger: logger, Version: versionText(), Registry: prometheus.NewRegistry()})
	if err != nil {
		return c.fail(err)
	}
	if n := a.Procs(); n > 0 && os.Getenv("GOMAXPROCS") == "" {
		// The value is made of the one before: put back, lest several agents of one process, as in tests, make it grow and grow.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	}
	return c.serve(func(ctx context.Context, reload <-chan struct{}) error {
		if os.Getenv("GOGC") == "" {
			pacing, stop := context.WithCancel(context.Background()) // also while it drains
			var running sync.WaitGroup
			running.Go(func() { process.PaceCollections(pacing) })
			defer running.Wait()
			defer stop()
		}
		fmt.Fprintln(c.out, where(cfg.Name, a)) // here: who has read it may send signals
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		select {
		case <-a.Started():
			process.Trim() // not vital
		case err := <-ended:
			return err
		}
		for {
			select {
			case err := <-ended:
				return err
			case <-reload:
				cfg, err := load()
				if err == nil {
					err = a.Reload(cfg)
				} else {
					a.RefuseReload()
				}
				if err != nil {
					logger.Error("the new configuration is not used, the old one stays in force", "error", err)
				}
			}
		}
	}, a.Cut)
}

// where says on one line where the agent listens.
func where(name string, a *agent.Agent) string {
	var parts []string
	for _, l := range a.Listeners() {
		parts = append(parts, fmt.Sprintf("%s on %s to %s", l.Name, l.Address, l.Destination))
	}
	return fmt.Sprintf("argosy agent %s: %s; admin %s", name, strings.Join(parts, ", "), a.AdminURL())
}
