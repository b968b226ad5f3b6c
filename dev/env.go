// Package dev is laptop mode: local services behind real proxies, real Dtabs and the real control law, with no servers
// to install. One file says what to run:
//
//	dtab = "/svc => /#/io.l5d.fs"
//
//	service "cache" {
//	  command = ["redis-server", "--port", "${port.redis}"]
//	  ports   = ["redis"]
//	}
//	proxy "fleet" {
//	  destination  = "/svc/cache"
//	  min          = 1
//	  max          = 4
//	  target_value = 50
//	}
//
// Everything runs as processes on this machine: namerd with its memory store, the services, and fleets of agents that
// share an address by SO_REUSEPORT. The catalog is a folder that the io.l5d.fs namer reads; a development CA stands in
// for Connect; the scheduler runs in this process and reads the agents' metrics pages. It is no cluster and does not
// pretend to be one: nothing is isolated, and nothing outlives it.
package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/devca"
	"argosy/scheduler/target/process"
)

// Namespace is the Dtab namespace of laptop mode.
const Namespace = "default"

// namerdGroup is the name of namerd's own group.
const namerdGroup = "namerd"

// certDir is the folder with certificates, below the scratch folder.
const certDir = "certs"

// stopGrace is how long a service may take to end.
const stopGrace = 5 * time.Second

// Options say how to run a file.
type Options struct {
	Binary string // this program, for agents and namerd
	Logger hclog.Logger
	// Output gets every line that children write, possibly from many goroutines at once; nil: dropped.
	Output func(group string, instance int, line string)
}

// Env is a running file. Its methods may be called from any goroutine.
type Env struct {
	config  *Config
	options Options
	log     hclog.Logger
	dir     string

	namerd    string // host:port
	ca        *devca.CA
	catalog   *catalog
	addresses map[string]string // of the proxies
	reserved  []*reservation
	groups    map[string]*process.Group
	order     []string // of the groups, as they were started
	tails     map[string]*tail
	trail     *trail
	scaling   *scaling

	cancel   context.CancelFunc // ends catalog and scaling
	stopOnce sync.Once
	stopErr  error
}

// Start starts everything and returns without waiting for it to be ready. ctx bounds only the start; after an error
// nothing is left.
func Start(ctx context.Context, c *Config, o Options) (*Env, error) {
	dir, err := os.MkdirTemp("", "argosy-dev-")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &Env{
		config: c, options: o, log: o.Logger.Named("dev"), dir: dir, cancel: cancel,
		addresses: map[string]string{}, groups: map[string]*process.Group{}, tails: map[string]*tail{},
		trail: newTrail(),
	}
	if err := e.start(ctx, background); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		return nil, fmt.Errorf("start %s: %w", c.Name, errors.Join(err, e.Stop(stop)))
	}
	return e, nil
}

