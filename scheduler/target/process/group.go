// Package process is laptop mode's stand-in for Nomad: it keeps N copies of a command running on this machine, and the
// scheduler scales them like the instances of a job.
//
//	g := process.New(process.Spec{Name: "proxy", Command: []string{"argosy", "agent", "-config", "a.hcl"},
//		Ports: []string{"admin"}}, logger)
//	err := g.Start()
//	err = g.Scale(3)
//	defer g.Stop(ctx)
//
// It is small on purpose: no placement, no isolation, no health checks. A group ends every process it started: on Stop,
// with their own children, and on Linux also when the parent dies.
package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of a Spec, and how crashed instances come back.
const (
	defaultStopGrace = 10 * time.Second
	restartMin       = 200 * time.Millisecond
	restartMax       = 10 * time.Second
	stableAfter      = 10 * time.Second // an instance that ran for so long is restarted without delay
	maxCount         = 1000
)

// errStopped is what a group answers once Stop has been called.
var errStopped = errors.New("group is stopped")

// Spec says what to run.
type Spec struct {
	Name    string
	Command []string // program and arguments; ${ARGOSY_INSTANCE} and ${ARGOSY_PORT_<LABEL>} are filled in
	Env     []string // "KEY=value", added to this process's environment
	Dir     string   // working directory; this process's own unless set
	// Ports are labels. Each instance gets a free loopback port per label, in the variable ARGOSY_PORT_<LABEL>: the
	// label in upper case with '_' for everything but letters and digits. A restarted instance gets new ones.
	Ports []string
	// StopGrace is the time between SIGTERM and SIGKILL; 10s unless set.
	StopGrace time.Duration
	// OnChange is called with the running instances, ordered by index, after every change, never from two goroutines
	// at once. It may use the group's Count and Instances, but must not call Scale or Stop.
	OnChange func([]Instance)
	// Output gets every line that instances write to standard output and error, without its line end, possibly from
	// many goroutines at once. Unless set, lines go to the logger at debug.
	Output func(instance int, line string)
}

// Instance is one running process.
type Instance struct {
	Index   int
	Pid     int
	Ports   map[string]int // by label
	Started time.Time
}

// Group keeps a number of copies of a command running. Its methods may be called from any goroutine.
type Group struct {
	spec   Spec
	logger hclog.Logger

	mu      sync.Mutex
	started bool
	stopped bool
	count   int
	ports   map[int]bool  // given out
	slots   map[int]*slot // also those that are stopping; their index is not given out again until they are gone
	running sync.WaitGroup

	telling sync.Mutex
	told    []Instance
}

// New makes a group that runs nothing yet.
func New(spec Spec, logger hclog.Logger) *Group {
	if spec.StopGrace <= 0 {
		spec.StopGrace = defaultStopGrace
	}
	return &Group{spec: spec, logger: logger.Named("process").With("group", spec.Name), slots: map[int]*slot{}, ports: map[int]bool{}}
}

// Start checks that the command can be run and starts what Scale has asked for so far.
func (g *Group) Start() error {
	if len(g.spec.Command) == 0 || g.spec.Command[0] == "" {
		return fmt.Errorf("starting %s: it has no command", g.spec.Name)
	}
	if !strings.Contains(g.spec.Command[0], "${") {
		if _, err := exec.LookPath(g.spec.Command[0]); err != nil {
			return fmt.Errorf("starting %s: %w", g.spec.Name, err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return fmt.Errorf("starting %s: %w", g.spec.Name, errStopped)
	}
	g.started = true
	g.reconcile()
	return nil
}

// Scale sets how many instances are to run and returns without waiting for them. Those with the highest index are
// stopped first, as Nomad does.
func (g *Group) Scale(n int) error {
	if n < 0 || n > maxCount {
		return fmt.Errorf("scaling %s to %d: not between 0 and %d", g.spec.Name, n, maxCount)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return fmt.Errorf("scaling %s to %d: %w", g.spec.Name, n, errStopped)
	}
	g.count = n
	g.reconcile()
	return nil
}

// Count returns how many instances are to run.
func (g *Group) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Instances returns the running instances, ordered by index, without those that have been told to stop.
func (g *Group) Instances() []Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Instance
	for _, s := range g.slots {
		if s.instance.Pid != 0 && !s.stopping() {
			i := s.instance
			i.Ports = maps.Clone(i.Ports)
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b Instance) int { return a.Index - b.Index })
	return all
}

// Stop ends all instances and waits until they are gone. When ctx ends first, they are killed without further grace
// and Stop says so.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	g.stopped = true
	g.count = 0
	g.reconcile()
	g.mu.Unlock()

	gone := make(chan struct{})
	go func() { defer close(gone); g.running.Wait() }()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("stopping %s: killed before the grace of %v was over: %w", g.spec.Name, g.spec.StopGrace, ctx.Err())
		g.mu.Lock()
		for _, s := range g.slots {
			s.cut()
		}
		g.mu.Unlock()
		<-gone
	}
	g.tell()
	return err
}

// reconcile starts and stops slots until as many are wanted as count says. g.mu is held.
func (g *Group) reconcile() {
	if !g.started {
		return
	}
	var live []int
	for index, s := range g.slots {
		if !s.stopping() {
			live = append(live, index)
		}
	}
	slices.Sort(live)
	for len(live) > g.count {
		last := live[len(live)-1]
		g.slots[last].stop()
		live = live[:len(live)-1]
	}
	for index := 0; len(live) < g.count; index++ {
		if g.slots[index] != nil {
			continue
		}
		s := newSlot(g, index)
		g.slots[index] = s
		live = append(live, index)
		g.running.Go(func() {
			s.run()
			g.mu.Lock()
			delete(g.slots, index)
			g.reconcile() // a stopping slot may have held an index
			g.mu.Unlock()
			g.tell()
		})
	}
}

// setInstance records what a slot runs now; a zero Pid says nothing.
func (g *Group) setInstance(s *slot, i Instance) {
	g.mu.Lock()
	s.instance = i
	g.mu.Unlock()
	g.tell()
}

// tell calls OnChange if the instances have changed since the last call.
func (g *Group) tell() {
	if g.spec.OnChange == nil {
		return
	}
	g.telling.Lock()
	defer g.telling.Unlock()
	now := g.Instances()
	same := slices.EqualFunc(g.told, now, func(a, b Instance) bool {
		return a.Index == b.Index && a.Pid == b.Pid && a.Started.Equal(b.Started)
	})
	if same && g.told != nil {
		return
	}
	g.told = now
	if now == nil {
		g.told = []Instance{}
	}
	g.spec.OnChange(slices.Clone(g.told))
}
