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
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/accesslog"
	"argosy/agent/config"
	"argosy/agent/handover"
	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// Deps is what an agent gets from its process. Without a logger it is silent; without a registry it has one of its own.
type Deps struct {
	Logger         hclog.Logger
	Version        string
	Registry       *prometheus.Registry
	Stdout, Stderr io.Writer // for an access log that goes there; the process's own unless set
}

// Agent is one proxy. Its methods may be called from any goroutine, Run once.
type Agent struct {
	deps     Deps
	began    time.Time
	logger   hclog.Logger
	metrics  *metrics
	relay    relay.Relay
	loop     *relay.Loop // the same, where it is the event loop; else nil
	names    *names
	census   *census
	failures *warnings
	access   *accesslog.Log
	planning chan struct{} // holds one while a plan is made

	hard context.Context // ends when everything is to be dropped
	cut  func()

	started   chan struct{} // closed when Run has begun to serve
	draining  atomic.Bool
	drainOnce sync.Once
	drain     chan struct{}             // closed when asked to drain
	closed    chan struct{}             // closed when nothing is accepted any more
	drained   chan struct{}             // closed when no connection is left, after that
	deadline  atomic.Pointer[time.Time] // of the connections that are open, when draining

	current atomic.Pointer[generation]

	ripeTime time.Duration // see the constant

	changing sync.Mutex // held while the configuration changes; guards the rest
	running  bool
	states   map[string]*listenerState // by listener
	retired  []*listener               // gone from the configuration, with connections or their metrics left
	guards   map[guardKey]*guard       // of the clients of listeners, also of some that are gone
	registry *registry
	before   *handover.Inheritance // of the process before this one; nil: there was none
	offering *handover.Offering    // to the one after it; nil: none
	handed   bool                  // it has taken over
}

// New binds all sockets and prepares everything that can fail. Nothing is served before Run.
func New(cfg *config.Config, deps Deps) (*Agent, error) {
	if deps.Logger == nil {
		deps.Logger = hclog.NewNullLogger()
	}
	if deps.Registry == nil {
		deps.Registry = prometheus.NewRegistry()
	}
	if deps.Stdout == nil {
		deps.Stdout = os.Stdout
	}
	if deps.Stderr == nil {
		deps.Stderr = os.Stderr
	}
	m, err := newMetrics(deps.Registry, deps.Version)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	a := &Agent{
		deps: deps, began: time.Now(), logger: deps.Logger, metrics: m, names: newNames(m, deps.Logger),
		census: newCensus(), failures: &warnings{}, planning: make(chan struct{}, 1), started: make(chan struct{}), drain: make(chan struct{}),
		closed: make(chan struct{}), drained: make(chan struct{}),
		ripeTime: ripeTime, states: map[string]*listenerState{}, guards: map[guardKey]*guard{}, access: accesslog.New(deps.Logger, m.unlogged),
	}
	if err := a.chooseRelay(cfg.Relay); err != nil {
		return nil, err
	}
	hard, cut := context.WithCancelCause(context.Background())
	a.hard, a.cut = hard, func() { cut(outcome.Wrap(outcome.Drained, errStopped)) }
	a.registry = &registry{logger: a.logger.Named("register"), metrics: deps.Registry, health: a.serving}
	a.inherit(cfg.Handover)
	g, _, err := a.prepare(cfg, nil)
	if err != nil {
		a.closeRelay()
		if a.before != nil {
			a.before.Close()
		}
		return nil, err
	}
	a.current.Store(g)
	return a, nil
}

// Run serves until ctx ends or the agent is asked to drain. Then it leaves in order: it is unhealthy at once, makes its
// entries in the catalog critical, goes on accepting for the propagation time, stops accepting, gives the open connections
// the drain time to end, and takes the entries out. It returns when that is done and all its goroutines have ended.
//
// An agent that follows another process by a hand-over serves once it can, and fails if it cannot after some time: the other
// one goes on then.
func (a *Agent) Run(ctx context.Context) error {
	a.changing.Lock()
	if a.running {
		a.changing.Unlock()
		return errors.New("the agent runs already")
	}
	a.running = true
	g := a.current.Load()
	g.begin(&generation{})
	a.changing.Unlock()
	if ripe, err := a.ripen(ctx, g); !ripe {
		return err
	}
	a.changing.Lock()
	a.commit(g, nil)
	a.changing.Unlock()
	close(a.started)
	a.succeed(a.current.Load().config)

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

// chooseRelay starts what moves the bytes.
func (a *Agent) chooseRelay(c config.Relay) error {
	if c.Engine != "goroutines" {
		loop, err := relay.NewLoop(relay.LoopOptions{Workers: c.Workers, Logger: a.logger.Named("relay")})
		if err == nil {
			a.relay, a.loop = loop, loop
			return nil
		}
		if c.Engine == "loop" || !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	a.relay = relay.New()
	return nil
}

// closeRelay ends the relay's threads. No connection may be left.
func (a *Agent) closeRelay() {
	if a.loop != nil {
		a.loop.Close()
	}
}

// Procs is the value of GOMAXPROCS that the agent wants; 0 is Go's own.
func (a *Agent) Procs() int {
	if a.loop == nil {
		return 0
	}
	return a.loop.Procs()
}

// Started returns a channel that is closed when Run has begun to serve. Reload is refused before that.
func (a *Agent) Started() <-chan struct{} { return a.started }

// chores does what has to be done now and then. stop ends and waits.
func (a *Agent) chores() (stop func()) {
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { a.tellOpen(ctx) })
	running.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var tidy tidiness
		var looked time.Time
		for {
			select {
			case <-tick.C:
				a.names.evict()
				a.forgetRetired()
				a.closeGuards(false)
				if now := time.Now(); now.Sub(looked) > 900*time.Millisecond {
					looked = now
					tidy.look(a.census.moves())
				}
				if a.names.tend() {
					tick.Reset(moveInterval/2 + rand.N(moveInterval)) // not all agents at the same time
				} else {
					tick.Reset(time.Second)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
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
		if l.state.limits.Open()+l.state.limits.Waiting() > 0 {
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
	return a.healthServing()
}

// healthServing is Health as if the agent were not leaving.
func (a *Agent) healthServing() Health {
	g := a.current.Load()
	for _, l := range g.listeners {
		if l.port.current.Load() == nil {
			return Health{Status: "starting", Reasons: []string{"not accepting yet"}}
		}
	}
	if reasons := g.missing(); len(reasons) > 0 {
		return Health{Status: "not ready", Reasons: reasons}
	}
	return Health{Status: "ok"}
}
