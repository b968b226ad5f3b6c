package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/nomadclient"
	"argosy/internal/watch"
	"argosy/scheduler/config"
	"argosy/scheduler/discovery"
	"argosy/scheduler/metric"
	"argosy/scheduler/policies"
	"argosy/scheduler/target"
	"argosy/scheduler/target/nomad"
)

// engine is everything that belongs to one configuration. A reload makes a new one and swaps.
type engine struct {
	s      *Scheduler
	cfg    *config.Config
	logger hclog.Logger

	prometheus *metric.Prometheus // nil without
	scraper    *metric.Scraper    // nil without
	discovery  *discovery.Consul  // nil without
	jobs       *policies.Jobs     // nil without
	newNomad   func(policies.Ref) target.Target
}

// prepare makes the engine for a configuration, without starting anything.
func (s *Scheduler) prepare(cfg *config.Config) (*engine, error) {
	e := &engine{s: s, cfg: cfg, logger: s.deps.Logger}
	if p := cfg.Prometheus; p != nil {
		source, err := metric.NewPrometheus(metric.PrometheusOptions{Address: p.Address, Timeout: p.Timeout, TokenFile: p.TokenFile})
		if err != nil {
			return nil, err
		}
		e.prometheus = source
	}
	if cfg.Scrape != nil {
		e.scraper = metric.NewScraper(metric.ScrapeOptions{Targets: e.scrapeTargets, Interval: cfg.Scrape.Interval}, s.deps.Clock, e.logger)
	}
	if len(cfg.Discovery.Services) > 0 {
		d, err := discovery.NewConsul(*cfg.Consul, cfg.Discovery.Services, e.logger, s.deps.Registry)
		if err != nil {
			return nil, err
		}
		e.discovery = d
	}
	if cfg.Nomad != nil {
		client, err := nomadclient.New(cfg.Nomad.Nomad)
		if err != nil {
			return nil, err
		}
		e.newNomad = func(r policies.Ref) target.Target {
			return nomad.New(client, nomad.Ref{Namespace: r.Namespace, Job: r.Job, Group: r.Group}, s.deps.Clock, e.logger.Named("nomad"))
		}
		if cfg.Jobs.Watch {
			e.jobs = policies.NewJobs(client, cfg.Jobs.Namespaces, cfg.Abilities(), e.logger)
		}
	}
	for _, p := range cfg.Policies {
		if _, err := e.target(p.Target); err != nil {
			return nil, fmt.Errorf("policy %s at %s: %w", p.Name, p.Origin, err)
		}
	}
	return e, nil
}

// scrapeTargets lists what is configured, what the file says and what the embedding program knows.
func (e *engine) scrapeTargets() ([]string, error) {
	all := slices.Clone(e.cfg.Scrape.Targets)
	if e.s.deps.ScrapeTargets != nil {
		all = append(all, e.s.deps.ScrapeTargets()...)
	}
	if e.cfg.Scrape.TargetsFile != "" {
		more, err := metric.TargetsFile(e.cfg.Scrape.TargetsFile)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// target makes the target for a reference.
func (e *engine) target(r policies.Ref) (target.Target, error) {
	switch {
	case r.Kind == policies.Nomad && e.newNomad != nil:
		return e.newNomad(r), nil
	case r.Kind == policies.Process && e.s.deps.Targets != nil:
		if t := e.s.deps.Targets(r.Process); t != nil {
			return t, nil
		}
		return nil, fmt.Errorf("there is no process group %q", r.Process)
	case r.Kind == policies.Process:
		return nil, fmt.Errorf("process targets exist only inside argosy dev and argosy demo")
	}
	return nil, fmt.Errorf("there is nothing to scale %s with", r)
}

// source picks where a query goes: a metric is read directly where that is possible.
func (e *engine) source(q metric.Query) (metric.Source, error) {
	switch {
	case q.Metric != "" && e.scraper != nil:
		return e.scraper, nil
	case e.prometheus != nil:
		return e.prometheus, nil
	}
	return nil, fmt.Errorf("there is nothing to read %s from", q)
}

// run runs everything until ctx ends, and returns when it has all ended.
func (e *engine) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if e.scraper != nil {
		wg.Go(func() { e.scraper.Run(ctx) })
	}
	if e.discovery != nil {
		wg.Go(func() { e.discovery.Run(ctx) })
	}
	if e.jobs != nil {
		wg.Go(func() { e.jobs.Run(ctx) })
	}
	e.supervise(ctx)
}

// running is a runner and how to end it.
type running struct {
	policy policies.Policy
	stop   context.CancelFunc
	done   chan struct{}
}

func (r running) end() { r.stop(); <-r.done }

// supervise keeps one runner for each policy, as policies come, change and go.
func (e *engine) supervise(ctx context.Context) {
	runners := map[string]running{}
	defer func() {
		for _, r := range runners {
			r.stop()
		}
		for _, r := range runners {
			<-r.done
		}
	}()
	fromJobs := watch.Fixed(policies.Snapshot{})
	if e.jobs != nil {
		fromJobs = e.jobs.Policies()
	}
	for s := range watch.Values(ctx, fromJobs) {
		if ctx.Err() != nil {
			return
		}
		wanted, problems := merge(e.cfg.Policies, s)
		for name, r := range runners {
			if i := slices.IndexFunc(wanted, func(p policies.Policy) bool { return p.Name == name }); i < 0 || !wanted[i].Equal(r.policy) {
				r.end()
				delete(runners, name)
				if i < 0 {
					e.logger.Info("policy is gone", "policy", name)
					e.s.forget(name)
				}
			}
		}
		for _, p := range wanted {
			if _, ok := runners[p.Name]; ok {
				continue
			}
			r, err := e.start(ctx, p)
			if err != nil {
				problems = append(problems, policies.Problem{Policy: p.Name, Origin: p.Origin, Error: err.Error()})
				continue
			}
			runners[p.Name] = r
		}
		e.s.publish(wanted, problems, e.logger)
	}
}

// start starts the runner of a policy.
func (e *engine) start(ctx context.Context, p policies.Policy) (running, error) {
	t, err := e.target(p.Target)
	if err != nil {
		return running{}, err
	}
	source, err := e.source(p.Query)
	if err != nil {
		return running{}, err
	}
	r := newRunner(e, p, source, t)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	e.logger.Info("policy in use", "policy", p.Name, "target", p.Target, "metric", p.Query, "target_value", p.Law.TargetValue,
		"min", p.Law.Min, "max", p.Law.Max, "from", p.Origin)
	go func() {
		defer close(done)
		r.run(ctx)
	}()
	return running{p, stop, done}, nil
}

// merge puts the policies of the configuration before those of jobs: one target obeys one master.
func merge(own []policies.Policy, jobs policies.Snapshot) (wanted []policies.Policy, problems []policies.Problem) {
	wanted = slices.Clone(own)
	problems = slices.Clone(jobs.Problems)
	for _, p := range jobs.Policies {
		i := slices.IndexFunc(own, func(q policies.Policy) bool { return q.Target == p.Target || q.Name == p.Name })
		if i >= 0 {
			problems = append(problems, policies.Problem{Policy: p.Name, Origin: p.Origin, Error: fmt.Sprintf(
				"the target is scaled by policy %s at %s already", own[i].Name, own[i].Origin)})
			continue
		}
		wanted = append(wanted, p)
	}
	return wanted, problems
}
