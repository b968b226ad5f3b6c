package register

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
)

// divide tells what we register from what somebody else does. Nomad registers the services of a group before it starts
// the group's tasks, those of a task a moment after, so that it is given some time; what we have registered before stays
// ours. Until Consul answers nothing is known.
func (r *Registrar) divide(ctx context.Context, services []Service) (own, others []Service) {
	var open []Service
	for _, s := range services {
		switch {
		case s.Registration == External:
			others = append(others, s)
		case s.Registration == Auto && r.options.Alloc != "" && !r.has(s.ID):
			open = append(open, s)
		default:
			own = append(own, s)
		}
	}
	pause := backoff.New(r.timing.min, r.timing.max)
	var answered time.Time
	for len(open) > 0 && ctx.Err() == nil {
		wait := r.timing.min
		all, err := r.list(ctx)
		if err != nil {
			wait = pause.Next()
			r.logger.Debug("cannot see whether Nomad registers us", "error", err)
		} else if answered.IsZero() {
			answered = time.Now()
		}
		open = slices.DeleteFunc(open, func(s Service) bool {
			id := r.find(all, s, services)
			if id != "" {
				r.logger.Info("Nomad has registered the service, and we leave it to Nomad", "service", s.Name, "id", id)
				r.metrics.set(s, stateExternal)
				others = append(others, s)
			}
			return id != ""
		})
		if !answered.IsZero() && time.Since(answered) >= r.timing.nomad {
			break
		}
		if len(open) > 0 {
			backoff.Sleep(ctx, wait)
		}
	}
	return append(own, open...), others
}

// find returns the id of the entry that somebody else has registered for a service of ours, or "". Under Nomad it has our
// allocation in its id; where several of our services have the same name, the port tells them apart.
func (r *Registrar) find(all map[string]*api.AgentService, s Service, services []Service) string {
	named := 0
	for _, other := range services {
		if other.Name == s.Name {
			named++
		}
	}
	for id, have := range all {
		if have.Service != s.Name || r.has(id) {
			continue
		}
		ours := r.options.Alloc != "" && strings.Contains(id, r.options.Alloc)
		there := have.Port == s.Port && (have.Address == s.Address || have.Address == "" || s.Address == "")
		if ours && (named == 1 || have.Port == s.Port) || r.options.Alloc == "" && there {
			return id
		}
	}
	return ""
}

// list asks the agent for all services of its own.
func (r *Registrar) list(ctx context.Context) (map[string]*api.AgentService, error) {
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timing.request)
	defer cancel()
	all, err := r.client.Agent().ServicesWithFilterOpts("", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		if asked.Err() == nil {
			r.metrics.failed("look")
		}
		return nil, fmt.Errorf("look for the services of this node: %w", err)
	}
	return all, nil
}

// lookAtOthers shows whether what others register is there.
func (k *keeper) lookAtOthers(ctx context.Context) error {
	if len(k.others) == 0 {
		return nil
	}
	all, err := k.registrar.list(ctx)
	if err != nil {
		return err
	}
	for _, s := range k.others {
		state := stateExternal
		if k.registrar.find(all, s, slices.Concat(k.services, k.others)) == "" {
			state = stateMissing
		}
		k.registrar.metrics.set(s, state)
	}
	return nil
}

// warnOfNomad says so, once, when Nomad has registered a service that we have registered as well: then it is in the
// catalog twice, and clients that do not take that into account send it twice its share.
func (k *keeper) warnOfNomad(ctx context.Context) {
	r := k.registrar
	if r.options.Alloc == "" || k.told || len(k.services) == 0 {
		return
	}
	all, err := r.list(ctx)
	if err != nil {
		return // it is only a warning; the next look tries again
	}
	k.told = true
	for _, s := range k.services {
		if id := r.find(all, s, k.services); strings.HasPrefix(id, nomadIDs) {
			k.logger.Warn("Nomad has registered the same service for this allocation: drop its service block or our register block",
				"service", s.Name, "nomad_id", id, "our_id", s.ID)
		}
	}
}
