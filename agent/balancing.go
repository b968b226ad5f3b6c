package agent

import (
	"time"

	"argosy/agent/balance"
	"argosy/agent/config"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/dtab"
)

// moveInterval is how often connections are moved while some have to be.
const moveInterval = 100 * time.Millisecond

// clientsOf finds the client block of a cluster that a name leads to.
type clientsOf func(cluster, name dtab.Path) *config.Client

// balanceBy makes the client blocks decide how connections are balanced, also those of names that are followed already.
func (n *names) balanceBy(clients clientsOf) {
	n.clients.Store(&clients)
	for _, d := range n.all() {
		d.balancer.Use(n.policyOf(d.name))
	}
}

// policyOf returns how the clusters of a name are balanced. It is nil before anything is configured.
func (n *names) policyOf(name dtab.Path) func(dtab.Path) *config.Client {
	clients := n.clients.Load()
	if clients == nil {
		return nil
	}
	return func(cluster dtab.Path) *config.Client { return (*clients)(cluster, name) }
}

// tend ends connections that are to go elsewhere, and reports whether more are soon to follow.
func (n *names) tend() (busy bool) {
	for _, d := range n.all() {
		busy = d.balancer.Tend() || busy
	}
	return busy
}

// wish is what an endpoint is picked by.
func (c *connection) wish(serverName string) balance.Request {
	r := balance.Request{Source: c.client.Addr(), ServerName: serverName}
	if s := c.setup; s != nil && s.loop != nil && len(s.loop.failed) > 0 {
		r.Tried = s.loop.tried
	}
	return r
}

// ending is what the end of the connection says about its endpoint.
func (c *connection) ending(r relay.Result) balance.Ending {
	return balance.Ending{
		Reset: r.Outcome == outcome.Reset && r.First == relay.Server, Answered: r.Answered > 0 || c.meter.Out.Load() > 0,
	}
}

// Stop implements balance.Owner.
func (c *connection) Stop() { c.stop(outcome.Drained) }

// Quiet implements balance.Owner.
func (c *connection) Quiet() time.Duration {
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	return link.Quiet()
}

// ejected notes that an endpoint is ejected, with the reason, or is not any more, without one, and how many of its
// cluster now are. Of names from outside only the first is: they share their series.
func (m *metrics) ejected(d *destination, cluster string, ejected int, reason balance.Reason) {
	label := d.clusterLabel(cluster)
	m.cluster(d.label, label) // keeps the number of series in bounds
	if d.named() {
		m.ejectedNow.WithLabelValues(d.label, label).Set(float64(ejected))
	}
	if reason != "" {
		m.ejections.WithLabelValues(d.label, label, string(reason)).Inc()
	}
}
