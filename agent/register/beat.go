package register

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
)

// beater tells Consul how one service is, before its TTL ends and whenever that has changed. Each service has its own, so
// that one request that hangs holds up no other service's.
type beater struct {
	keeper  *keeper
	service Service
	now     chan struct{} // holds one when it is to beat at once
	failing bool
}

// poke makes it beat at once.
func (b *beater) poke() {
	select {
	case b.now <- struct{}{}:
	default:
	}
}

// run beats until ctx ends, from the first poke on: before the service has been registered there is nothing to tell.
func (b *beater) run(ctx context.Context) {
	select {
	case <-b.now:
	case <-ctx.Done():
		return
	}
	every := b.service.ttl() / 3
	pause := backoff.New(b.keeper.registrar.timing.min, every/2)
	for ctx.Err() == nil {
		_, changed := b.keeper.ready.Load() // what changes from here on is told afterwards
		err := b.beat(ctx)
		if ctx.Err() != nil {
			return
		}
		b.report(err)
		wait := every
		if err == nil {
			pause.Reset()
			if b.keeper.registrar.options.Tokens() != b.keeper.tokens.Load() {
				b.keeper.hurry()
			}
		} else {
			wait = min(max(pause.Next(), blockq.RetryAfter(err)), every) // or the service is critical for it
		}
		if isStatus(err, http.StatusNotFound) {
			b.keeper.lose(map[string]bool{b.service.ID: true})
			b.keeper.hurry()
			wait = every // registering it again pokes
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.now:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// beat tells Consul once.
func (b *beater) beat(ctx context.Context) error {
	r := b.keeper.registrar
	select {
	case r.beating <- struct{}{}:
		defer func() { <-r.beating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timing.beat)
	defer cancel()
	h := r.options.Health()
	status := api.HealthCritical
	if h.Passing {
		status = api.HealthPassing
	}
	err := r.client.Agent().UpdateTTLOpts(b.service.checkID(TTL), h.Output, status, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		if asked.Err() == nil {
			r.metrics.failed("beat")
		}
		return fmt.Errorf("tell consul of %s: %w", b.service.ID, err)
	}
	r.metrics.tell(b.service, h.Passing)
	r.metrics.beat.WithLabelValues(b.service.Listener).SetToCurrentTime()
	return nil
}

// report logs the first error and its end. A check that is not there is the keeper's to tell of.
func (b *beater) report(err error) {
	log := b.keeper.logger.With("id", b.service.ID)
	switch {
	case isStatus(err, http.StatusNotFound):
		return
	case err == nil && b.failing:
		log.Info("consul takes our health again")
	case err != nil && b.failing:
		log.Debug("still cannot tell consul of our health", "error", err)
	case err != nil:
		log.Warn("cannot tell consul of our health: trying on", "error", err)
	}
	b.failing = err != nil
}

// followHealth publishes whether we can serve.
func (k *keeper) followHealth(ctx context.Context) {
	tick := time.NewTicker(k.registrar.timing.poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if now := k.registrar.options.Health(); k.ready.Set(now.Passing) {
				k.logger.Info("what consul is told has changed", "passing", now.Passing, "output", now.Output)
			}
		case <-ctx.Done():
			return
		}
	}
}
