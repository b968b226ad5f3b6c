// Package static is a namer of services that are written down in the configuration.
//
//	n, err := static.New(map[string][]string{"redis": {"127.0.0.1:6379", "redis.internal:6379 * 0.5"}})
package static

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"argosy/dtab"
	"argosy/namer"
)

// Namer knows a fixed set of services. Hosts that are names are resolved, again and again.
type Namer struct {
	services map[string][]namer.Target // by the name as a path
	longest  int                       // number of elements of the longest name
	resolver namer.Resolver
}

var (
	_ namer.Peeker     = (*Namer)(nil)
	_ namer.Enumerator = (*Namer)(nil)
)

// New makes a namer of services, each with its endpoints as namer.ParseTarget reads them. A name may have several
// elements, as in "team/redis".
func New(services map[string][]string) (*Namer, error) {
	n := &Namer{services: make(map[string][]namer.Target, len(services))}
	for service, endpoints := range services {
		name, err := dtab.ParsePath("/" + service)
		if err != nil {
			return nil, fmt.Errorf("service %q: not a name: %w", service, err)
		}
		if len(name) == 0 {
			return nil, fmt.Errorf("service %q: not a name: it has no elements", service)
		}
		targets := make([]namer.Target, 0, len(endpoints))
		for _, text := range endpoints {
			target, err := namer.ParseTarget(text)
			if err != nil {
				return nil, fmt.Errorf("service %q: %w", service, err)
			}
			targets = append(targets, target)
		}
		if _, twice := n.services[name.String()]; twice {
			return nil, fmt.Errorf("service %q: given twice, as %s", service, name)
		}
		n.services[name.String()] = targets
		n.longest = max(n.longest, len(name))
	}
	return n, nil
}

// Split finds the longest service whose name the name starts with.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	for i := min(n.longest, len(name)); i > 0; i-- {
		if _, ok := n.services[name[:i].String()]; ok {
			return name[:i], name[i:], true
		}
	}
	return nil, nil, false
}

// Names lists the services.
func (n *Namer) Names(context.Context) ([]dtab.Path, error) {
	var all []dtab.Path
	for _, name := range slices.Sorted(maps.Keys(n.services)) {
		path, err := dtab.ParsePath(name)
		if err != nil {
			return nil, fmt.Errorf("list services: %w", err)
		}
		all = append(all, path)
	}
	return all, nil
}

// Peek answers for services without DNS names.
func (n *Namer) Peek(prefix, key dtab.Path) (namer.Answer, bool) {
	addr, ok := namer.FixedTargets(n.services[key.String()])
	return namer.BoundAnswer(prefix.Concat(key), addr), ok
}

// Watch publishes the service's endpoints, and whatever DNS makes of them later.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	id := prefix.Concat(key)
	namer.WatchTargets(ctx, n.resolver, n.services[key.String()], func(a namer.Addr) {
		publish(namer.BoundAnswer(id, a))
	})
}
