// Package laptop is the demo's stage on one machine with nothing installed: laptop mode runs the servers, the agents and
// the scheduler, and the load comes from this process.
package laptop

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed" // for the demo's file
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/load"
	"argosy/demo/look"
	"argosy/demo/story"
	"argosy/demo/table"
	"argosy/demo/web"
	"argosy/dev"
	"argosy/scheduler/law"
)

//go:embed demo.hcl
var file []byte

// Names in the demo's file.
const (
	fleet      = "fleet"
	webService = "web"
	redisPort  = "redis"
	webPort    = "http"
)

// The load in requests a second.
const (
	calm = 80
	busy = 320
)

// Options say how to run.
type Options struct {
	Binary string // this program
	Name   string // how a user calls it, for commands to copy; argosy unless set
	Logger hclog.Logger
	Output func(group string, instance int, line string) // what children write; may be nil
}

// Stage is a story.Stage.
type Stage struct {
	options Options
	config  *dev.Config
	table   *table.CLI
	looker  *look.Looker
	load    *load.Generator
	loading sync.WaitGroup
	unload  context.CancelFunc

	mu       sync.Mutex
	env      *dev.Env
	identity *web.TLS
}

// New makes a stage with nothing on it.
func New(o Options) (*Stage, error) {
	config, err := loadFile()
	if err != nil {
		return nil, fmt.Errorf("read the demo's file: %w", err)
	}
	return &Stage{options: o, config: config, looker: look.New(), load: load.New(15 * time.Second), unload: func() {}}, nil
}

// loadFile reads the file that is part of the program.
func loadFile() (*dev.Config, error) {
	dir, err := os.MkdirTemp("", "argosy-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "demo.hcl")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return nil, err
	}
	return dev.Load(path)
}

func (s *Stage) running() *dev.Env {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.env
}

// Facts are those of a laptop.
func (s *Stage) Facts() story.Facts {
	var policy law.Policy
	for _, p := range s.config.Proxies {
		if p.Name == fleet {
			policy = *p.Scale.Policy
		}
	}
	f := story.Facts{
		Name: "laptop", Calm: calm, Busy: busy, Min: policy.Min, Max: policy.Max,
		StartWithin: 30 * time.Second, ScaleWithin: 45 * time.Second, ShiftWithin: 30 * time.Second,
		HowCertificate: "the development CA",
	}
	if e := s.running(); e != nil {
		f.Links = s.links(e)
	}
	return f
}

func (s *Stage) links(e *dev.Env) []story.Link {
	links := s.table.Hints()
	if all := e.Instances(webService); len(all) > 0 {
		links = append(links, story.Link{What: "a web server", Text: "curl http://" + dev.Address(all[0], webPort) + "/"})
	}
	if all := e.Instances(fleet); len(all) > 0 {
		admin := "http://" + dev.AdminAddress(all[0])
		links = append(links, story.Link{What: "an agent", Text: admin + "/v1/routes  " + admin + "/metrics"})
	}
	now, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if url := e.SchedulerURL(now, fleet); url != "" {
		links = append(links, story.Link{What: "the decisions", Text: "curl '" + url + "/v1/decisions?limit=5'"})
	}
	return append(links,
		story.Link{What: "the fleet's address", Text: e.ProxyAddress(fleet) + " (TLS with client certificates)"},
		story.Link{What: "files", Text: e.Dir()})
}

// Start starts laptop mode and the load generator.
func (s *Stage) Start(ctx context.Context, progress func(string)) error {
	progress("starting namerd, two Redis servers, three web servers and the fleet")
	e, err := dev.Start(ctx, s.config, dev.Options{Binary: s.options.Binary, Logger: s.options.Logger, Output: s.options.Output})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.env = e
	s.table = &table.CLI{Binary: s.options.Binary, Name: cmp.Or(s.options.Name, "argosy"), Namerd: e.NamerdURL(), Dir: e.Dir()}
	s.mu.Unlock()
	progress("waiting until all of them are ready")
	if err := e.Ready(ctx); err != nil {
		return err
	}
	s.load.SetTargets(s.webs("http://", "/")...)
	loading, unload := context.WithCancel(context.WithoutCancel(ctx))
	s.unload = unload
	s.loading.Go(func() { s.load.Run(loading) })
	return nil
}