func (e *Env) start(ctx, background context.Context) error {
	catalogDir := filepath.Join(e.dir, "catalog")
	certs := filepath.Join(e.dir, certDir)
	for _, d := range []string{catalogDir, certs} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	e.catalog = newCatalog(background, catalogDir, e.log)
	var err error
	if slices.ContainsFunc(e.config.Proxies, func(p Proxy) bool { return p.MTLS }) {
		if e.ca, err = devca.New(nil); err != nil {
			return err
		}
	}
	for _, p := range e.config.Proxies {
		r, err := reserve(ctx, p.Address)
		if err != nil {
			return fmt.Errorf("proxy %s: %w", p.Name, err)
		}
		e.reserved = append(e.reserved, r)
		e.addresses[p.Name] = r.Address
	}
	if err := e.startNamerd(ctx); err != nil {
		return err
	}
	for _, s := range e.config.Services {
		if err := e.startService(s, certs); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	for _, p := range e.config.Proxies {
		if err := e.startProxy(p, catalogDir, certs); err != nil {
			return fmt.Errorf("proxy %s: %w", p.Name, err)
		}
	}
	e.scaling, err = startScaling(background, e)
	return err
}

func (e *Env) startNamerd(ctx context.Context) error {
	var err error
	if e.namerd, err = freeAddress(ctx, e.config.Namerd); err != nil {
		return fmt.Errorf("namerd: %w", err)
	}
	path := filepath.Join(e.dir, "namerd.hcl")
	if err := os.WriteFile(path, namerdConfig(e.namerd, e.config.Dtab), 0o600); err != nil {
		return err
	}
	return e.startGroup(process.Spec{
		Name: namerdGroup, Command: []string{e.options.Binary, "namerd", "-config", path}, StopGrace: stopGrace,
	}, 1)
}

func (e *Env) startService(s Service, certs string) error {
	values := map[string]string{varBinary: e.options.Binary, varCert: "", varKey: "", varCA: ""}
	for name, address := range e.addresses {
		values[proxyVariable(name)] = address
	}
	if e.ca != nil {
		files, err := e.ca.Write(certs, s.Name)
		if err != nil {
			return err
		}
		values[varCert], values[varKey], values[varCA] = files.Cert, files.Key, files.CA
	}
	spec := process.Spec{
		Name: s.Name, Dir: e.dir, Ports: s.Ports, StopGrace: stopGrace,
		OnChange: func(all []process.Instance) { e.catalog.set(s.Name, all) },
	}
	for _, arg := range s.Command {
		spec.Command = append(spec.Command, fill(arg, values))
	}
	for k, v := range values {
		spec.Env = append(spec.Env, k+"="+v)
	}
	for _, v := range s.Env {
		spec.Env = append(spec.Env, fill(v, values))
	}
	var listed string
	if len(s.Ports) > 0 {
		listed = s.Ports[0]
	}
	if err := e.catalog.add(s.Name, listed); err != nil {
		return err
	}
	return e.startGroup(spec, s.Scale.Count)
}

func (e *Env) startProxy(p Proxy, catalogDir, certs string) error {
	var files *devca.Files
	if p.MTLS {
		// The agents prove the service that connections are for, as they would with Connect.
		service := p.Name
		if n := len(p.Destination); n > 0 {
			service = p.Destination[n-1]
		}
		f, err := e.ca.Write(certs, service, "localhost", "127.0.0.1", "::1")
		if err != nil {
			return err
		}
		files = &f
	}
	path := filepath.Join(e.dir, p.Name+".hcl")
	if err := os.WriteFile(path, agentConfig(p, e.addresses[p.Name], e.NamerdURL(), catalogDir, files), 0o600); err != nil {
		return err
	}
	return e.startGroup(process.Spec{
		Name: p.Name, Command: []string{e.options.Binary, "agent", "-config", path}, Ports: []string{adminPort},
		StopGrace: p.Drain + stopGrace,
	}, p.Scale.Count)
}

func (e *Env) startGroup(spec process.Spec, count int) error {
	t := &tail{}
	spec.Output = func(instance int, line string) {
		t.add(fmt.Sprintf("%s.%d: %s", spec.Name, instance, line))
		if e.options.Output != nil {
			e.options.Output(spec.Name, instance, line)
		}
	}
	onChange := spec.OnChange
	spec.OnChange = func(all []process.Instance) {
		e.trail.add(spec.Name, all)
		if onChange != nil {
			onChange(all)
		}
	}
	g := process.New(spec, e.log)
	if err := g.Start(); err != nil {
		return err
	}
	e.groups[spec.Name], e.tails[spec.Name] = g, t
	e.order = append(e.order, spec.Name)
	return g.Scale(count)
}

// Stop ends everything, namerd last, and removes the scratch folder. It waits until all is gone; when ctx ends before
// that, what is left is killed.
func (e *Env) Stop(ctx context.Context) error {
	e.stopOnce.Do(func() {
		e.cancel()
		if e.scaling != nil {
			e.scaling.wait()
		}
		others := slices.DeleteFunc(slices.Clone(e.order), func(name string) bool { return name == namerdGroup })
		e.stopErr = errors.Join(e.stopGroups(ctx, others), e.stopGroups(ctx, []string{namerdGroup}))
		if e.catalog != nil {
			e.catalog.wait()
		}
		for _, r := range e.reserved {
			r.release()
		}
		if err := os.RemoveAll(e.dir); err != nil {
			e.stopErr = errors.Join(e.stopErr, fmt.Errorf("remove scratch folder: %w", err))
		}
	})
	return e.stopErr
}

func (e *Env) stopGroups(ctx context.Context, names []string) error {
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		if g := e.groups[name]; g != nil {
			all.Go(func() { errs[i] = g.Stop(ctx) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// freeAddress replaces the port 0 with a free port. Somebody else can take it before namerd does; namerd then says so.
func freeAddress(ctx context.Context, address string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
