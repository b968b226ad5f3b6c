package balance

import (
	"context"
	"errors"
	"slices"
)

// mostWaiting is how many connections queue for one cluster. Further ones are refused.
const mostWaiting = 10_000

// waiter is a connection that queues for a cluster. Its fields are guarded by the balancer's lock.
type waiter struct {
	called  chan struct{} // closed when it is not in the queue any more
	granted bool          // a place is kept for it
}

// full reports whether a cluster has no place for a connection that has not queued.
func (c *cluster) full() bool {
	limit := c.policy.MaxConnections
	return limit > 0 && c.open+c.promised >= limit
}

// admit calls those who have waited longest into the places that are free.
func (b *Balancer) admit(c *cluster) {
	for len(c.waiting) > 0 && !c.full() {
		w := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		w.granted = true
		c.promised++
		close(w.called)
	}
}

// dismiss lets all who wait for a cluster that has left look elsewhere.
func (b *Balancer) dismiss(c *cluster) {
	for _, w := range c.waiting {
		close(w.called)
	}
	c.waiting = nil
}

// Wait is Pick, and waits for a place where connections queue for one: first come, first served, until ctx ends. Then
// the error is ErrFull, as it is when too many wait already. It never returns ErrWait.
func (b *Balancer) Wait(ctx context.Context, r Request) (*Lease, error) {
	for {
		b.mu.Lock()
		c, lease, err := b.pick(r)
		if !errors.Is(err, ErrWait) {
			b.mu.Unlock()
			return lease, err
		}
		if len(c.waiting) >= mostWaiting || ctx.Err() != nil {
			b.mu.Unlock()
			return nil, ErrFull
		}
		w := &waiter{called: make(chan struct{})}
		c.waiting = append(c.waiting, w)
		b.mu.Unlock()

		select {
		case <-w.called:
		case <-ctx.Done():
		}
		if lease := b.called(c, w, &r, ctx.Err() != nil); lease != nil {
			return lease, nil
		}
	}
}

// called takes the place that was kept for w, or gives it back. nil: w has none.
func (b *Balancer) called(c *cluster, w *waiter, r *Request, late bool) *Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(c.waiting, w); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	if !w.granted {
		return nil
	}
	c.promised--
	now := b.now()
	if !late && c.here && len(c.endpoints) > 0 {
		for _, strict := range []bool{true, false} {
			if l := b.pickEndpoint(c, r, strict, now); l != nil {
				return b.lease(l, now)
			}
		}
	}
	b.admit(c)
	return nil
}
