package balance

import "time"

// Reason is why an endpoint is ejected.
type Reason string

// The reasons.
const (
	DialFailures Reason = "dial"  // it could not be connected, so often in a row
	Resets       Reason = "reset" // it reset connections before its first byte, so often in a row
)

// Reasons returns every reason.
func Reasons() []Reason { return []Reason{DialFailures, Resets} }

// ejection is the health of an endpoint. An ejected endpoint gets no connection for a time, if another one can; then it
// gets one, the probe, and is well again when that succeeds. A probe that fails doubles the time.
type ejection struct {
	failures, resets int       // in a row
	ejections        int       // in a row
	reason           Reason    // "": not ejected
	until            time.Time // when it may be probed
	probe            *Lease
	probed           time.Time // when the probe was connected; zero: not yet
}

// healthy reports whether an endpoint may be taken while others can; an ejected one whose time is over may as a probe.
func (b *Balancer) healthy(l *load, now time.Time) bool {
	if l.reason == "" {
		return true
	}
	if l.probe == nil {
		return !now.Before(l.until)
	}
	// An endpoint that resets is well when it has kept a connection for as long as it was shunned at first. How that
	// connection ends may not be known for hours.
	if !l.probed.IsZero() && now.Sub(l.probed) >= l.cluster.policy.Ejection.Time {
		b.revive(l)
		return true
	}
	return false
}

// try notes that a lease of an ejected endpoint is its probe.
func (l *load) try(lease *Lease, now time.Time) {
	if l.reason != "" && l.probe == nil && !now.Before(l.until) {
		l.probe, l.probed = lease, time.Time{}
	}
}

// connected notes a success. Where the trouble is resets, to be connected is none yet.
func (b *Balancer) connected(lease *Lease) {
	l := lease.load
	l.failures = 0
	switch {
	case l.reason == DialFailures:
		b.revive(l)
	case l.probe == lease:
		l.probed = b.now()
	}
}

// failed notes that an endpoint could not be connected.
func (b *Balancer) failed(lease *Lease) {
	l := lease.load
	l.failures++
	if limit := l.cluster.policy.Ejection.Failures; limit > 0 && l.failures >= limit || l.probe == lease {
		b.eject(l, DialFailures)
	}
}

// judge notes what the end of a connection says about its endpoint. One that the client ended before the endpoint had
// said anything says nothing.
func (b *Balancer) judge(lease *Lease, e Ending) {
	l := lease.load
	switch {
	case e.Answered:
		l.resets = 0
		if l.reason == Resets && l.probe == lease {
			b.revive(l)
		}
	case e.Reset:
		l.resets++
		if limit := l.cluster.policy.Ejection.Resets; limit > 0 && (l.resets >= limit || l.reason == Resets && l.probe == lease) {
			b.eject(l, Resets)
		}
	}
}

// eject keeps connections away from an endpoint, unless too many of its cluster are ejected already.
func (b *Balancer) eject(l *load, reason Reason) {
	c, e := l.cluster, &l.cluster.policy.Ejection
	now := b.now()
	if l.reason != "" && now.Before(l.until) { // by connections that had begun before
		return
	}
	if l.reason == "" && !l.gone {
		n := len(c.endpoints)
		if most := int(e.MaxShare * float64(n)); most < n && (n == 1 || c.ejected >= max(most, 1)) {
			return
		}
		c.ejected++
	}
	l.reason, l.probe = reason, nil
	l.until = now.Add(min(e.Time<<min(l.ejections, 20), max(e.MaxTime, e.Time)))
	l.ejections++
	b.ejected(c.key, c.ejected, reason)
}

func (b *Balancer) revive(l *load) {
	l.ejection = ejection{}
	if c := l.cluster; !l.gone {
		c.ejected--
		b.ejected(c.key, c.ejected, "")
	}
}

// recountEjected reckons with endpoints that have come and gone.
func (b *Balancer) recountEjected(c *cluster) {
	n := 0
	for _, l := range c.endpoints {
		if l.reason != "" {
			n++
		}
	}
	if n != c.ejected {
		c.ejected = n
		b.ejected(c.key, n, "")
	}
}
