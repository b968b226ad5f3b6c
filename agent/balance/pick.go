package balance

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"argosy/agent/config"
)

// Request is what Pick goes by. The zero Request is one of a client that is not known, at its first attempt.
type Request struct {
	Tried      func(addr string) bool // endpoints that are not to be taken; nil: none
	Source     netip.Addr             // the client's address; zero: none
	ServerName string                 // that the client has sent; "": none
}

// Pick takes a lease on an endpoint that has not been tried, without waiting. Endpoints that are ejected are only taken
// when there is no other. A cluster that has its max_connections keeps its share: its connections are refused, or
// queue, rather than go to another cluster. The errors are those of this package.
func (b *Balancer) Pick(r Request) (*Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, lease, err := b.pick(r)
	return lease, err
}

// pick also returns the cluster that was full.
func (b *Balancer) pick(r Request) (*cluster, *Lease, error) {
	if !b.known {
		return nil, nil, ErrPending
	}
	now := b.now()
	for _, strict := range []bool{true, false} {
		b.round++
		for {
			c := b.drawCluster()
			if c == nil {
				break
			}
			l := b.pickEndpoint(c, &r, strict, now)
			if l == nil { // it leaves its share to the others
				c.skipped = b.round
				continue
			}
			if c.full() {
				if c.policy.AtLimit == config.Queue {
					return c, nil, ErrWait
				}
				return c, nil, ErrFull
			}
			return c, b.lease(l, now), nil
		}
	}
	return nil, nil, b.nothing()
}

// drawCluster draws one of the clusters that have not been given up, in proportion to their shares.
func (b *Balancer) drawCluster() *cluster {
	sum, left := 0.0, 0
	var last *cluster
	for _, c := range b.clusters {
		if c.skipped != b.round && len(c.endpoints) > 0 {
			sum += max(c.share, 0)
			left++
			last = c
		}
	}
	if left < 2 {
		return last
	}
	r := b.rand() * sum
	equal := sum <= 0 // none is to have any: better some than none
	if equal {
		r = b.rand() * float64(left)
	}
	for _, c := range b.clusters {
		if c.skipped == b.round || len(c.endpoints) == 0 {
			continue
		}
		if equal {
			r--
		} else {
			r -= max(c.share, 0)
		}
		if r < 0 {
			return c
		}
	}
	return last
}

// usable reports whether an endpoint may be taken. Not strict: there is no better one.
func (b *Balancer) usable(l *load, r *Request, strict bool, now time.Time) bool {
	if r.Tried != nil && r.Tried(l.place.Endpoint.Addr) {
		return false
	}
	return !strict || l.weight > 0 && b.healthy(l, now)
}

// pickEndpoint chooses within a cluster; nil: no endpoint is usable.
func (b *Balancer) pickEndpoint(c *cluster, r *Request, strict bool, now time.Time) *load {
	switch c.policy.Balance.Policy {
	case config.LeastLoaded:
		return b.leastLoaded(c, r, strict, now)
	case config.Hash:
		if h, ok := r.hash(c.policy.Balance.HashOn); ok {
			return b.rendezvous(c, h, r, strict, now)
		}
	}
	return b.twoChoices(c, r, strict, now)
}

// twoChoices draws two usable endpoints in proportion to their weights and takes the less loaded one (Mitzenmacher, The
// Power of Two Choices in Randomized Load Balancing, 2001). Of equally loaded ones it is the first, so that idle endpoints
// get connections by their weights: no light one is passed over for ever. The second one must be the less loaded as it is,
// and still be with one connection more: else a single connection to a heavy endpoint would send the next one to a light one.
func (b *Balancer) twoChoices(c *cluster, r *Request, strict bool, now time.Time) *load {
	first := b.draw(c, nil, r, strict, now)
	if first == nil {
		return nil
	}
	second := b.draw(c, first, r, strict, now)
	if second == nil {
		return first
	}
	firstWeight, secondWeight := c.weight(first, now), c.weight(second, now)
	if float64(second.open)*firstWeight < float64(first.open)*secondWeight && less(second, secondWeight, first, firstWeight) {
		return second
	}
	return first
}

// less reports whether x would be less loaded for its weight than y with one connection more. It is compared crosswise, which needs no division by a
// weight of 0.
func less(x *load, xWeight float64, y *load, yWeight float64) bool {
	return float64(x.open+1)*yWeight < float64(y.open+1)*xWeight
}

// draws is how often an endpoint is drawn by the sums before all are looked at.
const draws = 8

