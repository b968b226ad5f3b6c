package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"argosy/demo/load"
	"argosy/demo/look"
	"argosy/demo/story"
	"argosy/demo/table"
	"argosy/demo/web"
	"argosy/dev"
	"argosy/e2e/stack"
)

// The load in requests a second, and the fleet's policy.
const (
	calm, busy  = 80, 320
	least, most = 2, 6
	targetValue = 8
)

// Services in Consul.
const (
	fleet     = "proxy"
	scheduler = "argosy-scheduler"
)

type options struct {
	binary string // argosy
	root   string // of the repository
	keep   bool   // the stack's folder
	// nomad and consul are the programs, as a user calls them.
	nomad, consul string
}

// stage is the story.Stage of a real Nomad.
type stage struct {
	options options
	looker  *look.Looker
	load    *load.Generator
	loading sync.WaitGroup
	unload  context.CancelFunc

	mu    sync.Mutex
	stack *stack.Stack // nil before Start
	ports ports
	table *table.CLI
	logs  string // the end of them, when something went wrong
}

// ports are those that jobs have fixed.
type ports struct{ entry, namerd, prometheus int }

func (p ports) all() []int { return []int{p.entry, p.namerd, p.prometheus} }

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func newStage(o options) *stage {
	return &stage{options: o, looker: look.New(), load: load.New(15 * time.Second), unload: func() {}}
}

func (s *stage) running() (*stack.Stack, ports, *table.CLI) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stack, s.ports, s.table
}

func (s *stage) lastLogs() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs
}

// Facts are those of a Nomad that is server and client on one machine.
func (s *stage) Facts() story.Facts {
	f := story.Facts{
		Name: "real Nomad, Consul and Prometheus", Calm: calm, Busy: busy, Min: least, Max: most,
		StartWithin: 2 * time.Minute, ScaleWithin: 90 * time.Second, ShiftWithin: 45 * time.Second,
		HowCertificate: "Consul Connect",
	}
	st, p, t := s.running()
	if st == nil || t == nil {
		return f
	}
	f.Links = append(t.Hints(), []story.Link{
		{What: "Consul", Text: st.Consul.URL() + "/ui"},
		{What: "Prometheus", Text: "http://" + address(p.prometheus)},
		{What: "Redis, through it all", Text: fmt.Sprintf("redis-cli -p %d get whoami", p.entry)},
		{What: "the fleet, in Nomad", Text: s.options.nomad + " job status -address=" + st.Nomad.URL + " " + fleet},
		{What: "the fleet, in Consul", Text: s.options.consul + " catalog nodes -http-addr=" + st.Consul.Addr + " -service=" + fleet},
	}...)
	return f
}

// Start starts the servers, submits the jobs and makes the table.
func (s *stage) Start(ctx context.Context, progress func(string)) error {
	progress("starting Consul and Nomad")
	st, err := stack.Start(ctx, stack.Options{Nomad: true})
	if err != nil {
		return err
	}
	if s.options.keep {
		st.Keep()
	}
	p := ports{entry: st.Port(), namerd: st.Port(), prometheus: st.Port()}
	t := &table.CLI{Binary: s.options.binary, Name: shown(s.options.binary), Namerd: "http://" + address(p.namerd), Dir: st.Dir}
	s.mu.Lock()
	s.stack, s.ports, s.table = st, p, t
	s.mu.Unlock()

	if err := s.start(ctx, st, p, t, progress); err != nil {
		s.mu.Lock()
		s.logs = st.Logs(15)
		s.mu.Unlock()
		return err
	}
	return nil
}

