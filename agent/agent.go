// Package agent is one proxy process: it accepts connections, finds out by a Dtab and a catalog where each is to go,
// connects an endpoint, and moves the bytes.
//
//	a, err := agent.New(cfg, agent.Deps{Logger: logger, Version: "1.2.3", Registry: prometheus.NewRegistry()})
//	if err != nil { ... }       // nothing runs yet; all sockets are bound
//	err = a.Run(ctx)            // until ctx ends; then drains and returns
//	err = a.Reload(newCfg)      // from any goroutine: all of it, or an error and nothing
//
// The way of a connection: listen accepts it and finds its name; names holds the live binding of the name and a
// balancer; dial connects what the balancer picks; relay moves the bytes. This package connects these parts, follows
// the configuration, and tells operators what happens.
package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// Deps is what an agent gets from its process.
type Deps struct {
	Logger   hclog.Logger
	Version  string
	Registry *prometheus.Registry
}

// Agent is one proxy. Its methods may be called from any goroutine, Run once.
type Agent struct {
	deps     Deps
	logger   hclog.Logger
	metrics  *metrics
	relay    *relay.Goroutines
	names    *names
	census   *census
	failures *warnings

	hard context.Context // ends when everything is to be dropped
	cut  func()

	draining  atomic.Bool
	drainOnce sync.Once
	drain     chan struct{} // closed when asked to drain

	current atomic.Pointer[generation]

	changing sync.Mutex // held while the configuration changes; guards the rest
	running  bool
	states   map[string]*listenerState // by listener
	retired  []*listener               // gone from the configuration, with connections or their metrics left
	registry *registry
}

// New binds all sockets and prepares everything that can fail. Nothing is served before Run.
func New(cfg *config.Config, deps Deps) (*Agent, error) {
	m, err := newMetrics(deps.Registry, deps.Version)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	a := &Agent{
		deps: deps, logger: deps.Logger, metrics: m, relay: relay.New(), names: newNames(m, deps.Logger),
		census: newCensus(), failures: &warnings{}, drain: make(chan struct{}), states: map[string]*listenerState{},
	}
	hard, cut := context.WithCancelCause(context.Background())
	a.hard, a.cut = hard, func() { cut(outcome.Wrap(outcome.Drained, errStopped)) }
	a.registry = &registry{logger: a.logger.Named("register"), ready: a.ready}
	g, _, err := a.prepare(cfg, nil)
	if err != nil {
		return nil, err
	}
	a.current.Store(g)
	return a, nil
}

// Run serves until ctx ends or the agent is asked to drain. Then it leaves in order: it is unhealthy at once, takes its
// entries out of the catalog, goes on accepting for the propagation time, stops accepting, and gives the open
// connections the drain time to end. It returns when that is done and all its goroutines have ended.
func (a *Agent) Run(ctx context.Context) error {
	a.changing.Lock()
	if a.running {
		a.changing.Unlock()
		return errors.New("the agent runs already")
	}
	a.running = true
	a.commit(a.current.Load(), nil)
	a.changing.Unlock()

	stopChores := a.chores()
	select {
	case <-ctx.Done():
	case <-a.drain:
	case <-a.hard.Done():
	}
	a.leave()
	stopChores()
	return nil
}

// leave goes through the stages of the end.
func (a *Agent) leave() {
	a.Drain()
	a.draining.Store(true)
	a.metrics.draining.Set(1)
	a.changing.Lock() // a reload that has begun before comes first; none begins from now on
	g := a.current.Load()
	a.changing.Unlock()
	d := g.config.Drain
	_, open := a.census.empty()
	a.logger.Info("draining", "connections", open, "propagation", d.Propagation, "timeout", d.Timeout)

	a.registry.close()
	a.pause(d.Propagation)
	for _, l := range g.listeners {
		l.port.stop()
	}
	none, open := a.census.empty()
	if open > 0 {
		a.logger.Info("no new connections, waiting for the open ones", "connections", open)
	}
	timeout := time.NewTimer(d.Timeout)
	defer timeout.Stop()
	select {
	case <-none:
	case <-timeout.C:
	case <-a.hard.Done():
	}
	if all := a.census.all(); len(all) > 0 {
		a.logger.Warn("closing the connections that are left", "connections", len(all))
		for _, c := range all {
			c.stop(outcome.Drained)
		}
	}
	none, _ = a.census.empty()
	<-none
	a.relay.Wait()
	a.names.close()
	g.naming.stop()
	for _, i := range g.identities {
		i.stop()
	}
	g.admin.stop()
	a.cut()
	a.logger.Info("drained")
}

