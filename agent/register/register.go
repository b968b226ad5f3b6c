// Package register keeps an agent's services in Consul's catalog: it registers them with the local Consul agent, puts
// them back when that agent has lost them, and takes them out again. Traffic never waits for it.
package register

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// nomadIDs start the ids of the services that Nomad registers. Its client removes those that it does not know.
const nomadIDs = "_nomad-task-"

// Service is one service to be in the catalog. Zero durations stand for 5s, 2s and 10m.
type Service struct {
	ID, Name string
	Address  string // to advertise; the node's unless set
	Port     int
	Tags     []string
	Meta     map[string]string
	Native   bool   // the port itself speaks Connect's mutual TLS, so that Connect clients may be sent there
	CheckURL string // GET it: 2xx passes, 429 warns, anything else is critical; no check unless set

	CheckInterval, CheckTimeout time.Duration

	// DeregisterAfter is how long the check may be critical before Consul removes the service: at least a minute. Keep
	// it long: a paused machine or a long outage must not erase a fleet.
	DeregisterAfter time.Duration
}

// Registrar keeps services registered. Run is called by one goroutine at a time, the rest by any.
type Registrar struct {
	client *api.Client
	logger hclog.Logger
	timing timing

	mu         sync.Mutex
	attempted  map[string]bool // ids that Consul may have; false: as far as we know it has not
	registered bool
	stop       context.CancelFunc // of the running Run
	stopped    chan struct{}      // closed when that Run is over
}

// timing is what tests shorten.
type timing struct {
	request  time.Duration // for one request: without a leader Consul takes its time, and may have done it all the same
	recheck  time.Duration // between looks at what is registered
	grace    time.Duration // for a registration that is under way when Run is to end
	min, max time.Duration // between attempts
}

// New makes a registrar over the local Consul agent. Nothing happens before Run.
func New(client *api.Client, logger hclog.Logger) *Registrar {
	return &Registrar{
		client: client, logger: logger, attempted: map[string]bool{},
		timing: timing{request: 15 * time.Second, recheck: 30 * time.Second, grace: 2 * time.Second, min: 500 * time.Millisecond, max: 15 * time.Second},
	}
}

// Run registers the services and keeps them registered until ctx ends or Deregister is called; then it returns nil. It
// is called when the services can serve: they are registered as passing. It leaves them registered. An error means that
// the services cannot be registered at all, and nothing was done. A registration that is under way at the end is given
// two more seconds.
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

	k := &keeper{registrar: r, services: services, logger: r.logger}
	k.run(ctx)
	return nil
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

// Forget makes Deregister leave the services with these ids alone.
func (r *Registrar) Forget(ids []string) {
	for _, id := range ids {
		r.note(id, false)
	}
}

// Deregister ends Run and takes all services out of the catalog. It tries until ctx ends; then Consul removes them in
// its own time, when their checks have been critical for long enough. Nothing is left to do after the first nil.
func (r *Registrar) Deregister(ctx context.Context) error {
	r.mu.Lock()
	stop, stopped := r.stop, r.stopped
	r.mu.Unlock()
	if stop != nil {
		stop()
		select { // a request that is under way must not come in after ours
		case <-stopped:
		case <-ctx.Done():
			return fmt.Errorf("deregister: %w", ctx.Err())
		}
	}
	r.setRegistered(false)
	var errs []error
	for _, id := range r.known(nil) {
		if err := r.remove(ctx, id); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// known returns the ids that Consul may have, without those that keep names.
func (r *Registrar) known(keep []Service) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id := range maps.Keys(r.attempted) {
		if !slices.ContainsFunc(keep, func(s Service) bool { return s.ID == id }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (r *Registrar) note(id string, has bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if has {
		r.attempted[id] = true
	} else {
		delete(r.attempted, id)
	}
}

// check refuses what cannot be registered.
func check(services []Service) error {
	seen := map[string]bool{}
	for _, s := range services {
		switch {
		case s.ID == "" || s.Name == "":
			return fmt.Errorf("register %q: a service needs an id and a name", s.Name+s.ID)
		case strings.HasPrefix(s.ID, nomadIDs):
			return fmt.Errorf("register %s: ids that start with %s are Nomad's, which removes those that it does not know", s.ID, nomadIDs)
		case strings.ContainsAny(s.ID, "/?#%"):
			return fmt.Errorf("register %s: an id must not contain / ? # or %%", s.ID)
		case seen[s.ID]:
			return fmt.Errorf("register %s: the id is there twice", s.ID)
		case s.Port < 0 || s.Port > 65535:
			return fmt.Errorf("register %s: %d is no port", s.ID, s.Port)
		}
		seen[s.ID] = true
	}
	return nil
}

// registration is a service in Consul's words.
func registration(s Service) *api.AgentServiceRegistration {
	reg := &api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta,
	}
	if s.Native {
		reg.Connect = &api.AgentServiceConnect{Native: true}
	}
	if s.CheckURL != "" {
		reg.Check = &api.AgentServiceCheck{
			CheckID:  "service:" + s.ID,
			Name:     "can serve",
			HTTP:     s.CheckURL,
			Interval: or(s.CheckInterval, 5*time.Second).String(),
			Timeout:  or(s.CheckTimeout, 2*time.Second).String(),
			Status:   api.HealthPassing,

			DeregisterCriticalServiceAfter: max(or(s.DeregisterAfter, 10*time.Minute), time.Minute).String(),
		}
	}
	return reg
}

func or(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
