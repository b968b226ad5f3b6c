// Package balance chooses an endpoint for each new connection.
//
//	b := balance.New(balance.Options{})
//	b.Update(binding.Clusters)
//	lease, err := b.Pick(balance.Request{})           // a cluster by its share, then one of its endpoints by policy
//	conn, err := dial(lease.Endpoint)
//	if err != nil {
//		lease.Fail()
//		lease, err = b.Pick(balance.Request{Tried: tried}) // elsewhere
//	}
//	lease.Connected()
//	defer lease.End(balance.Ending{})
//
// The cluster is chosen first, by its share of the connections: to put all endpoints into one set would give a cluster
// of 1 endpoint beside one of 50 a fiftieth of its share. What happens within a cluster is for its client block to say,
// see pick.go; endpoints that fail are ejected, see eject.go; connections are moved away from endpoints that have left
// or have too many of them by Tend, see move.go.
package balance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer"
)

// What Pick can refuse.
var (
	// ErrPending means that the endpoints are not known yet: wait for the next update.
	ErrPending = errors.New("the endpoints are not known yet")
	// ErrNoRoute means that the name stands for nothing.
	ErrNoRoute = errors.New("the name stands for nothing (`argosy dtab explain -agent` shows why)")
	// ErrEmpty means that the name stands for clusters without endpoints.
	ErrEmpty = errors.New("no cluster of the name has an endpoint")
	// ErrExhausted means that every endpoint has been tried.
	ErrExhausted = errors.New("every endpoint has been tried")
	// ErrFull means that the cluster has as many connections as it may have.
	ErrFull = errors.New("the cluster has its max_connections")
	// ErrWait means the same where connections queue: Wait waits for a place.
	ErrWait = errors.New("the cluster has its max_connections, and connections queue for it")
)

// Options are all optional.
type Options struct {
	// Policy returns the client block of a cluster; the defaults of a client block unless set.
	Policy func(cluster dtab.Path) *config.Client
	// Rand returns a number in [0,1). It is called by one goroutine at a time.
	Rand func() float64
	// Now is the clock for ejections, slow start and Tend.
	Now func() time.Time
	// Ejected is told when an endpoint of a cluster, named by its Key, is ejected, with the reason, or is not ejected any
	// more, without one; and how many of the cluster are now. It must not block and not call the balancer.
	Ejected func(cluster string, ejected int, reason Reason)
}

// Balancer chooses among the clusters of one name. Its methods may be called from any goroutine.
type Balancer struct {
	rand    func() float64
	now     func() time.Time
	ejected func(string, int, Reason)

	mu       sync.Mutex
	policy   func(dtab.Path) *config.Client
	clusters []*cluster          // of the newest update
	known    bool                // there was an update
	byKey    map[string]*cluster // also those that have left and still have connections
	round    uint64              // of Pick: which clusters it has given up
}

// cluster is what is known of one cluster. It outlives updates, and its place in the name as long as it has connections.
type cluster struct {
	key      string
	id       dtab.Path
	residual dtab.Path
	share    float64
	status   namer.Status
	err      error
	stale    bool
	policy   *config.Client

	here      bool // in the newest update
	loads     map[string]*load
	endpoints []*load   // of the newest update
	sums      []float64 // of the weights of the endpoints up to each
	settled   bool      // it had endpoints: those that come now are new
	warm      time.Time // when the last new endpoint has its full weight

	opened, failed uint64 // attempts to connect, since the name has this cluster
	open           int    // leases
	promised       int    // places given to those who wait
	waiting        []*waiter
	ejected        int    // of the endpoints
	skipped        uint64 // the round in which Pick has given it up

	cutCredit, moveCredit float64   // connections that may be ended now
	tended                time.Time // when the credits were reckoned
	uneven                bool      // endpoints have come, and the excess of others is not yet gone
}

// load is what is known of one endpoint of one cluster. It outlives updates, and the endpoint as long as it has
// connections.
type load struct {
	place   *Place
	cluster *cluster
	weight  float64
	hash    uint64
	gone    bool      // not in the newest update
	listed  bool      // in the update before
	left    time.Time // when it went
	since   time.Time // when it came, if it was not there from the start
	open    int       // leases
	owned   []*Lease  // those that have an owner
	leaving int       // of these, how many have been asked to stop
	excess  int       // how many are still to be moved

	ejection
}

