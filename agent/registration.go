package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/agent/config"
	"argosy/agent/register"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

const (
	metaLimit         = 512 // Consul's limit of a value
	deregisterTimeout = 5 * time.Second
)

// entry is one service of this agent in Consul's catalog.
type entry struct {
	service register.Service
	consul  settings.Consul
}

// entries makes the catalog entries of a generation, one for each listener that is to be registered.
func entries(cfg *config.Config, g *generation, version string) ([]entry, error) {
	common := config.Register{CheckInterval: 5 * time.Second, CheckTimeout: 2 * time.Second, DeregisterAfter: 10 * time.Minute}
	if cfg.Register != nil {
		common = *cfg.Register
	}
	var all []entry
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
		bound := l.port.socket.Addr()
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
		all = append(all, entry{service: s, consul: cfg.Consul})
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
		to := l.wireLabel
		if to == "" {
			to = l.config.Destination.String()
		}
		all = append(all, l.name+"="+to)
	}
	return strings.Join(all, ",")
}

func clip(s string) string {
	if len(s) > metaLimit {
		return s[:metaLimit-3] + "..."
	}
	return s
}

// registry keeps this agent's entries in the catalog once it can serve. Its methods are called by one goroutine at a
// time.
type registry struct {
	logger hclog.Logger
	ready  func() bool
	live   map[string]*registration
}

// registration is one entry that is being kept in the catalog.
type registration struct {
	entry     entry
	registrar *register.Registrar
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// use makes the entries of g the ones that are registered. Entries that stay the same are left alone, changed ones are
// written again without being taken out.
func (r *registry) use(g *generation) {
	next := map[string]entry{}
	for _, e := range g.entries {
		next[e.service.ID] = e
	}
	for id, old := range r.live {
		e, stays := next[id]
		switch {
		case stays && reflect.DeepEqual(e, old.entry):
			delete(next, id)
			continue
		case stays:
			old.stop()
		default:
			old.stop()
			old.remove(r.logger)
		}
		delete(r.live, id)
	}
	for _, id := range slices.Sorted(maps.Keys(next)) {
		if n := r.start(next[id]); n != nil {
			r.live[id] = n
		}
	}
}

func (r *registry) start(e entry) *registration {
	logger := r.logger.With("id", e.service.ID, "address", net.JoinHostPort(e.service.Address, strconv.Itoa(e.service.Port)))
	client, err := consulclient.New(e.consul)
	if err != nil {
		logger.Error("cannot register", "error", err)
		return nil
	}
	n := &registration{entry: e, registrar: register.New(client, logger)}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.running.Go(func() {
		if !waitUntil(ctx, r.ready) {
			return
		}
		if err := n.registrar.Run(ctx, []register.Service{e.service}); err != nil && ctx.Err() == nil {
			logger.Error("not registered any more", "error", err)
		}
	})
	return n
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

func (n *registration) stop() {
	n.cancel()
	n.running.Wait()
}

// remove takes the entry out of the catalog.
func (n *registration) remove(logger hclog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), deregisterTimeout)
	defer cancel()
	if err := n.registrar.Deregister(ctx); err != nil {
		logger.Warn("cannot deregister, Consul will find the health check failing", "id", n.entry.service.ID, "error", err)
	}
}

// close takes all entries out and reports whether there were any.
func (r *registry) close() bool {
	any := len(r.live) > 0
	var all sync.WaitGroup
	for _, n := range r.live {
		all.Go(func() {
			n.stop()
			n.remove(r.logger)
		})
	}
	all.Wait()
	clear(r.live)
	return any
}
