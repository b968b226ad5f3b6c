// Package stack starts real servers for tests and for the Nomad demo: Consul, Nomad, Prometheus and Redis on free
// loopback ports, in a folder of their own, several such stacks side by side. Closing a stack leaves no process, port,
// mount or file behind, however its servers ended.
//
// In a test:
//
//	s := stack.New(t, stack.Options{Consul: true})
//	client := newClient(s.Consul.Addr)
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"argosy/e2e/stack/servers"
)

// Options say what a stack consists of.
type Options struct {
	Consul     bool // a Consul agent in dev mode, with Connect
	Nomad      bool // a Nomad agent in dev mode with raw_exec; brings Consul with it
	Prometheus bool

	// ConsulKeeps makes Consul keep its state on disk, so that it survives RestartConsul. It starts 2 s slower.
	ConsulKeeps bool
	// ConsulHCL and NomadHCL are further configuration of the agents.
	ConsulHCL, NomadHCL string
	// PrometheusYAML makes Prometheus's configuration once Consul's address is known; PrometheusConfig unless set.
	PrometheusYAML func(*Stack) string

	// Progress shows the building of servers that are missing; nothing is shown unless set.
	Progress io.Writer
	// Dir is where the stack's own folder is made; the system's temporary folder unless set.
	Dir string
}

// Stack is a set of running servers. Its methods may be called from any goroutine.
type Stack struct {
	Dir        string // for whatever belongs to the stack; removed by Close unless Keep was called
	Consul     *Consul
	Nomad      *Nomad
	Prometheus *Prometheus

	options Options
	ports   *ports
	guard   *guard

	mu     sync.Mutex
	procs  []*Proc // in the order of their start
	closed bool
	keep   bool
}

// Start starts a stack and returns when all of it is ready for use: Consul has a leader, Nomad has a node that runs
// jobs. It starts nothing that is left behind when it fails. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Stack, error) {
	o.Consul = o.Consul || o.Nomad || o.ConsulKeeps
	dir, err := os.MkdirTemp(o.Dir, "argosy-stack-")
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // mounts and command lines show the real path
		return nil, fmt.Errorf("stack: %w", err)
	}
	s := &Stack{Dir: dir, options: o}
	if err := s.start(ctx); err != nil {
		logs := s.Logs(20)
		return nil, fmt.Errorf("stack: %w\n%s", errors.Join(err, s.Close()), logs)
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	for _, dir := range []string{"logs", "tmp"} {
		if err := os.Mkdir(s.Path(dir), 0o755); err != nil {
			return err
		}
	}
	var err error
	if s.guard, err = startGuard(s.Dir); err != nil {
		return err
	}
	if s.ports, err = reservePorts(portLocks); err != nil {
		return err
	}
	if s.options.Consul {
		if s.Consul, err = startConsul(ctx, s); err != nil {
			return err
		}
	}
	if s.options.Prometheus {
		if s.Prometheus, err = startPrometheus(ctx, s); err != nil {
			return err
		}
	}
	// Nomad looks at Consul once when it starts, and next after 15 s: before there is a leader it would see nothing.
	if s.Consul != nil {
		if err := s.Consul.Ready(ctx); err != nil {
			return err
		}
	}
	if s.options.Nomad {
		if s.Nomad, err = startNomad(ctx, s); err != nil {
			return err
		}
		if err := s.Nomad.Ready(ctx); err != nil {
			return err
		}
	}
	if s.Prometheus != nil {
		return s.Prometheus.Ready(ctx)
	}
	return nil
}

// server finds a server's program.
func (s *Stack) server(ctx context.Context, name string) (string, error) {
	return servers.Locate(ctx, name, s.options.Progress)
}

// Port returns a loopback port of this stack that no other stack and no outgoing connection uses, and never the same
// one twice.
func (s *Stack) Port() int { return s.ports.take() }

// Addr is 127.0.0.1 with a Port.
func (s *Stack) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port()) }

// Path is a path below the stack's folder.
func (s *Stack) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// Keep makes Close leave the stack's folder, with the logs, where it is.
func (s *Stack) Keep() {
	s.mu.Lock()
	s.keep = true
	s.mu.Unlock()
}

// Close ends all processes, those started last first, and whatever they have left behind, and removes the folder.
// It may be called again.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	procs, keep := s.procs, s.keep
	s.mu.Unlock()

	for i := len(procs) - 1; i >= 0; i-- {
		procs[i].Stop(5 * time.Second)
	}
	errs := []error{sweep(s.Dir), unmount(s.Dir)}
	removeCgroups(s.Dir)
	if s.ports != nil {
		s.ports.release()
	}
	if !keep {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	if s.guard != nil {
		s.guard.dismiss()
	}
	return errors.Join(errs...)
}

// Eventually asks until the answer is nil, for as long as ctx allows, and then reports the last answer.
func Eventually(ctx context.Context, every time.Duration, ask func(context.Context) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // else it tells only that it was interrupted
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up: %w)", last, ctx.Err())
		case <-ticker.C:
		}
	}
}
