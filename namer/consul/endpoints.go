package consul

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/namer"
)

// instance is an endpoint as Consul ranks it: the lower, the nearer.
type instance struct {
	namer.Endpoint
	rank int
}

// instances are those among the entries that may be used, sorted by address, each address once: one that is registered
// twice, by Nomad and by itself, must not get twice its share. What makes no sense is left out.
func (n *Namer) instances(r request, entries []*api.ServiceEntry, logger hclog.Logger) []instance {
	var all []instance
	for rank, e := range entries {
		if e == nil || e.Service == nil || e.Node == nil {
			continue
		}
		status := statusOf(e.Checks)
		if !n.usable(r, status) {
			continue
		}
		if name := serviceOf(e.Service, r.connect); !strings.EqualFold(name, r.service) {
			logger.Warn("refused an instance that belongs to another service", "id", e.Service.ID, "service", name)
			continue
		}
		addr, ok := n.address(e)
		weight := n.weight(e.Service, status)
		if !ok || weight <= 0 {
			continue // nothing to connect to, or not wanted
		}
		all = append(all, instance{rank: rank, Endpoint: namer.Endpoint{
			Addr: addr, Weight: weight, Meta: n.meta(r, e), Connect: connectID(r, e),
		}})
	}
	return sorted(all)
}

// sorted puts instances into the order of their addresses, in place, and drops all but one with the same.
func sorted(all []instance) []instance {
	slices.SortFunc(all, func(a, b instance) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Meta["id"], b.Meta["id"]))
	})
	return slices.CompactFunc(all, func(a, b instance) bool { return a.Addr == b.Addr })
}

// statusOf is the worst of the checks. Consul has no status for maintenance but checks with special ids.
func statusOf(checks api.HealthChecks) string {
	return slices.DeleteFunc(slices.Clone(checks), func(c *api.HealthCheck) bool { return c == nil }).AggregatedStatus()
}

// usable reports whether instances of that status are used.
func (n *Namer) usable(r request, status string) bool {
	switch {
	case r.passing || n.options.UseHealth && len(n.options.Statuses) == 0:
		return status == Passing
	case n.options.UseHealth:
		return slices.Contains(n.options.Statuses, status)
	}
	return true
}

// serviceOf is the service that an entry is an instance of: for a sidecar, the one behind it.
func serviceOf(s *api.AgentService, connect bool) string {
	if connect && s.Kind == api.ServiceKindConnectProxy && s.Proxy != nil {
		return s.Proxy.DestinationServiceName
	}
	return s.Service
}

// address is where the instance is reached.
func (n *Namer) address(e *api.ServiceEntry) (addr string, ok bool) {
	host, port := e.Node.Address, e.Service.Port
	if n.options.PreferService && e.Service.Address != "" {
		host = e.Service.Address
	}
	if key := n.options.TaggedAddress; key != "" {
		if tagged, ok := e.Service.TaggedAddresses[key]; ok {
			host, port = tagged.Address, cmp.Or(tagged.Port, port)
		} else if host, ok = e.Node.TaggedAddresses[key]; !ok {
			return "", false
		}
	}
	if host == "" || strings.ContainsFunc(host, notInHost) || port <= 0 || port > 65535 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), true
}

func notInHost(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' || r == '[' || r == ']' }

// weight is the weight that the instance was registered with, for the state that it is in, times that of its heaviest
// tag. Zero is how a registration says that an instance with a warning is not to be used.
func (n *Namer) weight(s *api.AgentService, status string) float64 {
	weight := s.Weights.Passing
	if status == api.HealthWarning && s.Weights.Passing > 0 {
		if weight = s.Weights.Warning; weight <= 0 {
			return 0
		}
	}
	return float64(max(weight, 1)) * n.tagWeight(s.Tags)
}

func (n *Namer) tagWeight(tags []string) float64 {
	heaviest, found := 0.0, false
	for _, w := range n.options.Weights {
		if slices.ContainsFunc(tags, func(tag string) bool { return strings.EqualFold(tag, w.Tag) }) {
			heaviest, found = max(heaviest, w.Weight), true
		}
	}
	if !found {
		return 1
	}
	return heaviest
}

// meta is what the endpoint says about the instance.
func (n *Namer) meta(r request, e *api.ServiceEntry) map[string]string {
	m := map[string]string{"node": e.Node.Node, "dc": e.Node.Datacenter, "id": e.Service.ID}
	if n.options.Metadata {
		for k, v := range e.Node.Meta {
			m["node_meta."+k] = v
		}
		for k, v := range e.Service.Meta {
			m["meta."+k] = v
		}
	}
	if n.options.Authority != "" {
		host := []string{r.service, "service", e.Node.Datacenter, n.options.Authority}
		if n.options.IncludeTag {
			host = slices.Insert(host, 0, r.tagList()[0])
		}
		m["authority"] = strings.Join(host, ".")
	}
	return m
}

// connectID is whom a client must meet at the entry: the service that was asked for, in the datacenter of the node.
// The name is the one in lower case, as it is in the certificates of services that are named by the rules.
func connectID(r request, e *api.ServiceEntry) namer.ConnectID {
	native := e.Service.Connect != nil && e.Service.Connect.Native
	if !r.connect && !native {
		return namer.ConnectID{}
	}
	return namer.ConnectID{Datacenter: e.Node.Datacenter, Service: r.service}
}

// nearest are the first count by rank, in the order of their addresses; all if count is 0.
func nearest(all []instance, count int) []namer.Endpoint {
	if count > 0 && len(all) > count {
		all = slices.Clone(all)
		slices.SortStableFunc(all, func(a, b instance) int { return cmp.Compare(a.rank, b.rank) })
		all = all[:count]
		slices.SortFunc(all, func(a, b instance) int { return cmp.Compare(a.Addr, b.Addr) })
	}
	endpoints := make([]namer.Endpoint, len(all))
	for i, e := range all {
		endpoints[i] = e.Endpoint
	}
	return endpoints
}
