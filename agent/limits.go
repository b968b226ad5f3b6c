package agent

import (
	"cmp"
	"context"
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

// handshakeQueue is how many clients wait for each one that may be in its TLS handshake.
const handshakeQueue = 10

// handshakes limits the TLS handshakes of a listener that are under way. Who waits for his turn has at least half of the
// time for it left then.
func handshakes(l config.Listener) listen.Limits {
	within := cmp.Or(l.Timeouts.Handshake, l.ConnectTimeout, defaultConnectTimeout)
	return listen.Limits{Connections: l.Limits.Handshakes, QueueLength: handshakeQueue * l.Limits.Handshakes, QueueTimeout: within / 2}
}

// beginHandshake waits until the client, whose ClientHello has come, may go on with its TLS handshake. Those that are silent
// before have no turn, and keep nobody waiting.
func (c *connection) beginHandshake(ctx context.Context) error {
	l := c.listener
	turn, _ := l.state.handshakes.Admit(netip.Addr{})
	if !turn {
		why, err := l.state.handshakes.Wait(ctx, netip.Addr{})
		switch {
		case errors.Is(err, context.DeadlineExceeded): // the hello had taken most of the time
			return c.atLimit(listen.LimitHandshakes)
		case err != nil:
			return outcome.Wrap(outcome.Drained, err)
		case why != "":
			return c.atLimit(listen.LimitHandshakes)
		}
	}
	c.setup.shaking = true
	return nil
}

// endHandshake gives the next client its turn.
func (c *connection) endHandshake() {
	if c.setup.shaking {
		c.setup.shaking = false
		c.listener.state.handshakes.Leave(netip.Addr{})
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
