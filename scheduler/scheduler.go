// Package scheduler scales fleets: it reads load metrics, lets the law decide, and sets the counts of Nomad task groups
// or of local process groups. Every decision and its reason goes to the log, the metrics and the journal.
//
//	s, err := scheduler.New(cfg, scheduler.Deps{Logger: logger, Registry: registry})
//	err = s.Run(ctx)
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/door"
	"argosy/internal/watch"
	"argosy/scheduler/config"
	"argosy/scheduler/discovery"
	"argosy/scheduler/law"
	"argosy/scheduler/metric"
	"argosy/scheduler/policies"
	"argosy/scheduler/target"
)

// errStopped is what a scheduler answers when it does not run any more.
var errStopped = errors.New("the scheduler is stopped")

// Deps are what a scheduler is given. Logger and Registry are required.
type Deps struct {
	Logger   hclog.Logger
	Registry *prometheus.Registry
	Clock    func() time.Time // time.Now unless set

	// Targets finds the process group with a name; nil when there is none. Only programs that run processes set it.
	Targets func(name string) target.Target
	// ScrapeTargets are read in addition to those in the configuration's scrape block; asked before each round.
	ScrapeTargets func() []string
	// SD is listed at /v1/sd in addition to what Consul knows.
	SD func() []discovery.Group
}

// Scheduler runs policies. Its methods may be called from any goroutine, Run once.
type Scheduler struct {
	deps    Deps
	journal *journal
	metrics *metrics
	swap    chan *engine
	stopped chan struct{}
	bound   chan struct{}

	mu       sync.Mutex
	engine   *engine
	server   *door.Server // of the HTTP endpoint, once bound
	memories map[string]*memory
	inUse    []policies.Policy
	problems []policies.Problem
	lastBeat time.Time
	started  time.Time
}

// New makes a scheduler for a configuration. It connects to nothing yet.
func New(cfg *config.Config, deps Deps) (*Scheduler, error) {
	if deps.Clock == nil {
		deps.Clock = time.Now
	}
	m, err := newMetrics(deps.Registry)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	s := &Scheduler{
		deps: deps, journal: newJournal(), metrics: m, swap: make(chan *engine), stopped: make(chan struct{}),
		bound: make(chan struct{}), memories: map[string]*memory{},
	}
	if s.engine, err = s.prepare(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// Run serves and scales until ctx ends; the instances stay as they are then. It returns nil, or why it could not start.
func (s *Scheduler) Run(ctx context.Context) error {
	defer close(s.stopped)
	e := s.current()
	server, err := s.open(e.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http endpoint: %w", err)
	}
	s.mu.Lock()
	s.server, s.started = server, s.deps.Clock()
	s.mu.Unlock()
	close(s.bound)
	served := server.Start()
	s.deps.Logger.Info("scheduler started", "http", server.Address(), "policies", len(e.cfg.Policies), "interval", e.cfg.Interval)

	runEnd := s.runEngines(ctx, e, served)
	server.Stop(5 * time.Second)
	s.deps.Logger.Info("scheduler stopped, counts stay as they are")
	return runEnd
}

// open listens for operators and Prometheus.
func (s *Scheduler) open(cfg config.HTTP) (*door.Server, error) {
	s.warnOfExposed(cfg)
	peers, err := door.FilePeers(cfg.TLS, s.deps.Logger)
	if err != nil {
		return nil, err
	}
	l, err := door.Listen(cfg, nil)
	if err != nil {
		return nil, err
	}
	d := door.New(cfg, peers, door.Options{Logger: s.deps.Logger, Registry: s.deps.Registry, Realm: "argosy scheduler"})
	return door.NewServer(d, l, s.Handler(), s.deps.Logger), nil
}

func (s *Scheduler) warnOfExposed(cfg config.HTTP) {
	if missing := cfg.Exposed(); missing != "" {
		s.deps.Logger.Warn("the HTTP endpoint is open to the network without "+missing+": see docs/admin.md", "address", cfg.Address)
	}
}

// runEngines runs one engine after the other until ctx or the HTTP server ends.
func (s *Scheduler) runEngines(ctx context.Context, e *engine, served <-chan error) error {
	for {
		engineCtx, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); e.run(engineCtx) }()
		var next *engine
		var err error
		select {
		case next = <-s.swap:
		case <-ctx.Done():
		case err = <-served:
			err = fmt.Errorf("http endpoint: %w", err)
		}
		stop()
		<-ended
		if next == nil {
			return err
		}
		s.mu.Lock()
		s.engine = next
		s.mu.Unlock()
		s.forgetAllBut(next)
		e = next
	}
}

