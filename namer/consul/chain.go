package consul

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/blockq"
	"argosy/internal/snapshot"
	"argosy/internal/watch"
)

// plan is what a name stands for: the first of the targets that has an endpoint.
type plan struct {
	known   bool
	targets []target
	reason  error // why there are none, where that is trouble
}

// target is a concrete name and what is asked for it.
type target struct {
	id      dtab.Path
	request request
}

func (p plan) equal(q plan) bool {
	if p.known != q.known || (p.reason == nil) != (q.reason == nil) || len(p.targets) != len(q.targets) {
		return false
	}
	for i, t := range p.targets {
		if !t.id.Equal(q.targets[i].id) || t.request != q.targets[i].request {
			return false
		}
	}
	return true
}

// plans is what a key stands for, live until ctx ends. Then wait returns.
func (n *Namer) plans(ctx context.Context, prefix, key dtab.Path) (plans watch.Reader[plan], wait func()) {
	id := prefix.Concat(key)
	fixed := func(r request) (watch.Reader[plan], func()) {
		return watch.Fixed(plan{known: true, targets: []target{{id, r}}}), func() {}
	}
	switch {
	case n.options.IncludeTag:
		return fixed(n.request(key[0], key[2], strings.ToLower(key[1])))
	case !n.options.Resolver:
		return fixed(n.request(key[0], key[1]))
	case key[0] == targetForm:
		return fixed(n.request(key[1], key[2]))
	}
	c := &compiler{namer: n, prefix: prefix, id: id, cell: watch.New(plan{}, plan.equal), logger: n.logger.With("name", id.String())}
	follow := func() { c.chain(ctx, n.request(key[0], key[1])) }
	if key[0] == subsetForm {
		follow = func() { c.subset(ctx, n.request(key[1], key[2]), key[3]) }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		follow()
	}()
	return c.cell, func() { <-done }
}

// compiler follows the service-resolver of one service.
type compiler struct {
	namer      *Namer
	prefix, id dtab.Path
	cell       *watch.Cell[plan]
	logger     hclog.Logger

	mu      sync.Mutex
	saved   *snapshot.File
	failing bool
	over    bool
}

// chain follows the discovery chain of a service, as it is for TCP: routers and splitters do not apply, which leaves the
// service-resolver with its redirect, subsets and failover.
func (c *compiler) chain(ctx context.Context, r request) {
	o := &api.DiscoveryChainOptions{OverrideProtocol: "tcp"}
	c.saved = c.namer.saved("chain", r)
	c.follow(ctx, r, func(q *api.QueryOptions) (*plan, *api.QueryMeta, error) {
		response, meta, err := c.namer.client.DiscoveryChain().Get(r.service, o, q)
		if err != nil {
			return nil, nil, err
		}
		p, err := c.compile(r, response.Chain)
		return p, meta, err
	})
}

// subset follows the definition of a subset.
func (c *compiler) subset(ctx context.Context, r request, name string) {
	c.saved = c.namer.saved("subset "+name, r)
	c.follow(ctx, r, func(q *api.QueryOptions) (*plan, *api.QueryMeta, error) {
		entry, meta, err := c.namer.client.ConfigEntries().Get(api.ServiceResolver, r.service, q)
		if err != nil {
			return nil, nil, err
		}
		p := &plan{known: true}
		if resolver, ok := entry.(*api.ServiceResolverConfigEntry); ok {
			if subset, ok := resolver.Subsets[name]; ok {
				p.targets = []target{{c.id, r.subset(subset)}}
			}
		}
		return p, meta, nil
	})
}

// follow keeps the plan up to date until ctx ends.
func (c *compiler) follow(ctx context.Context, r request, query blockq.Query[*plan]) {
	m := c.namer.options.Seats.join(r.datacenter, r.service)
	defer m.leave()
	late := time.AfterFunc(patience, c.late)
	defer late.Stop()
	defer c.end()
	blockq.Run(ctx, c.namer.loop(m), func(q *api.QueryOptions) (*plan, *api.QueryMeta, error) {
		c.namer.prepare(q, r.datacenter)
		return query(q)
	}, func(p *plan, _ *api.QueryMeta, err error) {
		if err != nil {
			m.failed()
			c.trouble(err)
		} else {
			m.heard(nil, c.take(*p))
		}
	})
}

func (c *compiler) take(p plan) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = false
	changed = c.cell.Set(p)
	c.saved.Keep(recordPlan(p))
	c.saved.Flush()
	return changed
}

// trouble keeps what is known. If that is nothing, not even from before a restart, the name is nothing, so that
// alternatives apply.
func (c *compiler) trouble(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.failing {
		c.failing = true
		c.logger.Warn("the service-resolver cannot be read: what is known of it stays in use", "error", err)
	}
	if !c.cell.Value().known {
		if c.recall(); !c.cell.Value().known {
			c.cell.Set(plan{known: true, reason: err})
		}
	}
}

// late is called when there was no answer for some time.
func (c *compiler) late() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over && !c.cell.Value().known {
		c.recall()
	}
}

// recall takes up the plan from before a restart.
func (c *compiler) recall() {
	var was []recordedTarget
	if at, ok := c.saved.Load(&was); ok {
		c.logger.Warn("consul has not answered yet: using the snapshot of the service-resolver", "age", time.Since(at).Round(time.Second))
		c.cell.Set(c.planOf(was))
	}
}

func (c *compiler) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.saved.Finish()
}

// compile makes a plan of a chain.
func (c *compiler) compile(r request, chain *api.CompiledDiscoveryChain) (*plan, error) {
	if chain == nil {
		return nil, fmt.Errorf("the discovery chain of %s is missing from the answer", r.service)
	}
	node := chain.Nodes[chain.StartNode]
	if node == nil || node.Resolver == nil {
		return nil, fmt.Errorf("the discovery chain of %s does not start with a resolver", r.service)
	}
	names := []string{node.Resolver.Target}
	if node.Resolver.Failover != nil {
		names = append(names, node.Resolver.Failover.Targets...)
	}
	p := &plan{known: true}
	for _, name := range names {
		t := chain.Targets[name]
		if t == nil || t.External || !usable(t.Service) || !usable(t.Datacenter) || t.ServiceSubset != "" && !usable(t.ServiceSubset) {
			c.logger.Warn("a target of the service-resolver cannot be used here", "target", name)
			continue
		}
		p.targets = append(p.targets, c.target(r, chain.Datacenter, t))
	}
	return p, nil
}

// target is the name that a target of the chain has here. What the service is without its resolver keeps its name.
func (c *compiler) target(r request, datacenter string, t *api.DiscoveryTarget) target {
	service := strings.ToLower(t.Service)
	if service == r.service && t.Datacenter == datacenter && t.ServiceSubset == "" {
		return target{c.id, r}
	}
	to := r
	to.service, to.datacenter = service, t.Datacenter
	if t.ServiceSubset == "" {
		return target{c.prefix.Concat(dtab.Path{targetForm, t.Datacenter, t.Service}), to}
	}
	return target{c.prefix.Concat(dtab.Path{subsetForm, t.Datacenter, t.Service, t.ServiceSubset}), to.subset(t.Subset)}
}

// subset is r for the instances that belong to a subset.
func (r request) subset(s api.ServiceResolverSubset) request {
	r = r.narrowed(s.Filter)
	r.passing = r.passing || s.OnlyPassing
	return r
}
