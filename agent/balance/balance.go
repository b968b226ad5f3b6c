// Package balance chooses an endpoint for each new connection.
//
//	b := balance.New(balance.Options{})
//	b.Update(binding.Clusters)
//	lease, err := b.Pick(nil)     // a cluster by its share, then the less loaded of two of its endpoints
//	conn, err := dial(lease.Endpoint)
//	if err != nil {
//		lease.Fail()
//		lease, err = b.Pick(tried) // elsewhere
//	}
//	defer lease.Done()
//
// The cluster is chosen first, by its share of the connections: to put all endpoints into one set would give a cluster
// of 1 endpoint beside one of 50 a fiftieth of its share. Within a cluster two endpoints are drawn in proportion to
// their weights, and the one with fewer open connections for its weight is taken (Mitzenmacher, The Power of Two Choices
// in Randomized Load Balancing, 2001).
package balance

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// What Pick can refuse.
var (
	// ErrPending means that the endpoints are not known yet: wait for the next update.
	ErrPending = errors.New("the endpoints are not known yet")
	// ErrNoRoute means that the name stands for nothing.
	ErrNoRoute = errors.New("the name stands for nothing")
	// ErrEmpty means that the name stands for clusters without endpoints.
	ErrEmpty = errors.New("no cluster of the name has an endpoint")
	// ErrExhausted means that every endpoint has been tried.
	ErrExhausted = errors.New("every endpoint has been tried")
)

// Options are all optional.
type Options struct {
	// Rand returns a number in [0,1). It is called by one goroutine at a time.
	Rand func() float64
	// Now is the clock for the penalty of failed endpoints.
	Now func() time.Time
}

const (
	// A failed endpoint gets no connection for penaltyMin if another one can, and twice as long at each further failure.
	penaltyMin = time.Second
	penaltyMax = 10 * time.Second
)

// Balancer chooses among the clusters of one name. Its methods may be called from any goroutine.
type Balancer struct {
	rand func() float64
	now  func() time.Time

	mu       sync.Mutex
	clusters []*cluster          // of the newest update
	known    bool                // there was an update
	loads    map[loadKey]*load   // also of endpoints that have left and still have connections
	byID     map[string]*cluster // the clusters above, by key
	counts   map[string]*counts  // by key, of the clusters above
}

type cluster struct {
	key       string
	id        dtab.Path
	residual  dtab.Path
	share     float64
	status    namer.Status
	err       error
	stale     bool
	endpoints []*load
}

// counts are what has become of the attempts to connect a cluster's endpoints.
type counts struct{ opened, failed uint64 }

type loadKey struct{ cluster, addr string }

// load is what is known of one endpoint of one cluster. It outlives updates, and the endpoint as long as it has
// connections.
type load struct {
	key      loadKey
	cluster  dtab.Path
	endpoint namer.Endpoint
	weight   float64
	gone     bool // not in the newest update
	open     int  // leases
	failures int  // in a row
	penalty  time.Time
}

// New makes a balancer without endpoints: Pick returns ErrPending until the first Update.
func New(o Options) *Balancer {
	b := &Balancer{rand: o.Rand, now: o.Now, loads: map[loadKey]*load{}, byID: map[string]*cluster{}}
	if b.rand == nil {
		b.rand = rand.Float64
	}
	if b.now == nil {
		b.now = time.Now
	}
	return b
}

// Key is the name of a cluster in keys and labels: its id, and "$" for a branch that has none.
func Key(id dtab.Path) string {
	if len(id) == 0 {
		return "$"
	}
	return id.String()
}

// Update replaces the clusters. Endpoints that stay keep their counts; those that left get no new connections and are
// forgotten when their last connection ends.
func (b *Balancer) Update(clusters []namer.Cluster) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = true
	for _, l := range b.loads {
		l.gone = true
	}
	b.clusters = make([]*cluster, 0, len(clusters))
	b.byID = make(map[string]*cluster, len(clusters))
	counted := b.counts
	b.counts = make(map[string]*counts, len(clusters))
	for _, c := range clusters {
		key := Key(c.ID)
		if same := b.byID[key]; same != nil && len(c.ID) > 0 { // one cluster on two branches: its shares add up
			same.share += c.Share
			continue
		}
		n := &cluster{
			key: key, id: c.ID, residual: c.Residual, share: c.Share,
			status: c.Addr.Status, err: c.Addr.Err, stale: c.Addr.Stale,
		}
		for _, e := range c.Addr.Endpoints {
			n.endpoints = append(n.endpoints, b.load(n, e))
		}
		b.clusters = append(b.clusters, n)
		b.byID[key] = n
		if b.counts[key] = counted[key]; b.counts[key] == nil {
			b.counts[key] = &counts{}
		}
	}
	for key, l := range b.loads {
		if l.gone && l.open == 0 {
			delete(b.loads, key)
		}
	}
}

