package agent

import (
	"errors"
	"net/netip"

	"argosy/agent/config"
	"argosy/agent/listen"
	"argosy/agent/outcome"
)

// limits are those of a listener's configuration.
func limits(l config.Listener) listen.Limits {
	return listen.Limits{
		Connections: l.MaxConnections, PerSource: l.Limits.PerSource, Rate: l.Limits.Rate, Burst: l.Limits.Burst,
		QueueLength: l.Limits.QueueLength, QueueTimeout: l.Limits.QueueTimeout,
	}
}

// source is the address that the connection counts for.
func (c *connection) source() netip.Addr { return sourceOf(c.client, c.counted) }

// sourceOf is the address that a connection counts for: none while it is that of a trusted proxy.
func sourceOf(client netip.AddrPort, counted bool) netip.Addr {
	if !counted {
		return netip.Addr{}
	}
	return client.Addr()
}

// queue waits for a place where there was none at once.
func (c *connection) queue() error {
	if c.admitted {
		return nil
	}
	why, err := c.listener.state.limits.Await(c.setup.ctx, c.setup.conn, c.source())
	switch {
	case errors.Is(err, listen.ErrGone):
		return outcome.Wrap(outcome.Reset, err)
	case err != nil:
		return outcome.Wrap(outcome.Drained, err)
	case why != "":
		return c.atLimit(why)
	}
	c.admitted = true
	return nil
}

// known takes the client's address from a trusted proxy, and counts the connection for it.
func (c *connection) known(in *listen.Inbound) error {
	if c.counted {
		return nil
	}
	if in.Proxy == nil || !in.Proxy.Source.IsValid() {
		return nil // it speaks for itself, such as by a health check
	}
	l := c.listener
	ok, why := l.state.limits.Move(netip.Addr{}, in.Client.Addr())
	if !ok && l.config.Limits.AtLimit != config.Queue {
		return c.atLimit(why)
	}
	c.mu.Lock()
	c.client, c.counted = in.Client, true
	c.mu.Unlock()
	if ok {
		return nil
	}
	l.state.limits.Leave(netip.Addr{}) // its place is for others while it waits
	c.admitted = false
	return c.queue()
}

// atLimit counts a connection that is refused because of a limit.
func (c *connection) atLimit(why listen.Limit) error {
	c.listener.state.metrics.refused[why].Inc()
	return outcome.Errorf(outcome.Limit, "at the limit of the listener: %s", why)
}
