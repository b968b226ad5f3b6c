// Package discovery lists the agents in Consul's catalog, in the form that Prometheus reads over HTTP
// (https://prometheus.io/docs/prometheus/latest/http_sd/). It serves builds of Prometheus that cannot ask Consul
// themselves, as Debian's.
package discovery

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/blockq"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/internal/watch"
)

// adminMeta is the key under which an agent's registration tells its admin address.
const adminMeta = "admin"

// Group is a set of targets with labels in common.
type Group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// State is what is known of the agents.
type State struct {
	Known  bool // every service has been answered for once
	Groups []Group
}

// Equal reports whether two states are the same.
func (s State) Equal(t State) bool {
	return s.Known == t.Known && slices.EqualFunc(s.Groups, t.Groups, func(a, b Group) bool {
		return slices.Equal(a.Targets, b.Targets) && maps.Equal(a.Labels, b.Labels)
	})
}

// Consul follows services with blocking queries.
type Consul struct {
	client   *api.Client
	services []string
	logger   hclog.Logger

	cell *watch.Cell[State]
	mu   sync.Mutex
	by   map[string][]Group
}

// NewConsul makes a follower that knows nothing until Run has been called. It does not connect. reg may be nil.
func NewConsul(s settings.Consul, services []string, logger hclog.Logger, reg prometheus.Registerer) (*Consul, error) {
	client, err := consulclient.Shared(s, logger, reg)
	if err != nil {
		return nil, err
	}
	return &Consul{
		client: client, services: services, logger: logger.Named("discovery"),
		cell: watch.New(State{}, State.Equal), by: map[string][]Group{},
	}, nil
}

// State is the newest state.
func (c *Consul) State() watch.Reader[State] { return c.cell }

// Run follows until ctx ends. When Consul does not answer, the list stays what it was.
func (c *Consul) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, service := range c.services {
		wg.Go(func() { c.follow(ctx, service) })
	}
	wg.Wait()
}

func (c *Consul) follow(ctx context.Context, service string) {
	log := c.logger.With("service", service)
	trouble := ""
	query := func(q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
		return instances(c.client, service, q)
	}
	blockq.Run(ctx, blockq.Options{}, query, func(entries []*api.ServiceEntry, _ *api.QueryMeta, err error) {
		switch {
		case err != nil && err.Error() != trouble:
			trouble = err.Error()
			log.Warn("cannot follow the service, keeping the agents known", "error", err)
		case err != nil:
		default:
			if trouble != "" {
				trouble = ""
				log.Info("the service can be followed again")
			}
			c.publish(service, groups(service, entries))
		}
	})
}

// instances asks for the instances of a service.
func instances(client *api.Client, service string, q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	entries, meta, err := client.Health().Service(service, "", false, q)
	if err == nil && len(entries) == 0 && q.WaitIndex == 0 {
		err = consulclient.Invisible(q.Context(), client, service, meta)
	}
	return entries, meta, err
}

func (c *Consul) publish(service string, g []Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[service] = g
	var all []Group
	seen := map[string]bool{} // an agent is in the catalog once for every listener
	for _, name := range slices.Sorted(maps.Keys(c.by)) {
		for _, g := range c.by[name] {
			if !seen[g.Targets[0]] {
				seen[g.Targets[0]] = true
				all = append(all, g)
			}
		}
	}
	c.cell.Set(State{Known: len(c.by) == len(c.services), Groups: all})
}

// groups makes a group of each instance that has an admin address. The labels disappear after relabelling unless a
// rule keeps them.
func groups(service string, entries []*api.ServiceEntry) []Group {
	var out []Group
	for _, e := range entries {
		if e == nil || e.Service == nil {
			continue
		}
		address := adminAddress(e)
		if address == "" {
			continue
		}
		labels := map[string]string{
			"__meta_argosy_service":    service,
			"__meta_argosy_service_id": e.Service.ID,
			"__meta_argosy_version":    e.Service.Meta["version"],
		}
		if e.Node != nil {
			labels["__meta_argosy_node"] = e.Node.Node
			labels["__meta_argosy_dc"] = e.Node.Datacenter
		}
		out = append(out, Group{Targets: []string{address}, Labels: labels})
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Targets[0], b.Targets[0]), cmp.Compare(a.Labels["__meta_argosy_service_id"], b.Labels["__meta_argosy_service_id"]))
	})
	return out
}

// adminAddress is the instance's admin meta; one without a host, or for all addresses, is on the instance's own.
func adminAddress(e *api.ServiceEntry) string {
	host, port, err := net.SplitHostPort(strings.TrimSpace(e.Service.Meta[adminMeta]))
	if err != nil {
		return ""
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = e.Service.Address
		if host == "" && e.Node != nil {
			host = e.Node.Address
		}
	}
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}
