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

// endpoints are the instances among the entries that may be used, sorted by address, each address once: one that is
// registered twice, by Nomad and by itself, must not get twice its share.
func (n *Namer) endpoints(t target, entries []*api.ServiceEntry, logger hclog.Logger) []namer.Endpoint {
	var all []namer.Endpoint
	for _, e := range entries {
		if e.Service == nil || e.Node == nil {
			continue
		}
		status := e.Checks.AggregatedStatus()
		if n.options.UseHealth && status != api.HealthPassing {
			continue
		}
		if name := serviceOf(e.Service, n.options.Connect); !strings.EqualFold(name, t.service) {
			logger.Warn("refused an instance that belongs to another service", "id", e.Service.ID, "service", name)
			continue
		}
		host := e.Node.Address
		if n.options.PreferService && e.Service.Address != "" {
			host = e.Service.Address
		}
		if host == "" || e.Service.Port <= 0 {
			continue // nothing to connect to
		}
		all = append(all, namer.Endpoint{
			Addr:    net.JoinHostPort(host, strconv.Itoa(e.Service.Port)),
			Weight:  weight(e.Service.Weights, status),
			Meta:    map[string]string{"node": e.Node.Node, "dc": e.Node.Datacenter, "id": e.Service.ID},
			Connect: n.connectID(t, e),
		})
	}
	slices.SortFunc(all, func(a, b namer.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Meta["id"], b.Meta["id"]))
	})
	return slices.CompactFunc(all, func(a, b namer.Endpoint) bool { return a.Addr == b.Addr })
}

// serviceOf is the service that an entry is an instance of: for a sidecar, the one behind it.
func serviceOf(s *api.AgentService, connect bool) string {
	if connect && s.Kind == api.ServiceKindConnectProxy && s.Proxy != nil {
		return s.Proxy.DestinationServiceName
	}
	return s.Service
}

// connectID is whom a client must meet at the entry: the service that was asked for, in the datacenter of the node.
// The name is the one in lower case, as it is in the certificates of services that are named by the rules.
func (n *Namer) connectID(t target, e *api.ServiceEntry) namer.ConnectID {
	native := e.Service.Connect != nil && e.Service.Connect.Native
	if !n.options.Connect && !native {
		return namer.ConnectID{}
	}
	return namer.ConnectID{Datacenter: e.Node.Datacenter, Service: t.service}
}

// weight is the weight that the instance was registered with, for the state that it is in.
func weight(w api.AgentWeights, status string) float64 {
	n := w.Passing
	if status == api.HealthWarning {
		n = w.Warning
	}
	if n <= 0 {
		return 1
	}
	return float64(n)
}