// Reload goes over to another configuration. What policies have learnt stays with those that keep their target and
// metric. An error means that nothing has changed.
func (s *Scheduler) Reload(cfg *config.Config) error {
	was := s.current().cfg.HTTP
	if cfg.HTTP.Address != was.Address {
		return fmt.Errorf("reloading: the http address cannot change from %s to %s without a restart", was.Address, cfg.HTTP.Address)
	}
	peers, err := door.FilePeers(cfg.HTTP.TLS, s.deps.Logger)
	if err != nil {
		return fmt.Errorf("reloading: http endpoint: %w", err)
	}
	e, err := s.prepare(cfg)
	if err != nil {
		return fmt.Errorf("reloading: %w", err)
	}
	select {
	case s.swap <- e:
		if !reflect.DeepEqual(was, cfg.HTTP) {
			s.warnOfExposed(cfg.HTTP)
			if err := s.server.Use(cfg.HTTP, peers); err != nil {
				s.deps.Logger.Error("the permissions of the HTTP endpoint's socket cannot be changed", "socket", cfg.HTTP.Address, "error", err)
			}
		}
		s.deps.Logger.Info("configuration reloaded", "policies", len(cfg.Policies))
		return nil
	case <-s.stopped:
		return fmt.Errorf("reloading: %w", errStopped)
	}
}

// Address returns the address of the HTTP endpoint, as soon as Run listens there; an empty one when ctx or Run ends
// before.
func (s *Scheduler) Address(ctx context.Context) string {
	select {
	case <-s.bound:
	case <-s.stopped:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return ""
	}
	return s.server.Address()
}

// Decisions is the newest decision of every policy, ordered by policy.
func (s *Scheduler) Decisions() watch.Reader[[]Entry] { return s.journal.newest() }

// Journal returns the last decisions, newest first: up to limit, of one policy or, when it is empty, of all.
func (s *Scheduler) Journal(policy string, limit int) []Entry { return s.journal.recent(policy, limit) }

func (s *Scheduler) current() *engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine
}

// recall returns the memory for a policy. It is empty when the policy now means something else.
func (s *Scheduler) recall(p policies.Policy) *memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.memories[p.Name]
	if m == nil || m.policy.Target != p.Target || m.policy.Query.String() != p.Query.String() {
		m = &memory{}
	}
	m.policy = p
	s.memories[p.Name] = m
	return m
}

func (s *Scheduler) forget(policy string) {
	s.mu.Lock()
	delete(s.memories, policy)
	s.mu.Unlock()
	s.metrics.forget(policy)
	s.journal.forget(policy)
}

// forgetAllBut forgets configured policies that are not in the next engine. Those of jobs are not known yet, and stay
// if jobs are still followed.
func (s *Scheduler) forgetAllBut(next *engine) {
	s.mu.Lock()
	var gone []string
	for name, m := range s.memories {
		kept := slices.ContainsFunc(next.cfg.Policies, func(p policies.Policy) bool { return p.Name == name })
		if !kept && (next.jobs == nil || m.policy.Target.Kind != policies.Nomad) {
			gone = append(gone, name)
		}
	}
	s.mu.Unlock()
	for _, name := range gone {
		s.forget(name)
	}
}

// publish notes which policies are in use, and logs problems that are new.
func (s *Scheduler) publish(inUse []policies.Policy, problems []policies.Problem, logger hclog.Logger) {
	s.mu.Lock()
	known := s.problems
	s.inUse, s.problems = inUse, problems
	s.mu.Unlock()
	for _, p := range problems {
		if !slices.Contains(known, p) {
			logger.Error("policy is not used", "policy", p.Policy, "from", p.Origin, "error", p.Error)
		}
	}
	s.metrics.policies.Set(float64(len(inUse)))
	s.metrics.problems.Set(float64(len(problems)))
}

func (s *Scheduler) beat(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastBeat = now
}

func newRunner(e *engine, p policies.Policy, source metric.Source, t target.Target) *runner {
	return &runner{
		policy: p, source: source, target: t, memory: e.s.recall(p), journal: e.s.journal, metrics: e.s.metrics,
		logger: e.logger, now: e.s.deps.Clock, interval: e.cfg.Interval, beat: e.s.beat, told: map[law.Reason]time.Time{},
	}
}