// draw takes one usable endpoint other than except, in proportion to the weights: to draw among all until a usable one
// comes is the same as to draw among the usable ones, and cheaper as long as most are usable.
func (b *Balancer) draw(c *cluster, except *load, r *Request, strict bool, now time.Time) *load {
	n := len(c.endpoints)
	if total := c.sums[n-1]; total > 0 && n > 1 {
		for range draws {
			at := b.rand() * total
			i, exact := slices.BinarySearch(c.sums, at)
			for exact && i < n-1 && c.sums[i] <= at { // the sum belongs to the endpoint that follows
				i++
			}
			l := c.endpoints[min(i, n-1)]
			if l == except || l.weight == 0 || !b.usable(l, r, strict, now) {
				continue
			}
			if w := c.weight(l, now); w < l.weight && b.rand()*l.weight >= w {
				continue
			}
			return l
		}
	}
	return b.drawAmongAll(c, except, r, strict, now)
}

// drawAmongAll is draw where few are usable.
func (b *Balancer) drawAmongAll(c *cluster, except *load, r *Request, strict bool, now time.Time) *load {
	sum, count := 0.0, 0
	for _, l := range c.endpoints {
		if l != except && b.usable(l, r, strict, now) {
			sum += c.weight(l, now)
			count++
		}
	}
	if count == 0 {
		return nil
	}
	equal := sum <= 0
	if equal {
		sum = float64(count)
	}
	at := b.rand() * sum
	var last *load
	for _, l := range c.endpoints {
		if l == except || !b.usable(l, r, strict, now) {
			continue
		}
		last = l
		if equal {
			at--
		} else {
			at -= c.weight(l, now)
		}
		if at < 0 {
			break
		}
	}
	return last
}

// leastLoaded takes the usable endpoint with the fewest connections for its weight, any one of several.
func (b *Balancer) leastLoaded(c *cluster, r *Request, strict bool, now time.Time) *load {
	var best *load
	weight, equals := 0.0, 0
	for _, l := range c.endpoints {
		w := c.weight(l, now)
		better := best == nil || less(l, w, best, weight)
		if !better && less(best, weight, l, w) || !b.usable(l, r, strict, now) {
			continue
		}
		if better {
			best, weight, equals = l, w, 0
		}
		equals++
	}
	if equals < 2 {
		return best
	}
	nth := int(b.rand() * float64(equals))
	for _, l := range c.endpoints {
		if less(best, weight, l, c.weight(l, now)) || !b.usable(l, r, strict, now) {
			continue
		}
		if nth == 0 {
			return l
		}
		nth--
	}
	return best
}

// rendezvous takes the usable endpoint whose score with the client's hash is the highest: -w/ln(h), which gives each
// endpoint clients in proportion to its weight, and moves no others when one goes (Schindelhauer and Schomaker, Weighted
// Distributed Hash Tables, 2005). Every agent that has the same endpoints takes the same one.
func (b *Balancer) rendezvous(c *cluster, client uint64, r *Request, strict bool, now time.Time) *load {
	var best *load
	var weight, hash float64
	for _, l := range c.endpoints {
		w := c.weight(l, now)
		if !strict && c.sums[len(c.sums)-1] == 0 {
			w = 1
		}
		h := unit(mix(l.hash ^ client))
		// Of equal weights the higher hash has the higher score, without a logarithm.
		if best != nil && (w == weight && h <= hash || w != weight && w/-math.Log(h) <= weight/-math.Log(hash)) {
			continue
		}
		if b.usable(l, r, strict, now) {
			best, weight, hash = l, w, h
		}
	}
	return best
}

// hash is that of what a policy hashes; not ok: the request does not have it.
func (r *Request) hash(on string) (h uint64, ok bool) {
	switch {
	case on == "sni" && r.ServerName != "":
		return hashString(r.ServerName), true
	case r.Source.IsValid():
		h := uint64(offset)
		for _, x := range r.Source.Unmap().As16() {
			h = (h ^ uint64(x)) * prime
		}
		return mix(h), true
	}
	return 0, false
}

// FNV-1a, whose weak upper bits mix makes good (the finalizer of SplitMix64).
const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

func hashString(s string) uint64 {
	h := uint64(offset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// unit makes a hash a number between 0 and 1, neither of them included.
func unit(h uint64) float64 { return (float64(h>>12) + 0.5) / (1 << 52) }

// slowest is the part of its weight that a new endpoint starts with.
const slowest = 0.1

// weight is that of an endpoint now: one that is new gets it by and by.
func (c *cluster) weight(l *load, now time.Time) float64 {
	if l.since.IsZero() || !now.Before(c.warm) {
		return l.weight
	}
	part := float64(now.Sub(l.since)) / float64(c.policy.Balance.SlowStart)
	return l.weight * min(max(part, slowest), 1)
}

// reckonWarmth finds out when the last new endpoint has its full weight.
func (c *cluster) reckonWarmth() {
	c.warm = time.Time{}
	for _, l := range c.endpoints {
		if end := l.since.Add(c.policy.Balance.SlowStart); !l.since.IsZero() && end.After(c.warm) {
			c.warm = end
		}
	}
}
