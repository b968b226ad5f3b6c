package agent

import (
	"time"

	"argosy/agent/outcome"
)

// leave goes through the stages of the end.
func (a *Agent) leave() {
	a.Drain()
	a.draining.Store(true)
	a.metrics.draining.Set(1)
	a.changing.Lock() // a reload that has begun before comes first; none begins from now on
	g, handed := a.current.Load(), a.handed
	a.changing.Unlock()
	if a.offering != nil {
		a.offering.Close()
	}
	d := g.config.Drain
	_, open := a.census.empty()
	propagation := d.Propagation
	if handed { // those who look us up still come, to another process
		propagation = 0
	}
	deadline := time.Now().Add(propagation + d.Timeout)
	a.deadline.Store(&deadline)
	a.logger.Info("draining", "connections", open, "propagation", propagation, "timeout", d.Timeout)

	a.registry.stop()
	a.registry.withdraw(a.hard, a.checkOutput("draining"))
	a.pause(propagation)
	for _, l := range g.listeners {
		l.port.stop()
	}
	close(a.closed)
	none, open := a.census.empty()
	if open > 0 {
		a.logger.Info("no new connections, waiting for the open ones", "connections", open)
	}
	timeout := time.NewTimer(d.Timeout)
	defer timeout.Stop()
	select {
	case <-none:
	case <-timeout.C:
	case <-a.hard.Done():
	}
	if all := a.census.all(); len(all) > 0 {
		a.logger.Warn("closing the connections that are left", "connections", len(all))
		for _, c := range all {
			c.stop(outcome.Drained)
		}
	}
	none, _ = a.census.empty()
	<-none
	close(a.drained)
	a.end(g)
	a.logger.Info("drained")
}

// end stops all that is left when there are no connections, and waits for it.
func (a *Agent) end(g *generation) {
	a.relay.Wait()
	a.closeRelay()
	a.registry.deregister(a.hard)
	if !a.access.Close(accessLogPatience) {
		a.logger.Warn("the access log could not be written to the end")
	}
	a.names.close()
	a.closeGuards(true)
	g.naming.stop()
	for _, i := range g.identities {
		i.stop()
	}
	g.mesh.stop()
	g.admin.stop()
	a.cut()
}

// pause waits, unless everything is to be dropped.
func (a *Agent) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.hard.Done():
	}
}

// Drain makes Run leave in order. It returns at once.
func (a *Agent) Drain() {
	a.drainOnce.Do(func() {
		a.draining.Store(true)
		close(a.drain)
	})
}

// Cut drops all connections now and makes Run return soon.
func (a *Agent) Cut() { a.cut() }