func (b *Balancer) load(c *cluster, e namer.Endpoint) *load {
	key := loadKey{c.key, e.Addr}
	l := b.loads[key]
	if l == nil {
		l = &load{key: key, cluster: c.id}
		b.loads[key] = l
	}
	l.endpoint, l.gone = e, false
	l.weight = e.Weight
	if !(l.weight > 0) { // also NaN; a weight of 0 takes the endpoint out as long as there are others
		l.weight = 0
	}
	return l
}

// Pick takes a lease on an endpoint for which tried, where not nil, is false. Endpoints that have failed lately are
// only taken when there is no other. The errors are those above.
func (b *Balancer) Pick(tried func(addr string) bool) (*Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		return nil, ErrPending
	}
	now := b.now()
	for _, strict := range []bool{true, false} {
		usable := func(l *load) bool {
			if tried != nil && tried(l.endpoint.Addr) {
				return false
			}
			return !strict || l.weight > 0 && !now.Before(l.penalty)
		}
		if c := b.pickCluster(usable); c != nil {
			l := b.pickEndpoint(c, usable)
			l.open++
			return &Lease{
				Endpoint: l.endpoint, Cluster: c.id, Residual: c.residual, Key: c.key,
				balancer: b, load: l,
			}, nil
		}
	}
	return nil, b.nothing()
}

// pickCluster draws a cluster that has a usable endpoint, in proportion to the shares. Clusters without one leave their
// share to the others.
func (b *Balancer) pickCluster(usable func(*load) bool) *cluster {
	sum, alive := 0.0, 0
	var last *cluster
	living := make([]*cluster, 0, 8)
	for _, c := range b.clusters {
		for _, l := range c.endpoints {
			if usable(l) {
				living = append(living, c)
				sum += max(c.share, 0)
				alive++
				last = c
				break
			}
		}
	}
	if alive < 2 {
		return last
	}
	if sum <= 0 { // none is to have any: better some than none
		return living[int(b.rand()*float64(alive))]
	}
	r := b.rand() * sum
	for _, c := range living {
		if r -= max(c.share, 0); r < 0 {
			return c
		}
	}
	return last
}

// pickEndpoint draws two usable endpoints in proportion to their weights and takes the less loaded one. There is at
// least one.
func (b *Balancer) pickEndpoint(c *cluster, usable func(*load) bool) *load {
	first := b.draw(c, usable, nil)
	second := b.draw(c, usable, first)
	if second == nil {
		return first
	}
	// Compared crosswise, which needs no division by a weight of 0.
	if float64(second.open+1)*first.weight < float64(first.open+1)*second.weight {
		return second
	}
	return first
}

func (b *Balancer) draw(c *cluster, usable func(*load) bool, except *load) *load {
	sum, count := 0.0, 0
	for _, l := range c.endpoints {
		if l != except && usable(l) {
			sum += l.weight
			count++
		}
	}
	if count == 0 {
		return nil
	}
	weight := func(l *load) float64 { return l.weight }
	if sum <= 0 {
		weight, sum = func(*load) float64 { return 1 }, float64(count)
	}
	r := b.rand() * sum
	var last *load
	for _, l := range c.endpoints {
		if l == except || !usable(l) {
			continue
		}
		last = l
		if r -= weight(l); r < 0 {
			break
		}
	}
	return last
}

// nothing says why there is no endpoint.
func (b *Balancer) nothing() error {
	pending, endpoints, bound := false, false, false
	for _, c := range b.clusters {
		pending = pending || c.status == namer.Pending && len(c.id) > 0
		endpoints = endpoints || len(c.endpoints) > 0
		bound = bound || c.status == namer.OK || len(c.id) == 0
	}
	switch {
	case endpoints:
		return ErrExhausted
	case pending:
		return ErrPending
	case bound:
		return ErrEmpty
	}
	for _, c := range b.clusters {
		if c.err != nil {
			return errors.Join(ErrNoRoute, c.err)
		}
	}
	return ErrNoRoute
}
