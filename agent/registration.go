package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/register"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

const (
	metaLimit         = 512 // Consul's limit of a value
	deregisterTimeout = 5 * time.Second
)

// services makes the catalog's services of a generation, one for each listener that is to be registered.
func services(cfg *config.Config, g *generation, version string) ([]register.Service, error) {
	common := config.Register{CheckInterval: 5 * time.Second, CheckTimeout: 2 * time.Second, DeregisterAfter: 10 * time.Minute}
	if cfg.Register != nil {
		common = *cfg.Register
	}
	var all []register.Service
	for _, l := range g.listeners {
		if l.config.Register == nil {
			continue
		}
		e := l.config.Register
		s := register.Service{
			Name: e.Service, Port: e.Port, Native: e.Native, Tags: common.Tags, Address: common.Address,
			CheckURL:      "http://" + reachable(g.admin.address(), "127.0.0.1") + "/health",
			CheckInterval: common.CheckInterval, CheckTimeout: common.CheckTimeout, DeregisterAfter: common.DeregisterAfter,
		}
		if s.Name == "" {
			s.Name = cfg.Name
		}
		bound, ok := l.port.socket.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("register: listener %q has no port", l.name)
		}
		if s.Port == 0 {
			s.Port = bound.Port
		}
		if s.Address == "" && !bound.IP.IsUnspecified() {
			s.Address = bound.IP.String()
		}
		host, err := instance()
		if err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
		s.ID = fmt.Sprintf("%s-%s-%d", s.Name, host, s.Port)
		if l.config.ReusePort { // others may share the port, but not the one of the admin endpoint
			if _, admin, err := net.SplitHostPort(g.admin.address()); err == nil {
				s.ID += "-" + admin
			}
		}
		if common.ID != "" {
			s.ID = common.ID
			if registered(cfg) > 1 { // one id for several services would make them replace each other
				s.ID += "-" + l.name
			}
		}
		s.Meta = map[string]string{
			"version": version,
			"admin":   reachable(g.admin.address(), s.Address),
			"routes":  clip(routes(g.listeners)),
		}
		maps.Copy(s.Meta, common.Meta)
		all = append(all, s)
	}
	return all, nil
}

func registered(cfg *config.Config) int {
	n := 0
	for _, l := range cfg.Listeners {
		if l.Register != nil {
			n++
		}
	}
	return n
}

// instance tells this process apart from others: by the allocation under Nomad, else by the machine.
func instance() (string, error) {
	if id := os.Getenv("NOMAD_ALLOC_ID"); id != "" {
		return id, nil
	}
	return os.Hostname()
}

// reachable is an address that can be connected: a wildcard host is replaced by otherwise, if that is given.
func reachable(address, otherwise string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); (host == "" || err == nil && ip.IsUnspecified()) && otherwise != "" {
		host = otherwise
	}
	return net.JoinHostPort(host, port)
}

func routes(listeners []*listener) string {
	var all []string
	for _, l := range listeners {
		all = append(all, l.name+"="+l.label)
	}
	return strings.Join(all, ",")
}

func clip(s string) string {
	if len(s) > metaLimit {
		return s[:metaLimit-3] + "..."
	}
	return s
}

// registry keeps this agent's services in the catalog once it can serve. Its methods are called by one goroutine at a
// time.
type registry struct {
	logger  hclog.Logger
	metrics prometheus.Registerer
	ready   func() bool

	consul    settings.Consul
	services  []register.Service
	registrar *register.Registrar
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// use makes the services of g the ones that are registered. Services that stay are not taken out in between.
func (r *registry) use(g *generation) {
	if reflect.DeepEqual(g.services, r.services) && reflect.DeepEqual(g.config.Consul, r.consul) {
		return
	}
	r.stop()
	if len(g.services) == 0 || !reflect.DeepEqual(g.config.Consul, r.consul) {
		r.deregister()
		r.registrar = nil
	}
	r.services, r.consul = g.services, g.config.Consul
	if len(r.services) == 0 {
		return
	}
	if r.registrar == nil {
		client, err := consulclient.Shared(r.consul, r.logger, r.metrics)
		if err != nil {
			r.logger.Error("cannot register", "error", err)
			return
		}
		r.registrar = register.New(client, r.logger)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	registrar, services := r.registrar, r.services
	r.running.Go(func() {
		if !waitUntil(ctx, r.ready) {
			return
		}
		if err := registrar.Run(ctx, services); err != nil {
			r.logger.Error("cannot register", "error", err)
		}
	})
}

// stop ends the looking after the services, which stay registered.
func (r *registry) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.running.Wait()
}

// forget leaves services to another process that has the same ones, after stop.
func (r *registry) forget(ids []string) {
	if r.registrar != nil {
		r.registrar.Forget(ids)
	}
}

// deregister takes the services out of the catalog, after stop.
func (r *registry) deregister() {
	if r.registrar == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), deregisterTimeout)
	defer cancel()
	if err := r.registrar.Deregister(ctx); err != nil {
		r.logger.Warn("cannot deregister; Consul will find the health check failing", "error", err)
	}
}

// close takes all services out of the catalog.
func (r *registry) close() {
	r.stop()
	r.deregister()
}

// waitUntil asks until ok or ctx ends.
func waitUntil(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
