package balance

import (
	"cmp"
	"math"
	"slices"
	"time"

	"argosy/agent/config"
	"argosy/namer"
)

// Tend asks connections to stop whose time has come: those of endpoints that have left, where the client block says
// that they are cut, and those that an endpoint has too many of since others have come, where they are rebalanced. Both
// go at a rate, so it is to be called again soon as long as it reports that there is something left to do, and once a
// second otherwise. It calls the owners, without holding the balancer.
func (b *Balancer) Tend() (busy bool) {
	var stop []Owner
	var moving []*load
	b.mu.Lock()
	now := b.now()
	for _, c := range b.byKey {
		passed := max(now.Sub(c.tended), 0).Seconds()
		c.tended = now
		stop = b.cut(c, now, passed, stop)
		moving = append(moving, c.excessive(passed)...)
		busy = busy || c.cutCredit > 0 || c.uneven
	}
	b.mu.Unlock()
	for _, l := range moving {
		stop = append(stop, b.quietest(l)...)
	}
	for _, o := range stop {
		o.Stop()
	}
	return busy
}

// earn adds to a credit what has come together at a rate: no more than for a second at a time.
func earn(credit *float64, rate, seconds float64) {
	*credit = min(*credit+rate*seconds, max(rate, 1))
}

// cut takes connections of endpoints that have left. A cluster that is not well or has no endpoint left at all proves
// nothing against those it had, and one that has left the name altogether may be back when its catalog is.
func (b *Balancer) cut(c *cluster, now time.Time, passed float64, stop []Owner) []Owner {
	r := c.policy.Removed
	var due []*load
	if r.Action == config.ActionCut && c.here && c.status == namer.OK && !c.stale && len(c.endpoints) > 0 {
		for _, l := range c.loads {
			if l.gone && len(l.owned) > l.leaving && now.Sub(l.left) >= r.After {
				due = append(due, l)
			}
		}
	}
	if len(due) == 0 {
		c.cutCredit = 0
		return stop
	}
	if c.cutCredit == 0 { // the first at once, and nothing for the time before
		c.cutCredit = 1
	} else {
		earn(&c.cutCredit, r.Rate, passed)
	}
	for _, l := range due {
		for _, lease := range l.owned {
			if c.cutCredit < 1 {
				break
			}
			if !lease.leaving {
				stop = append(stop, lease.leave())
				c.cutCredit--
			}
		}
	}
	c.cutCredit = max(c.cutCredit, 1e-9) // more is due
	return stop
}

// leave marks a lease whose owner is going to be asked to stop.
func (l *Lease) leave() Owner {
	l.leaving = true
	l.load.leaving++
	return l.owner
}

// fair is how many connections of its cluster an endpoint should have, rounded up. Endpoints that are not active count
// for nothing, with what they have.
func (c *cluster) fair() func(*load) int {
	total, weights := 0, 0.0
	for _, l := range c.endpoints {
		if l.reason == "" && l.weight > 0 {
			total += l.open
			weights += l.weight
		}
	}
	return func(l *load) int { return int(math.Ceil(float64(total)*l.weight/weights - 1e-9)) }
}

// reckonExcess finds out how many connections each endpoint has above its share, when others have come. No more than
// these are ever moved: those that have been ended and have not come back would make the shares of all look smaller.
func (c *cluster) reckonExcess() {
	c.uneven = false
	share := c.fair()
	for _, l := range c.endpoints {
		l.excess = 0
		if c.policy.Rebalance != nil && l.reason == "" && l.weight > 0 {
			l.excess = max(l.open-l.leaving-share(l), 0)
			c.uneven = c.uneven || l.excess > 0
		}
	}
}

// excessive returns the endpoints from which connections may be moved now, those with the most excess first, and forgets
// what excess has gone by itself.
func (c *cluster) excessive(passed float64) []*load {
	if !c.uneven || c.policy.Rebalance == nil || !c.here {
		c.uneven, c.moveCredit = false, 0
		return nil
	}
	if c.moveCredit == 0 { // as in cut
		c.moveCredit = 1
	} else {
		earn(&c.moveCredit, c.policy.Rebalance.Rate, passed)
	}
	share := c.fair()
	var above []*load
	for _, l := range c.endpoints {
		if l.excess > 0 {
			if l.excess = min(l.excess, max(l.open-l.leaving-share(l), 0)); l.excess > 0 {
				above = append(above, l)
			}
		}
	}
	c.uneven = len(above) > 0
	if c.moveCredit < 1 {
		return nil
	}
	slices.SortFunc(above, func(x, y *load) int { return cmp.Compare(y.excess, x.excess) })
	return above
}

// quietest takes the excess of an endpoint, as far as the credit of its cluster goes: the quietest connections first,
// and none over which something has moved lately. The owners are asked without holding the balancer.
func (b *Balancer) quietest(l *load) []Owner {
	type candidate struct {
		lease *Lease
		owner Owner
		quiet time.Duration
	}
	b.mu.Lock()
	var all []candidate
	rule := l.cluster.policy.Rebalance
	if rule != nil && l.cluster.moveCredit >= 1 {
		for _, lease := range l.owned {
			if !lease.leaving {
				all = append(all, candidate{lease: lease, owner: lease.owner})
			}
		}
	}
	b.mu.Unlock()
	quiet := all[:0]
	for _, x := range all {
		if x.quiet = x.owner.Quiet(); x.quiet >= rule.Quiet {
			quiet = append(quiet, x)
		}
	}
	slices.SortFunc(quiet, func(x, y candidate) int { return cmp.Compare(y.quiet, x.quiet) })

	b.mu.Lock()
	defer b.mu.Unlock()
	var stop []Owner
	for _, x := range quiet {
		if l.excess == 0 || l.cluster.moveCredit < 1 || l.gone {
			break
		}
		if !x.lease.ended && !x.lease.leaving {
			stop = append(stop, x.lease.leave())
			l.excess--
			l.cluster.moveCredit = max(l.cluster.moveCredit-1, 1e-9)
		}
	}
	return stop
}
