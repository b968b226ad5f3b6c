package main

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"argosy/scheduler"
	"argosy/scheduler/config"
)

type schedulerCommand struct{ *meta }

func (c *schedulerCommand) Synopsis() string { return "Scale fleets by their load" }

func (c *schedulerCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy scheduler -config FILE|DIR [-config ...]

  Reads how much load a fleet carries, from Prometheus or from the agents, and
  sets the count of its Nomad task group so that each instance carries what
  its policy says. Policies stand in the configuration and, when it says
  jobs { watch = true }, in the scaling blocks of Nomad jobs.

  Every decision and its reason is logged, counted in /metrics and listed at
  /v1/decisions. SIGHUP reloads the configuration, SIGTERM ends the scheduler;
  counts stay as they are then.

Options:

  -config FILE|DIR  An HCL file, or a directory of *.hcl files. Repeatable.

Exit codes: 0 stopped, 1 failed, 2 wrong usage or invalid configuration.

Example:

    argosy scheduler -config hcl/scheduler.hcl
    curl -s http://127.0.0.1:9993/v1/decisions?limit=5`)
}

func (c *schedulerCommand) Run(args []string) int {
	paths, code, ok := c.configured(c.flags("scheduler"), args, c.Help)
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
	s, err := scheduler.New(cfg, scheduler.Deps{Logger: logger, Registry: registry})
	if err != nil {
		return c.fail(err)
	}
	return c.serve(func(ctx context.Context, reload <-chan struct{}) error {
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for {
			select {
			case err := <-ended:
				return err
			case <-reload:
				cfg, err := config.Load(paths)
				if err == nil {
					err = s.Reload(cfg)
				}
				if err != nil {
					logger.Error("reload refused, going on as before", "error", err)
				}
			}
		}
	}, nil)
}
