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
	Ejected  EndpointState = "ejected"  // has failed lately: gets connections only when no other can
	Probing  EndpointState = "probing"  // has been ejected: gets one connection, and is active when that succeeds
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
	Policy    string         `json:"policy"`
	Open      int            `json:"open"`
	Limit     int            `json:"max_connections,omitempty"`
	Waiting   int            `json:"waiting,omitempty"` // for a place below the limit
	Endpoints []EndpointInfo `json:"endpoints"`
}

// EndpointInfo is an endpoint as seen at one moment.
type EndpointInfo struct {
	Address string            `json:"address"`
	State   EndpointState     `json:"state"`
	Reason  Reason            `json:"reason,omitempty"` // why it is ejected, or was: dial or reset
	Until   *time.Time        `json:"until,omitempty"`  // when an ejected one may be tried again
	Weight  float64           `json:"weight"`
	Now     *float64          `json:"weight_now,omitempty"` // where it is less, because the endpoint is new
	Open    int               `json:"open"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// State lists the clusters with their endpoints in the order of the binding, and after them those that only drain.
func (b *Balancer) State() []ClusterInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	infos := make([]ClusterInfo, 0, len(b.clusters))
	for _, c := range b.clusters {
		infos = append(infos, c.info(now))
	}
	leaving := make([]*cluster, 0)
	for _, c := range b.byKey {
		if !c.here {
			leaving = append(leaving, c)
		}
	}
	slices.SortFunc(leaving, func(x, y *cluster) int { return cmp.Compare(x.key, y.key) })
	for _, c := range leaving {
		info := c.info(now)
		info.Share, info.Status, info.Error, info.Stale = 0, "gone", "", false
		infos = append(infos, info)
	}
	return infos
}

func (c *cluster) info(now time.Time) ClusterInfo {
	info := ClusterInfo{
		Cluster: c.key, Share: c.share, Status: c.status.String(), Stale: c.stale, Policy: c.policy.Balance.Policy,
		Opened: c.opened, Failed: c.failed, Open: c.open, Limit: c.policy.MaxConnections, Waiting: len(c.waiting),
		Endpoints: make([]EndpointInfo, 0, len(c.loads)),
	}
	if c.err != nil {
		info.Error = c.err.Error()
	}
	for _, l := range c.endpoints {
		info.Endpoints = append(info.Endpoints, l.info(now))
	}
	n := len(info.Endpoints)
	for _, l := range c.loads {
		if l.gone {
			info.Endpoints = append(info.Endpoints, l.info(now))
		}
	}
	slices.SortFunc(info.Endpoints[n:], func(x, y EndpointInfo) int { return cmp.Compare(x.Address, y.Address) })
	return info
}

func (l *load) info(now time.Time) EndpointInfo {
	e := l.place.Endpoint
	info := EndpointInfo{Address: e.Addr, State: Active, Weight: e.Weight, Open: l.open, Meta: e.Meta}
	switch {
	case l.gone:
		info.State = Draining
	case l.reason != "" && now.Before(l.until):
		until := l.until
		info.State, info.Reason, info.Until = Ejected, l.reason, &until
	case l.reason != "":
		info.State, info.Reason = Probing, l.reason
	}
	if w := l.cluster.weight(l, now); w < l.weight {
		info.Now = &w
	}
	return info
}
