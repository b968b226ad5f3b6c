package agent

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"argosy/agent/config"
	"argosy/agent/outcome"
)

const (
	// denyPause is how long the guard waits at least before it cuts more connections than the rate has allowed.
	denyPause = 10 * time.Millisecond
	// deniedLines is how many lines one change writes to the log. A line is about all connections of one client by one
	// listener, and clients may be many.
	deniedLines = 20
)

// docket is what a guard has to do about clients that are denied. Only the guard's own goroutine has it.
type docket struct {
	known   map[*guest]*verdict // of the denied clients that have been dealt with
	pending []*eviction
	paces   map[string]*rate.Limiter // by listener
}

func newDocket() *docket {
	return &docket{known: map[*guest]*verdict{}, paces: map[string]*rate.Limiter{}}
}

// eviction is about the connections that one client has by one listener, or several clients of the same name.
type eviction struct {
	evictionKey
	began time.Time // when they were denied
	left  []evicted
	cut   int
}

type evictionKey struct{ listener, peer, why string }

type evicted struct {
	*connection
	since time.Time
}

// follow judges all clients again whenever the judge may say something else, and ends the connections of those that are
// denied, until ctx ends.
func (g *guard) follow(ctx context.Context) {
	d := newDocket()
	for ctx.Err() == nil {
		_, superseded := g.judge.Load().judge.Changed().Load()
		g.review(d)
		for again := true; again; {
			wait := g.evict(d, time.Now())
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				continue
			case <-superseded:
			case <-g.poke:
				g.restart(d)
			case <-ctx.Done():
			}
			timer.Stop()
			again = false
		}
	}
}

// review judges all clients, and puts the connections of those that are denied now on the docket.
func (g *guard) review(d *docket) {
	fresh := map[*guest]*verdict{}
	for _, x := range g.all() {
		v := x.current()
		old := d.known[x]
		switch {
		case v.denied == nil:
			delete(d.known, x)
		case old == nil || !old.since.Equal(v.since):
			fresh[x], d.known[x] = v, v
		}
	}
	for x := range d.known { // of clients that have left
		if x.idle() {
			delete(d.known, x)
		}
	}
	g.pardon(d)
	if len(fresh) > 0 {
		added := g.collect(fresh)
		g.tellDenied(added)
		g.schedule(d, added)
	}
}

// restart looks at all denied clients anew, by a configuration that may say something else about them.
func (g *guard) restart(d *docket) {
	d.pending = nil
	clear(d.paces)
	if len(d.known) > 0 {
		g.schedule(d, g.collect(d.known))
	}
}

// idle reports whether the client has no connections any more.
func (x *guest) idle() bool {
	x.guard.mu.Lock()
	defer x.guard.mu.Unlock()
	return x.connections == 0
}

// collect finds the connections of denied clients, those of one listener and name together.
func (g *guard) collect(denied map[*guest]*verdict) []*eviction {
	var all []*eviction
	byKey := map[evictionKey]*eviction{}
	for _, c := range g.agent.census.all() {
		x := c.guest()
		v := denied[x]
		if x == nil || v == nil {
			continue
		}
		key := evictionKey{c.listener.name, x.Name(), v.denied.Error()}
		e := byKey[key]
		if e == nil {
			e = &eviction{evictionKey: key, began: v.since}
			byKey[key] = e
			all = append(all, e)
		}
		e.left = append(e.left, evicted{c, v.since})
	}
	return all
}

// schedule puts what is to be cut on the docket.
func (g *guard) schedule(d *docket, all []*eviction) {
	for _, e := range all {
		if g.denyOf(e).Action != config.DenyKeep {
			d.pending = append(d.pending, e)
		}
	}
}

// denyOf is what the configuration of now says about the connections of a listener, or the one by which they came where
// the listener is no more.
func (g *guard) denyOf(e *eviction) config.Deny {
	for _, l := range g.agent.current.Load().listeners {
		if l.name == e.listener && l.config.TLS.AsksClients() {
			return l.config.Deny
		}
	}
	return e.left[0].listener.config.Deny
}

// stands reports whether the connection is open and its client is still denied, by the same verdict.
func (c evicted) stands() (open, denied bool) {
	x := c.guest()
	if x == nil {
		return false, false
	}
	v := x.current()
	return true, v.denied != nil && v.since.Equal(c.since)
}

// pardon lets those off whose clients are allowed again.
func (g *guard) pardon(d *docket) {
	d.pending = slices.DeleteFunc(d.pending, func(e *eviction) bool {
		spared := 0
		e.left = slices.DeleteFunc(e.left, func(c evicted) bool {
			open, denied := c.stands()
			if open && !denied {
				spared++
			}
			return !denied
		})
		if spared > 0 {
			g.agent.logger.Info("open connections of a client that was denied stay: it is allowed again",
				"listener", e.listener, "peer", e.peer, "connections", spared, "closed", e.cut)
		}
		return len(e.left) == 0
	})
}

// evict cuts the connections that are due, as many as the rates of their listeners allow, and returns when there may be
// more to do.
func (g *guard) evict(d *docket, now time.Time) (wait time.Duration) {
	wait = time.Hour
	d.pending = slices.DeleteFunc(d.pending, func(e *eviction) bool {
		deny := g.denyOf(e)
		if deny.Action != config.DenyClose {
			if left := e.began.Add(deny.Grace).Sub(now); left > 0 {
				wait = min(wait, left)
				return false
			}
		}
		pace := d.pace(e.listener, deny.Rate)
		for len(e.left) > 0 {
			c := e.left[0]
			if _, denied := c.stands(); !denied {
				e.left = e.left[1:]
				continue
			}
			if !pace.AllowN(now, 1) {
				wait = min(wait, max(denyPause, time.Duration(float64(time.Second)/deny.Rate)))
				return false
			}
			c.stop(outcome.Denied)
			g.agent.metrics.deniedLive.WithLabelValues(e.listener, deny.Action).Inc()
			e.cut++
			e.left = e.left[1:]
		}
		g.agent.logger.Info("open connections of a denied client are closed",
			"listener", e.listener, "peer", e.peer, "connections", e.cut, "took", time.Since(e.began).Round(time.Millisecond))
		return true
	})
	return wait
}

// pace limits how many connections of a listener are cut per second: a tenth of that may be cut at once.
func (d *docket) pace(listener string, perSecond float64) *rate.Limiter {
	p := d.paces[listener]
	if p == nil {
		limit := rate.Limit(perSecond)
		if perSecond <= 0 {
			limit = rate.Inf
		}
		p = rate.NewLimiter(limit, max(1, int(perSecond/10)))
		d.paces[listener] = p
	}
	return p
}

// tellDenied writes what has been found to the log, and counts what is left alone.
func (g *guard) tellDenied(all []*eviction) {
	for i, e := range all {
		deny := g.denyOf(e)
		fields := []any{"listener", e.listener, "peer", e.peer, "connections", len(e.left), "on_deny", deny.Action, "reason", e.why}
		if deny.Action == config.DenyKeep {
			g.agent.metrics.deniedLive.WithLabelValues(e.listener, deny.Action).Add(float64(len(e.left)))
		}
		if deny.Action == config.DenyDrain {
			fields = append(fields, "grace", deny.Grace)
		}
		const message = "a client with open connections may not connect any more"
		switch {
		case i < deniedLines:
			g.agent.logger.Warn(message, fields...)
		default:
			g.agent.logger.Debug(message, fields...)
		}
	}
	if n := len(all) - deniedLines; n > 0 {
		g.agent.logger.Warn("further clients with open connections may not connect any more", "clients", n)
	}
}
