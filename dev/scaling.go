package dev

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/scheduler"
	"argosy/scheduler/config"
	"argosy/scheduler/law"
	"argosy/scheduler/metric"
	"argosy/scheduler/policies"
	"argosy/scheduler/target"
	"argosy/scheduler/target/process"
)

const (
	evaluateEvery = 500 * time.Millisecond
	maxAge        = 5 * time.Second        // of a load that is acted upon
	startsWithin  = 700 * time.Millisecond // an agent answers by then, or it is missing
)

// scaling is one scheduler for each policy, because each reads other agents.
type scaling struct {
	schedulers map[string]*scheduler.Scheduler // by the group that is scaled
	running    sync.WaitGroup
}

// startScaling starts the policies of a file; they run until ctx ends.
func startScaling(ctx context.Context, e *Env) (*scaling, error) {
	s := &scaling{schedulers: map[string]*scheduler.Scheduler{}}
	for _, p := range e.config.Proxies {
		if p.Scale.Policy == nil {
			continue
		}
		query := metric.Query{Metric: "argosy_connections_active", Match: map[string]string{"listener": p.Name}}
		if err := s.start(ctx, e, p.Name, *p.Scale.Policy, query, func() []string { return e.agents(p.Name) }); err != nil {
			return s, err
		}
	}
	for _, v := range e.config.Services {
		if v.Scale.Policy == nil {
			continue
		}
		query := metric.Query{Metric: "argosy_cluster_connections_active", Match: map[string]string{"cluster": "/#/io.l5d.fs/" + v.Name}}
		all := func() []string {
			var out []string
			for _, p := range e.config.Proxies {
				out = append(out, e.agents(p.Name)...)
			}
			return out
		}
		if err := s.start(ctx, e, v.Name, *v.Scale.Policy, query, all); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *scaling) start(ctx context.Context, e *Env, group string, p law.Policy, q metric.Query, agents func() []string) error {
	q.MaxAge = p.MaxAge
	cfg := &config.Config{
		Name: "scheduler-" + group, HTTP: config.HTTP{Address: "127.0.0.1:0"}, Interval: evaluateEvery,
		Scrape:   &config.Scrape{Interval: evaluateEvery},
		Policies: []policies.Policy{{Name: group, Origin: e.config.Name, Law: p, Query: q, Target: policies.Ref{Kind: policies.Process, Process: group}}},
	}
	one, err := scheduler.New(cfg, scheduler.Deps{
		Logger: e.log.Named("scheduler"), Registry: prometheus.NewRegistry(), ScrapeTargets: agents,
		Targets: func(name string) target.Target {
			if g := e.groups[name]; g != nil {
				return process.NewTarget(g)
			}
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("scale %s: %w", group, err)
	}
	s.schedulers[group] = one
	s.running.Go(func() {
		// Before the first agent answers there is nothing to decide, and nothing to complain about.
		for len(agents()) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		if err := one.Run(ctx); err != nil {
			e.log.Error("the scheduler has ended, counts stay as they are", "group", group, "error", err)
		}
	})
	return nil
}

// wait returns when all schedulers have ended; their context has to end first.
func (s *scaling) wait() { s.running.Wait() }

// decision is the newest about a group.
func (s *scaling) decision(group string) (law.Decision, bool) {
	if s == nil || s.schedulers[group] == nil {
		return law.Decision{}, false
	}
	newest, _ := s.schedulers[group].Decisions().Load()
	if len(newest) == 0 {
		return law.Decision{}, false
	}
	return newest[0].Decision, true
}

// address is where a group's scheduler serves /v1/decisions and /metrics.
func (s *scaling) address(ctx context.Context, group string) string {
	if s == nil || s.schedulers[group] == nil {
		return ""
	}
	return s.schedulers[group].Address(ctx)
}

// agents are the admin addresses of a proxy's agents, without those that are still starting.
func (e *Env) agents(proxy string) []string {
	var out []string
	for _, i := range e.Instances(proxy) {
		if time.Since(i.Started) > startsWithin {
			out = append(out, AdminAddress(i))
		}
	}
	return out
}
