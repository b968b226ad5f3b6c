package register

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/backoff"
)

// keeper is one Run.
type keeper struct {
	registrar *Registrar
	services  []Service
	logger    hclog.Logger
	failing   bool
	told      bool // the catalog was looked through for Nomad's registration
}

// run registers what is missing, and waits until something may be missing, again and again until ctx ends. It returns
// when no request is under way any more.
func (k *keeper) run(ctx context.Context) {
	t := k.registrar.timing
	pause := backoff.New(t.min, t.max)
	written := false // all services were registered as they are now
	for ctx.Err() == nil {
		hash, err := k.assert(ctx, written)
		if ctx.Err() != nil {
			return
		}
		k.report(err)
		if err != nil {
			if pause.Sleep(ctx) != nil {
				return
			}
			continue
		}
		pause.Reset()
		written = true
		k.warnOfNomad(ctx)
		k.watch(ctx, hash)
	}
}

// report logs the first error and its end.
func (k *keeper) report(err error) {
	k.registrar.setRegistered(err == nil)
	switch {
	case err == nil && k.failing:
		k.logger.Info("registered again")
	case err != nil && k.failing:
		k.logger.Debug("still cannot register", "error", err)
	case err != nil:
		k.logger.Warn("cannot register: trying on", "error", err)
	}
	k.failing = err != nil
}

// assert takes out what is left of earlier runs and registers what is missing, or everything before all has been
// written. It returns the hash of the first service.
func (k *keeper) assert(ctx context.Context, written bool) (hash string, err error) {
	for _, id := range k.registrar.known(k.services) {
		if err := k.registrar.remove(ctx, id); err != nil {
			return "", err
		}
	}
	for i, s := range k.services {
		var have *api.AgentService
		if written {
			if have, err = k.registrar.look(ctx, s.ID, ""); err != nil {
				return "", err
			}
		}
		if !same(have, s) {
			if written {
				k.logger.Warn("consul has lost a service, or has another one under its id: registering it again", "id", s.ID)
			}
			if err := k.registrar.register(ctx, s); err != nil {
				return "", err
			}
			k.logger.Info("registered", "id", s.ID, "service", s.Name, "address", s.Address, "port", s.Port)
			if i == 0 {
				if have, err = k.registrar.look(ctx, s.ID, ""); err != nil {
					return "", err
				}
			}
		}
		if i == 0 && have != nil {
			hash = have.ContentHash
		}
	}
	return hash, nil
}

// watch returns when the first service has changed or gone, when Consul's agent has broken off, and at the latest when
// it is time for another look. It is one request however many services there are.
func (k *keeper) watch(ctx context.Context, hash string) {
	wait := k.registrar.timing.recheck
	start := time.Now()
	if len(k.services) > 0 && hash != "" {
		have, err := k.registrar.look(ctx, k.services[0].ID, hash)
		early := time.Since(start) < wait/2 // a Consul that is told to stop answers what it holds back, as if nothing had changed
		if err != nil || have == nil || have.ContentHash != hash || early {
			wait = k.registrar.timing.min // soon, but without spinning
		}
	}
	backoff.Sleep(ctx, max(wait-time.Since(start), 0))
}

// look asks the agent for a service of its own, and returns nil when it has none of that id. With a hash it waits
// until the service differs from it.
func (r *Registrar) look(ctx context.Context, id, hash string) (*api.AgentService, error) {
	limit := r.timing.request
	q := &api.QueryOptions{WaitHash: hash}
	if hash != "" {
		q.WaitTime = r.timing.recheck
		limit += r.timing.recheck + r.timing.recheck/16
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, _, err := r.client.Agent().Service(id, q.WithContext(ctx))
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", id, err)
	}
	return s, nil
}

// register writes a service with its check. Checks that it had before and has not now are removed. It outlives ctx by
// the grace: Consul carries a request out also when nobody waits for the answer any more, and then it could come in
// after the deregistration that follows.
func (r *Registrar) register(ctx context.Context, s Service) error {
	r.note(s.ID, true)
	ended := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timing.request)
	defer cancel()
	defer context.AfterFunc(ended, func() { time.AfterFunc(r.timing.grace, cancel) })()
	opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := r.client.Agent().ServiceRegisterOpts(registration(s), opts); err != nil {
		return fmt.Errorf("register %s: %w", s.ID, err)
	}
	return nil
}

// remove takes a service out through the agent that owns it, and tries until ctx ends.
func (r *Registrar) remove(ctx context.Context, id string) error {
	pause := backoff.New(r.timing.min/5, r.timing.max)
	for {
		err := r.deregister(ctx, id)
		if err == nil || isStatus(err, http.StatusNotFound) {
			r.note(id, false)
			r.logger.Info("deregistered", "id", id)
			return nil
		}
		if pause.Sleep(ctx) != nil {
			return fmt.Errorf("deregister %s: %w", id, err)
		}
	}
}

func (r *Registrar) deregister(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, r.timing.request)
	defer cancel()
	return r.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
}

func isStatus(err error, code int) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == code
}

// same reports whether Consul has the service as we want it.
func same(have *api.AgentService, want Service) bool {
	if have == nil || have.Service != want.Name || have.Port != want.Port || have.Address != want.Address {
		return false
	}
	native := have.Connect != nil && have.Connect.Native
	return native == want.Native && slices.Equal(have.Tags, want.Tags) && maps.Equal(have.Meta, want.Meta)
}

// warnOfNomad says so, once, when Nomad has registered the same service for our allocation: then it is in the catalog
// twice, and clients that do not take that into account send it twice its share.
func (k *keeper) warnOfNomad(ctx context.Context) {
	alloc := os.Getenv("NOMAD_ALLOC_ID")
	if alloc == "" || k.told {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.registrar.timing.request)
	defer cancel()
	all, err := k.registrar.client.Agent().ServicesWithFilterOpts("", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return // it is only a warning; the next look tries again
	}
	k.told = true
	for id, have := range all {
		if !strings.HasPrefix(id, nomadIDs) || !strings.Contains(id, alloc) {
			continue
		}
		for _, s := range k.services {
			if have.Service == s.Name {
				k.logger.Warn("Nomad has registered the same service for this allocation: drop its service block or our register block",
					"service", s.Name, "nomad_id", id, "our_id", s.ID)
			}
		}
	}
}