// New makes a balancer without endpoints: Pick returns ErrPending until the first Update.
func New(o Options) *Balancer {
	b := &Balancer{rand: o.Rand, now: o.Now, policy: o.Policy, ejected: o.Ejected, byKey: map[string]*cluster{}}
	if b.rand == nil {
		b.rand = rand.Float64
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.policy == nil {
		c := config.DefaultClient()
		b.policy = func(dtab.Path) *config.Client { return &c }
	}
	if b.ejected == nil {
		b.ejected = func(string, int, Reason) {}
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

// Use replaces the policy, also of the connections that are open.
func (b *Balancer) Use(policy func(cluster dtab.Path) *config.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = policy
	for _, c := range b.byKey {
		c.policy = policy(c.id)
		c.reckonWarmth()
		b.admit(c)
	}
}

// Update replaces the clusters. Endpoints that stay keep their counts; those that left get no new connections and are
// forgotten when their last connection ends.
func (b *Balancer) Update(clusters []namer.Cluster) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.known = true
	for _, c := range b.byKey {
		c.here, c.endpoints, c.sums = false, nil, nil
		for _, l := range c.loads {
			if l.listed = !l.gone; l.listed {
				l.gone, l.left = true, now
			}
		}
	}
	b.clusters = make([]*cluster, 0, len(clusters))
	for _, u := range clusters {
		key := Key(u.ID)
		c := b.byKey[key]
		if len(u.ID) == 0 || c == nil {
			c = &cluster{key: key, id: u.ID, policy: b.policy(u.ID), loads: map[string]*load{}, tended: now}
		}
		if c.here { // one cluster on two branches: its shares add up
			c.share += u.Share
			continue
		}
		if len(u.ID) > 0 {
			b.byKey[key] = c
		}
		c.here, c.residual, c.share = true, u.Residual, u.Share
		c.status, c.err, c.stale = u.Addr.Status, u.Addr.Err, u.Addr.Stale
		b.list(c, u.Addr.Endpoints, now)
		b.clusters = append(b.clusters, c)
	}
	for _, c := range b.byKey {
		for addr, l := range c.loads {
			if l.gone && l.open == 0 {
				delete(c.loads, addr)
			}
		}
		b.recountEjected(c)
		if !c.here {
			c.opened, c.failed, c.settled, c.uneven = 0, 0, false, false
			b.forget(c)
			b.dismiss(c)
		}
	}
}

// list gives a cluster its endpoints.
func (b *Balancer) list(c *cluster, endpoints []namer.Endpoint, now time.Time) {
	sum, came := 0.0, false
	c.endpoints, c.sums = make([]*load, 0, len(endpoints)), make([]float64, 0, len(endpoints))
	for _, e := range endpoints {
		l := c.loads[e.Addr]
		if l == nil {
			l = &load{cluster: c, hash: hashString(e.Addr)}
			c.loads[e.Addr] = l
			if c.settled {
				l.since = now
			}
		}
		came = came || !l.listed
		l.gone = false
		l.place = &Place{Endpoint: e, Cluster: c.id, Residual: c.residual, Key: c.key}
		l.weight = e.Weight
		if !(l.weight > 0) { // also NaN; a weight of 0 takes the endpoint out as long as there are others
			l.weight = 0
		}
		sum += l.weight
		c.endpoints, c.sums = append(c.endpoints, l), append(c.sums, sum)
	}
	c.reckonWarmth()
	if came && c.settled {
		c.reckonExcess()
	}
	c.settled = c.settled || len(endpoints) > 0
}

// forget drops a cluster that has left and has no connections.
func (b *Balancer) forget(c *cluster) {
	if !c.here && len(c.loads) == 0 {
		delete(b.byKey, c.key)
	}
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
			return fmt.Errorf("%w: %w", ErrNoRoute, c.err)
		}
	}
	return ErrNoRoute
}
