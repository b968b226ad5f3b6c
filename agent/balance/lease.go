package balance

import (
	"argosy/dtab"
	"argosy/namer"
)

// Lease counts as one open connection of its endpoint from Pick until Done or Fail.
type Lease struct {
	Endpoint namer.Endpoint
	Cluster  dtab.Path // the bound id
	Residual dtab.Path
	Key      string // of the cluster, see Key

	balancer *Balancer
	load     *load
	ended    bool
}

// Connected notes that the endpoint answers: earlier failures are forgotten.
func (l *Lease) Connected() {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	l.load.failures = 0
	if c := l.balancer.counts[l.Key]; c != nil {
		c.opened++
	}
}

// Done ends the lease. Further calls do nothing.
func (l *Lease) Done() {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	l.end()
}

// Fail ends the lease because the endpoint could not be connected, which keeps connections away from it for a while.
func (l *Lease) Fail() {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	if !l.ended {
		d := min(penaltyMin<<min(l.load.failures, 10), penaltyMax)
		l.load.failures++
		if c := l.balancer.counts[l.Key]; c != nil {
			c.failed++
		}
		l.load.penalty = l.balancer.now().Add(d)
	}
	l.end()
}

func (l *Lease) end() {
	if l.ended {
		return
	}
	l.ended = true
	l.load.open--
	if l.load.gone && l.load.open == 0 {
		delete(l.balancer.loads, l.load.key)
	}
}

// Gone reports whether the endpoint has left its cluster, or the cluster the name, since the lease was taken.
func (l *Lease) Gone() bool {
	l.balancer.mu.Lock()
	defer l.balancer.mu.Unlock()
	return l.load.gone
}