// pause waits, unless everything is to be dropped.
func (a *Agent) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.hard.Done():
	}
}

// Drain makes Run leave in order. It returns at once.
func (a *Agent) Drain() {
	a.drainOnce.Do(func() {
		a.draining.Store(true)
		close(a.drain)
	})
}

// Cut drops all connections now and makes Run return soon.
func (a *Agent) Cut() { a.cut() }

// chores does what has to be done now and then. stop ends and waits.
func (a *Agent) chores() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.names.evict()
				a.forgetRetired()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// forgetRetired ends the metrics of listeners that have left the configuration, once their connections are over.
func (a *Agent) forgetRetired() {
	if !a.changing.TryLock() {
		return
	}
	defer a.changing.Unlock()
	left := a.retired[:0]
	for _, l := range a.retired {
		if l.state.gate.Open() > 0 {
			left = append(left, l)
		} else if a.states[l.name] == nil {
			a.metrics.forgetListener(l.name)
		}
	}
	a.retired = left
}

var errDraining = errors.New("the agent is draining")

// RefuseReload counts a configuration that could not be loaded, and so did not come as far as Reload.
func (a *Agent) RefuseReload() { a.metrics.reloads.WithLabelValues("failed").Inc() }

// Reload makes the agent follow cfg: everything that can fail is done first, and an error changes nothing. Listeners
// that stay keep their sockets and connections; connections of listeners that go are not cut.
func (a *Agent) Reload(cfg *config.Config) error {
	return a.ReloadFrom(func() (*config.Config, error) { return cfg, nil })
}

// ReloadFrom is Reload with what load returns. A failure to load counts as a failed reload.
func (a *Agent) ReloadFrom(load func() (*config.Config, error)) error {
	cfg, err := load()
	if err == nil {
		err = a.reload(cfg)
	}
	result := "ok"
	if err != nil {
		result = "failed"
	}
	a.metrics.reloads.WithLabelValues(result).Inc()
	return err
}

func (a *Agent) reload(cfg *config.Config) error {
	if a.draining.Load() {
		return errDraining
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	if a.draining.Load() {
		return errDraining
	}
	old := a.current.Load()
	g, undo, err := a.prepare(cfg, old)
	if err != nil {
		return err
	}
	if !a.running { // nothing has been started yet; what is new starts with Run
		undo()
		return errors.New("the agent is not running")
	}
	a.commit(g, old)
	if level := hclog.LevelFromString(cfg.Log.Level); level != hclog.NoLevel {
		a.logger.SetLevel(level)
	}
	a.logger.Info("configuration reloaded", "listeners", len(g.listeners))
	return nil
}

// Health says whether the agent can serve, and why not.
func (a *Agent) Health() Health {
	if a.draining.Load() {
		return Health{Status: "draining", Reasons: []string{"the agent is leaving"}}
	}
	g := a.current.Load()
	var reasons []string
	for _, l := range g.listeners {
		if l.port.current.Load() == nil {
			return Health{Status: "starting", Reasons: []string{"not accepting yet"}}
		}
	}
	if known, err := g.naming.known(); !known {
		reason := "the table is not known yet"
		if err != nil {
			reason += ": " + err.Error()
		}
		reasons = append(reasons, reason)
	}
	for _, i := range g.identities {
		if err := i.Ready(); err != nil {
			reasons = append(reasons, fmt.Sprintf("identity %s: %v", i.Name(), err))
		}
	}
	if len(reasons) > 0 {
		return Health{Status: "not ready", Reasons: reasons}
	}
	return Health{Status: "ok"}
}

func (a *Agent) ready() bool { return a.Health().Status == "ok" }
