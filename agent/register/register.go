// Package register keeps an agent's services in Consul's catalog: it registers them with the local Consul agent, tells it
// whether they can serve, puts them back when that agent has lost them, and takes them out again. Traffic never waits for
// it.
//
// A service that somebody else has registered, such as Nomad, is only looked at.
package register

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Health is what a check says.
type Health struct {
	Passing bool
	Output  string // for people
}

// Options are what a registrar needs from its agent. Without a logger it is silent; without a registry its metrics are
// nowhere.
type Options struct {
	Logger   hclog.Logger
	Registry prometheus.Registerer
	Health   func() Health // asked several times a second, by any goroutine; nil: it always passes
	Alloc    string        // id of our Nomad allocation; "": we run in none
	Tokens   func() uint64 // another number when the client has another token; nil: it never has
}

// Registrar keeps services registered. Run is called by one goroutine at a time, the rest by any.
type Registrar struct {
	client  *api.Client
	options Options
	logger  hclog.Logger
	metrics *metrics
	timing  timing
	beating chan struct{} // holds one for each beat that is under way

	mu         sync.Mutex
	attempted  map[string]Service // by id, what Consul may have
	registered bool
	served     bool               // was ready once: from then on not being ready is told to Consul
	stop       context.CancelFunc // of the running Run
	stopped    chan struct{}      // closed when that Run is over
}

// timing is what tests shorten.
type timing struct {
	// request is for one request. Without a leader Consul takes its time, one request after the other, and does it all the
	// same: to give one up and to ask again makes that worse.
	request  time.Duration
	beat     time.Duration // the same for a beat
	recheck  time.Duration // between looks at what is registered
	grace    time.Duration // for a registration that is under way when Run is to end
	min, max time.Duration // between attempts
	poll     time.Duration // between looks at our own health
	nomad    time.Duration // how long Nomad may take to register what it will register
}

// maxBeats is how many beats are under way at a time. Without a leader Consul lets each wait, and there has to be a connection left
// for what registers, of the few that are reserved for both.
const maxBeats = 2

// New makes a registrar over the local Consul agent. Nothing happens before Run.
func New(client *api.Client, o Options) *Registrar {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Health == nil {
		o.Health = func() Health { return Health{Passing: true, Output: "ready"} }
	}
	if o.Tokens == nil {
		o.Tokens = func() uint64 { return 0 }
	}
	return &Registrar{
		client: client, options: o, logger: o.Logger, metrics: newMetrics(o.Registry),
		beating: make(chan struct{}, maxBeats), attempted: map[string]Service{},
		timing: timing{request: 40 * time.Second, beat: 20 * time.Second, recheck: 30 * time.Second, grace: 2 * time.Second, min: 500 * time.Millisecond,
			max: 15 * time.Second, poll: 250 * time.Millisecond, nomad: 5 * time.Second},
	}
}

// Run registers the services and keeps them registered until ctx ends, or Withdraw or Deregister is called; then it
// returns nil. It leaves them registered. Before it registers anything for the first time it waits until they can serve.
// An error means that the services cannot be registered at all, and nothing was done. A registration that is under way at
// the end is given two more seconds.
//
// A Consul that cannot be reached is tried again for ever. Services of an earlier Run that are not among these are
// taken out.
func (r *Registrar) Run(ctx context.Context, services []Service) error {
	if err := check(services); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	r.mu.Lock()
	r.stop, r.stopped = cancel, stopped
	r.registered = false
	r.mu.Unlock()

	r.metrics.keep(services)
	own, others := r.divide(ctx, services)
	if r.waitReady(ctx) {
		newKeeper(r, own, others).run(ctx)
	}
	return nil
}

// waitReady waits until the services can serve, unless they could once, and returns false when ctx has ended.
func (r *Registrar) waitReady(ctx context.Context) bool {
	tick := time.NewTicker(r.timing.poll / 5)
	defer tick.Stop()
	for ctx.Err() == nil {
		passing := r.options.Health().Passing
		r.mu.Lock()
		r.served = r.served || passing
		served := r.served
		r.mu.Unlock()
		if served {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return false
}

// Registered reports whether Consul had all services when last asked.
func (r *Registrar) Registered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registered
}

func (r *Registrar) setRegistered(all bool) {
	r.mu.Lock()
	r.registered = all
	r.mu.Unlock()
}

// Forget makes Withdraw and Deregister leave the services with these ids alone.
func (r *Registrar) Forget(ids []string) {
	for _, id := range ids {
		r.drop(id)
	}
}

// Withdraw ends Run and makes all services critical, so that nobody is sent there any more; output is what their checks
// say. They stay registered until Deregister. It asks once, and returns at the latest when ctx ends.
func (r *Registrar) Withdraw(ctx context.Context, output string) error {
	if err := r.halt(ctx); err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	services := r.known(nil)
	errs := make([]error, len(services))
	var asking sync.WaitGroup
	for i, s := range services {
		asking.Go(func() {
			err := r.withdraw(ctx, s, output)
			if isStatus(err, http.StatusNotFound) {
				r.metrics.set(s, stateUnregistered)
				r.logger.Info("not in the catalog, so that nobody is to be kept away", "id", s.ID)
				return
			}
			if err != nil {
				r.metrics.failed("withdraw")
				errs[i] = fmt.Errorf("withdraw %s: %w", s.ID, err)
				return
			}
			r.metrics.set(s, stateCritical)
			r.logger.Info("withdrawn: critical until it is deregistered", "id", s.ID)
		})
	}
	asking.Wait()
	return errors.Join(errs...)
}

// withdraw makes a service critical: by its own check, or else by maintenance mode, which Consul shows as a critical
// check.
func (r *Registrar) withdraw(ctx context.Context, s Service, output string) error {
	ctx, cancel := context.WithTimeout(ctx, r.timing.request)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	if s.Check == TTL {
		return r.client.Agent().UpdateTTLOpts(s.checkID(TTL), output, api.HealthCritical, q)
	}
	return r.client.Agent().EnableServiceMaintenanceOpts(s.ID, output, q)
}

// Deregister ends Run and takes all services out of the catalog. It tries until ctx ends; then Consul removes them in
// its own time, when their checks have been critical for long enough. Nothing is left to do after the first nil.
func (r *Registrar) Deregister(ctx context.Context) error {
	if err := r.halt(ctx); err != nil {
		return fmt.Errorf("deregister: %w", err)
	}
	r.setRegistered(false)
	var errs []error
	for _, s := range r.known(nil) {
		if err := r.remove(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	r.metrics.keep(nil)
	return errors.Join(errs...)
}

// halt ends Run, and waits: a request that is under way must not come in after what follows.
func (r *Registrar) halt(ctx context.Context) error {
	r.mu.Lock()
	stop, stopped := r.stop, r.stopped
	r.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// known returns what Consul may have, without the ids in keep.
func (r *Registrar) known(keep []Service) []Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Service
	for _, id := range slices.Sorted(maps.Keys(r.attempted)) {
		if !slices.ContainsFunc(keep, func(s Service) bool { return s.ID == id }) {
			all = append(all, r.attempted[id])
		}
	}
	return all
}

// has reports whether we have tried to register a service of that id.
func (r *Registrar) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.attempted[id]
	return ok
}

func (r *Registrar) note(s Service) {
	r.mu.Lock()
	r.attempted[s.ID] = s
	r.mu.Unlock()
}

func (r *Registrar) drop(id string) {
	r.mu.Lock()
	delete(r.attempted, id)
	r.mu.Unlock()
}