func (s *stage) start(ctx context.Context, st *stack.Stack, p ports, t *table.CLI, progress func(string)) error {
	progress("submitting the jobs with nomad job run")
	if err := s.submit(ctx, st, p); err != nil {
		return err
	}
	progress("waiting for namerd, and making the table")
	if err := waitPassing(ctx, st, "namerd", 1); err != nil {
		return err
	}
	if _, err := t.Run(ctx, "create", table.Namespace, "-dtab", firstTable); err != nil {
		return err
	}
	for _, job := range []struct {
		service string
		count   int
	}{{story.Redis1, 1}, {story.Redis2, 1}, {fleet, least}, {"entry", 1}, {"web", webCount}, {"prometheus", 1}, {scheduler, 1}} {
		progress(fmt.Sprintf("waiting until the check of %s passes in Consul", job.service))
		if err := waitPassing(ctx, st, job.service, job.count); err != nil {
			return err
		}
	}
	progress("waiting until Prometheus has data of the fleet")
	if err := s.waitForData(ctx, p); err != nil {
		return err
	}
	webs, err := services(ctx, st, "web")
	if err != nil {
		return err
	}
	var targets []string
	for _, w := range webs {
		targets = append(targets, "http://"+w.address()+"/")
	}
	s.load.SetTargets(targets...)
	loading, unload := context.WithCancel(context.WithoutCancel(ctx))
	s.unload = unload
	s.loading.Go(func() { s.load.Run(loading) })
	return nil
}

// waitForData waits until Prometheus scrapes the fleet, so that the scheduler sees what follows.
func (s *stage) waitForData(ctx context.Context, p ports) error {
	return stack.Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		n, err := stack.QueryPrometheus(ctx, "http://"+address(p.prometheus), fmt.Sprintf("count(argosy_up{service=%q} == 1)", fleet))
		if err == nil && n < least {
			err = fmt.Errorf("it has data of %v agents of the fleet, not of %d", n, least)
		}
		return err
	})
}

// Shift changes the table by the command that a user would type.
func (s *stage) Shift(ctx context.Context, cluster string) (string, error) {
	_, _, t := s.running()
	return t.Shift(ctx, cluster)
}

// SetRate changes the load.
func (s *stage) SetRate(ctx context.Context, perSecond float64) { s.load.SetRate(ctx, perSecond) }

// Probe opens one connection the way the web servers do: through the entry agent.
func (s *stage) Probe(ctx context.Context) (web.Open, error) {
	_, p, _ := s.running()
	return web.Whoami(ctx, address(p.entry), nil, 5*time.Second)
}

// WithoutCertificate connects to an agent of the fleet, past the entry agent.
func (s *stage) WithoutCertificate(ctx context.Context) (refusal, err error) {
	st, _, _ := s.running()
	agents, err := services(ctx, st, fleet)
	if err != nil {
		return nil, err
	}
	if len(agents) == 0 {
		return nil, errors.New("no agent of the fleet is listed in Consul")
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	raw, err := d.DialContext(ctx, "tcp", agents[0].address())
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	// Whom this client trusts is not the question: it is there to be refused.
	return web.Refusal(ctx, tls.Client(raw, &tls.Config{InsecureSkipVerify: true}))
}

// Stop ends the load and then the servers, with all tasks.
func (s *stage) Stop(ctx context.Context) error {
	st, _, _ := s.running()
	if st != nil && s.options.keep {
		preserve(ctx, st)
	}
	s.unload()
	s.loading.Wait()
	s.looker.Close()
	if st == nil {
		return nil
	}
	return st.Close()
}

// Remains lists processes, ports and files that are left after Stop.
func (s *stage) Remains() []string {
	st, p, _ := s.running()
	if st == nil {
		return nil
	}
	left := dev.ProcessesIn(st.Dir)
	addresses := []string{st.Consul.Addr}
	for _, port := range p.all() {
		addresses = append(addresses, address(port))
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			left = append(left, err.Error())
			continue
		}
		l.Close()
	}
	if _, err := os.Stat(st.Dir); err == nil && !s.options.keep {
		left = append(left, "folder "+st.Dir)
	}
	return left
}

// shown is a path as seen from here, when that is shorter.
func shown(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, path); err == nil && len(rel) < len(path) {
			return rel
		}
	}
	return path
}
