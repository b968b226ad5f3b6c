package register

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
	"argosy/internal/watch"
)

// keeper is one Run.
type keeper struct {
	registrar *Registrar
	services  []Service // that we register
	others    []Service // that somebody else registers
	beaters   map[string]*beater
	ready     *watch.Cell[bool] // we can serve
	again     chan struct{}     // holds one when there is something to do at once
	logger    hclog.Logger
	failing   bool
	told      bool          // the catalog was looked through for Nomad's registration
	tokens    atomic.Uint64 // what Options.Tokens was when all was written

	mu   sync.Mutex
	lost map[string]bool // ids whose checks Consul does not know
}

func newKeeper(r *Registrar, services, others []Service) *keeper {
	k := &keeper{
		registrar: r, services: services, others: others, beaters: map[string]*beater{},
		ready: watch.New(r.options.Health().Passing, func(a, b bool) bool { return a == b }),
		again: make(chan struct{}, 1), lost: map[string]bool{}, logger: r.logger,
	}
	k.tokens.Store(r.options.Tokens())
	for _, s := range services {
		if s.Check == TTL {
			k.beaters[s.ID] = &beater{keeper: k, service: s, now: make(chan struct{}, 1)}
		}
	}
	return k
}

// run registers what is missing, and waits until something may be missing, again and again until ctx ends. It returns
// when no request is under way any more.
func (k *keeper) run(ctx context.Context) {
	t := k.registrar.timing
	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() { k.followHealth(ctx) })
	for _, b := range k.beaters {
		beating.Go(func() { b.run(ctx) })
	}
	pause := backoff.New(t.min, t.max)
	written := false // all services were registered as they are now
	for ctx.Err() == nil {
		tokens := k.registrar.options.Tokens()
		if written && tokens != k.tokens.Load() { // what was registered with a token that is no more would not be kept in the catalog
			written = false
			k.logger.Info("the token for Consul has changed: registering again with the new one")
		}
		hash, err := k.assert(ctx, written)
		if err == nil {
			err = k.lookAtOthers(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		k.report(err)
		if err != nil {
			if backoff.Sleep(ctx, max(pause.Next(), blockq.RetryAfter(err))) != nil {
				return
			}
			continue
		}
		pause.Reset()
		written = true
		k.tokens.Store(tokens)
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
	for _, s := range k.registrar.known(k.services) {
		if err := k.registrar.remove(ctx, s); err != nil {
			return "", err
		}
	}
	lost := k.takeLost()
	for i, s := range k.services {
		var have *api.AgentService
		if written {
			if have, err = k.registrar.look(ctx, s.ID, ""); err != nil {
				k.lose(lost)
				return "", err
			}
		}
		if !same(have, s) || lost[s.ID] {
			if written {
				k.logger.Warn("consul has lost a service, or has another one under its id: registering it again", "id", s.ID)
			}
			if err := k.register(ctx, s); err != nil {
				k.lose(lost)
				return "", err
			}
			delete(lost, s.ID)
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

// register writes a service, and lets its check be told how we are, whatever Consul remembers of it. Also a request that
// failed may have been carried out.
func (k *keeper) register(ctx context.Context, s Service) error {
	passing := k.ready.Value()
	err := k.registrar.register(ctx, s, passing)
	if b := k.beaters[s.ID]; b != nil {
		b.poke()
	}
	if err != nil {
		return err
	}
	k.registrar.metrics.tell(s, passing)
	k.logger.Info("registered", "id", s.ID, "service", s.Name, "address", s.Address, "port", s.Port)
	return nil
}

// takeLost returns the ids whose checks are lost, and forgets them.
func (k *keeper) takeLost() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	lost := k.lost
	k.lost = map[string]bool{}
	return lost
}

// lose notes that the checks of these services are lost.
func (k *keeper) lose(ids map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range ids {
		k.lost[id] = true
	}
}

// hurry makes the keeper look at once.
func (k *keeper) hurry() {
	select {
	case k.again <- struct{}{}:
	default:
	}
}

// watch returns when the first service has changed or gone, when a check is lost, when Consul's agent has broken off, and
// at the latest when it is time for another look. It is one request however many services there are.
func (k *keeper) watch(ctx context.Context, hash string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel() // before that
	looking.Go(func() {
		defer close(done)
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
	})
	select {
	case <-k.again:
	case <-done:
	}
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
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, _, err := r.client.Agent().Service(id, q.WithContext(ctx))
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		if asked.Err() == nil {
			r.metrics.failed("look")
		}
		return nil, fmt.Errorf("look for %s: %w", id, err)
	}
	return s, nil
}

// register writes a service with its checks. Checks that it had before and has not now are removed. It outlives ctx by
// the grace: Consul carries a request out also when nobody waits for the answer any more, and then it could come in
// after the deregistration that follows.
func (r *Registrar) register(ctx context.Context, s Service, passing bool) error {
	r.note(s)
	ended := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timing.request)
	defer cancel()
	defer context.AfterFunc(ended, func() { time.AfterFunc(r.timing.grace, cancel) })()
	opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := r.client.Agent().ServiceRegisterOpts(registration(s, passing), opts); err != nil {
		r.metrics.failed("register")
		return fmt.Errorf("register %s: %w", s.ID, err)
	}
	return nil
}

// remove takes a service out through the agent that owns it, and tries until ctx ends.
func (r *Registrar) remove(ctx context.Context, s Service) error {
	pause := backoff.New(r.timing.min/5, r.timing.max)
	for {
		err := r.deregister(ctx, s.ID)
		if err == nil || isStatus(err, http.StatusNotFound) {
			r.drop(s.ID)
			message := "deregistered"
			if err != nil {
				message = "not in the catalog: nothing to deregister"
			}
			r.logger.Info(message, "id", s.ID)
			return nil
		}
		r.metrics.failed("deregister")
		if pause.Sleep(ctx) != nil {
			return fmt.Errorf("deregister %s: %w", s.ID, err)
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
