package balance

import (
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// Place is an endpoint of a cluster. It is not changed.
type Place struct {
	Endpoint namer.Endpoint
	Cluster  dtab.Path // the bound id
	Residual dtab.Path
	Key      string // of the cluster, see Key
}

// Lease counts as one open connection of its endpoint from Pick until End or Fail. Its methods may be called from any
// goroutine.
type Lease struct {
	*Place

	balancer *Balancer
	load     *load
	owner    Owner
	index    int32 // among load.owned
	ended    bool
	leaving  bool // the owner has been asked to stop
}

// Owner is a connection that holds a lease.
type Owner interface {
	// Stop ends the connection soon. It must not block.
	Stop()
	// Quiet is for how long nothing has moved over the connection.
	Quiet() time.Duration
}

// Ending tells how a connection ended.
type Ending struct {
	Reset    bool // the endpoint broke it off
	Answered bool // the endpoint had sent at least one byte
}

func (b *Balancer) lease(l *load, now time.Time) *Lease {
	l.open++
	l.cluster.open++
	lease := &Lease{Place: l.place, balancer: b, load: l}
	l.try(lease, now)
	return lease
}

// Connected notes that the endpoint can be connected: earlier failures to do so are forgotten.
func (l *Lease) Connected() {
	b := l.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	l.load.cluster.opened++
	b.connected(l)
}

// Own makes o the one to be asked when the connection is to end. It is called once, when the connection is open.
func (l *Lease) Own(o Owner) {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	if !l.ended {
		l.owner, l.index = o, int32(len(l.load.owned))
		l.load.owned = append(l.load.owned, l)
	}
}

// Done ends the lease of a connection that says nothing about its endpoint. Further calls do nothing.
func (l *Lease) Done() { l.End(Ending{}) }

// End ends the lease. Further calls do nothing.
func (l *Lease) End(e Ending) {
	b := l.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.ended {
		b.judge(l, e)
		b.end(l)
	}
}

// Fail ends the lease because the endpoint could not be connected.
func (l *Lease) Fail() {
	b := l.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.ended {
		l.load.cluster.failed++
		b.failed(l)
		b.end(l)
	}
}

func (b *Balancer) end(l *Lease) {
	l.ended = true
	load, c := l.load, l.load.cluster
	if load.probe == l {
		load.probe = nil
	}
	if l.owner != nil {
		last := len(load.owned) - 1
		load.owned[l.index] = load.owned[last]
		load.owned[l.index].index = l.index
		load.owned[last] = nil
		load.owned = load.owned[:last]
		l.owner = nil
	}
	if l.leaving {
		load.leaving--
	}
	load.open--
	c.open--
	if load.gone && load.open == 0 {
		delete(c.loads, load.place.Endpoint.Addr)
		b.forget(c)
	}
	b.admit(c)
}

// Gone reports whether the endpoint has left its cluster, or the cluster the name, since the lease was taken.
func (l *Lease) Gone() bool {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	return l.load.gone
}
