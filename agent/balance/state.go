package balance

import (
	"cmp"
	"slices"
	"time"
)

// EndpointState is where an endpoint stands.
type EndpointState string

// The states of an endpoint. A gone endpoint is not listed any more.
const (
	Active   EndpointState = "active"   // gets new connections
	Failing  EndpointState = "failing"  // could not be connected lately: gets connections only when no other can
	Draining EndpointState = "draining" // has left, and still has connections
)

// ClusterInfo is a cluster as seen at one moment.
type ClusterInfo struct {
	Cluster   string         `json:"cluster"`
	Share     float64        `json:"share"`
	Status    string         `json:"status"`
	Error     string         `json:"error,omitempty"`
	Stale     bool           `json:"stale,omitempty"`
	Opened    uint64         `json:"opened"` // connections, since the name has this cluster
	Failed    uint64         `json:"failed"` // attempts to connect one of its endpoints, likewise
	Endpoints []EndpointInfo `json:"endpoints"`
}

// EndpointInfo is an endpoint as seen at one moment.
type EndpointInfo struct {
	Address string            `json:"address"`
	State   EndpointState     `json:"state"`
	Weight  float64           `json:"weight"`
	Open    int               `json:"open"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// State lists the clusters with their endpoints in the order of the binding, and after them those that only drain.
func (b *Balancer) State() []ClusterInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	infos := make([]ClusterInfo, 0, len(b.clusters))
	index := map[string]int{}
	for _, c := range b.clusters {
		info := ClusterInfo{
			Cluster: c.key, Share: c.share, Status: c.status.String(), Stale: c.stale,
			Endpoints: make([]EndpointInfo, 0, len(c.endpoints)),
		}
		if n := b.counts[c.key]; n != nil {
			info.Opened, info.Failed = n.opened, n.failed
		}
		if c.err != nil {
			info.Error = c.err.Error()
		}
		for _, l := range c.endpoints {
			info.Endpoints = append(info.Endpoints, l.info(now))
		}
		index[c.key] = len(infos)
		infos = append(infos, info)
	}
	leaving := make([]*load, 0)
	for _, l := range b.loads {
		if l.gone {
			leaving = append(leaving, l)
		}
	}
	slices.SortFunc(leaving, func(x, y *load) int {
		return cmp.Or(cmp.Compare(x.key.cluster, y.key.cluster), cmp.Compare(x.key.addr, y.key.addr))
	})
	for _, l := range leaving {
		i, ok := index[l.key.cluster]
		if !ok {
			i = len(infos)
			index[l.key.cluster] = i
			infos = append(infos, ClusterInfo{Cluster: l.key.cluster, Status: "gone"})
		}
		infos[i].Endpoints = append(infos[i].Endpoints, l.info(now))
	}
	return infos
}

func (l *load) info(now time.Time) EndpointInfo {
	state := Active
	switch {
	case l.gone:
		state = Draining
	case now.Before(l.penalty):
		state = Failing
	}
	return EndpointInfo{
		Address: l.endpoint.Addr, State: state, Weight: l.endpoint.Weight, Open: l.open, Meta: l.endpoint.Meta,
	}
}
