package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strconv"
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
	withdrawTimeout   = 4 * time.Second
	deregisterTimeout = 5 * time.Second
	hurriedTimeout    = time.Second // to deregister in when everything is to be dropped
)

// services makes the catalog's services of a generation, one for each listener that is to be registered.
func services(cfg *config.Config, g *generation, version string) ([]register.Service, error) {
	common := config.Register{Registration: register.Self, Check: register.TTL}
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
			Listener: l.name, Name: e.Service, Port: e.Port, Native: e.Native, Tags: common.Tags, Address: common.Address,
			Registration: common.Registration, Check: common.Check, TTL: common.TTL,
			CheckURL:      g.checkURL(),
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
		if common.TCPCheck && !s.Native {
			s.CheckTCP = net.JoinHostPort(cmp.Or(s.Address, "127.0.0.1"), strconv.Itoa(s.Port))
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
	health  func() register.Health

	consul    settings.Consul
	services  []register.Service
	registrar *register.Registrar
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// serving is what the checks of the agent's services say. That the agent leaves is said by withdraw alone: after a
// hand-over another process has the same checks.
func (a *Agent) serving() register.Health {
	h := a.healthServing()
	output := h.Status
	if len(h.Reasons) > 0 {
		output += ": " + strings.Join(h.Reasons, "; ")
	}
	return register.Health{Passing: h.Status == "ok", Output: a.checkOutput(output)}
}

// checkOutput is what a check shows.
func (a *Agent) checkOutput(state string) string {
	return fmt.Sprintf("%s; %d connections; version %s", state, a.census.count(), a.deps.Version)
}

// use makes the services of g the ones that are registered. Services that stay are not taken out in between.
func (r *registry) use(g *generation) {
	if reflect.DeepEqual(g.services, r.services) && reflect.DeepEqual(g.config.Consul, r.consul) {
		return
	}
	r.stop()
	if len(g.services) == 0 || !reflect.DeepEqual(g.config.Consul, r.consul) {
		r.deregister(context.Background())
		r.registrar = nil
	}
	r.services, r.consul = g.services, g.config.Consul
	if len(r.services) == 0 {
		return
	}
	if r.registrar == nil {
		client, link, err := consulclient.SharedLinked(r.consul, r.logger, r.metrics)
		if err != nil {
			r.logger.Error("cannot register", "error", err)
			return
		}
		r.registrar = register.New(client, register.Options{
			Logger: r.logger, Registry: r.metrics, Health: r.health, Alloc: os.Getenv("NOMAD_ALLOC_ID"), Tokens: link.Tokens,
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	registrar, services := r.registrar, r.services
	r.running.Go(func() {
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

// withdraw makes the services critical, so that nobody is sent here any more, after stop. It is given up when hard ends.
func (r *registry) withdraw(hard context.Context, output string) {
	if r.registrar == nil {
		return
	}
	ctx, cancel := context.WithTimeout(hard, withdrawTimeout)
	defer cancel()
	if err := r.registrar.Withdraw(ctx, output); err != nil {
		r.logger.Warn("cannot tell consul that we are leaving", "error", err)
	}
}

// deregister takes the services out of the catalog, after stop. It hurries when hard ends.
func (r *registry) deregister(hard context.Context) {
	if r.registrar == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), deregisterTimeout)
	defer cancel()
	defer context.AfterFunc(hard, func() { time.AfterFunc(hurriedTimeout, cancel) })()
	if err := r.registrar.Deregister(ctx); err != nil {
		r.logger.Warn("cannot deregister; Consul will find us critical, and remove the services in the end", "error", err)
	}
}