func (s *Stage) webs(before, after string) []string {
	var out []string
	for _, i := range s.running().Instances(webService) {
		out = append(out, before+dev.Address(i, webPort)+after)
	}
	return out
}

// Shift changes the table by the command that a user would type.
func (s *Stage) Shift(ctx context.Context, cluster string) (string, error) {
	return s.table.Shift(ctx, cluster)
}

// Probe opens one connection with the web servers' certificate.
func (s *Stage) Probe(ctx context.Context) (web.Open, error) {
	e := s.running()
	s.mu.Lock()
	if s.identity == nil {
		in := func(file string) string { return filepath.Join(e.CertDir(), file) }
		t, err := web.LoadTLS(in(webService+".pem"), in(webService+"-key.pem"), in("ca.pem"), "redis")
		if err != nil {
			s.mu.Unlock()
			return web.Open{}, err
		}
		s.identity = t
	}
	t := s.identity
	s.mu.Unlock()
	return web.Whoami(ctx, e.ProxyAddress(fleet), t, 5*time.Second)
}

// SetRate changes the load.
func (s *Stage) SetRate(ctx context.Context, perSecond float64) { s.load.SetRate(ctx, perSecond) }

// WithoutCertificate shows the fleet no certificate.
func (s *Stage) WithoutCertificate(ctx context.Context) (refusal, err error) {
	e := s.running()
	t, err := web.LoadTLS("", "", filepath.Join(e.CertDir(), "ca.pem"), "redis")
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	raw, err := d.DialContext(ctx, "tcp", e.ProxyAddress(fleet))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	return web.Refusal(ctx, tls.Client(raw, t.Config()))
}

// Observe asks everybody.
func (s *Stage) Observe(ctx context.Context) (story.Observation, error) {
	e := s.running()
	if e == nil {
		return story.Observation{}, errors.New("not started yet")
	}
	o := story.Observation{Load: s.load.Stats(), Wanted: e.Wanted(fleet)}
	if err := s.looker.Webs(ctx, s.webs("", ""), &o); err != nil {
		return o, err
	}
	for _, name := range []string{story.Redis1, story.Redis2} {
		b := o.Backends[name]
		b.Commands, b.Received = -1, -1
		for _, i := range e.Instances(name) {
			s.looker.Redis(ctx, dev.Address(i, redisPort), &b)
		}
		o.Backends[name] = b
	}
	for _, i := range e.Instances(fleet) {
		instance := story.Instance{ID: fmt.Sprintf("%s-%d", fleet, i.Index), Pid: i.Pid, Started: i.Started}
		s.looker.Agent(ctx, dev.AdminAddress(i), &instance)
		o.Instances = append(o.Instances, instance)
	}
	if d, ok := e.Decision(fleet); ok {
		o.Decision = story.Decision{At: d.At, Action: string(d.Action), Why: d.Text, Value: float64(d.Terms.Value),
			TargetValue: d.Terms.TargetValue, Current: d.Current, Now: d.Want}
	}
	o.At = time.Now()
	return o, nil
}

// Stop ends the load and then everything else.
func (s *Stage) Stop(ctx context.Context) error {
	s.unload()
	s.loading.Wait()
	s.looker.Close()
	if e := s.running(); e != nil {
		return e.Stop(ctx)
	}
	return nil
}

// Remains lists what is left after Stop.
func (s *Stage) Remains() []string {
	if e := s.running(); e != nil {
		return e.Remains()
	}
	return nil
}
