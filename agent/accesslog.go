package agent

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"argosy/agent/accesslog"
	"argosy/agent/config"
	"argosy/agent/listen"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/dtab"
	"argosy/namer"
)

// accessLogPatience is how long the end waits for the access log to be written.
const accessLogPatience = 5 * time.Second

// trail is what only the access log needs to know of a connection. Those have one that were accepted while it was on.
type trail struct {
	named     time.Duration  // since the connection was accepted; negative: not yet
	connected time.Duration  // likewise
	proxy     netip.AddrPort // who told the client's address
	alpn      string
}

func newTrail() *trail { return &trail{named: -1, connected: -1} }

// rewrites is how the table leads to a cluster now. It looks through the clusters of the name: there are few.
func (d *destination) rewrites(cluster dtab.Path) *namer.Rewrite {
	for _, c := range d.binding.Value().Clusters {
		if c.ID.Equal(cluster) {
			return c.By
		}
	}
	return nil
}

// markNamed notes for the access log that the name is known, and what the client has agreed on.
func (c *connection) markNamed(in *listen.Inbound) {
	t := c.trail
	if t == nil {
		return
	}
	t.named = c.age()
	if conn, ok := in.Conn.(*tls.Conn); ok {
		t.alpn = conn.ConnectionState().NegotiatedProtocol
	}
}

// markConnected notes for the access log that the connection has an endpoint, and tells it if it wants to know.
func (c *connection) markConnected() {
	t := c.trail
	if t == nil {
		return
	}
	now := time.Now()
	t.connected = c.age()
	t.named = max(t.named, 0)
	if s := c.agent.current.Load().config.AccessLog; s != nil && s.Open {
		c.agent.access.Add(c.record(accesslog.EventOpen, now))
	}
}

// record is what the access log tells of a connection that has an endpoint, or is over.
func (c *connection) record(event string, now time.Time) accesslog.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := accesslog.Record{
		Time: now, Event: event, ID: c.id, Listener: c.listener.name, Client: c.client,
		Rewrites: c.rewrites, Attempts: int(c.attempts), In: c.meter.In.Load(), Out: c.meter.Out.Load(),
		Named: -1, Connected: -1, Answered: -1, Duration: c.age(),
	}
	if c.lease != nil {
		r.Cluster, r.Endpoint = c.lease.Key, c.lease.Endpoint.Addr
	}
	if h := c.hello; h != nil {
		r.Name, r.ServerName, r.Peer = h.name, h.serverName, h.peer
	} else if c.phase != routing {
		r.Name = c.listener.config.Destination
	}
	if t := c.trail; t != nil {
		r.Named, r.Connected, r.Proxy, r.ALPN = t.named, t.connected, t.proxy, t.alpn
	}
	return r
}

// tellClosed writes the line of a connection that is over.
func (c *connection) tellClosed(res relay.Result) {
	log := c.agent.access
	if !log.On() {
		return
	}
	r := c.record(accesslog.EventClose, time.Now())
	r.Outcome = string(res.Outcome)
	if res.First != relay.Neither {
		r.ClosedFirst = res.First.String()
	}
	if res.Answered > 0 && r.Connected >= 0 {
		r.Answered = r.Connected + res.Answered
	}
	if res.Err != nil {
		r.Error = res.Err.Error()
	}
	log.Add(r)
}

// tellRefused writes the line of a connection that has been refused as soon as it was accepted.
func (a *Agent) tellRefused(l *listener, client netip.AddrPort, o outcome.Outcome) {
	if a.access.On() {
		a.access.Add(accesslog.Record{
			Time: time.Now(), Event: accesslog.EventClose, Listener: l.name, Client: client, Outcome: string(o),
			Named: -1, Connected: -1, Answered: -1,
		})
	}
}

// tellOpen writes lines of open connections, each so often as the configuration says, until ctx ends.
func (a *Agent) tellOpen(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		if s := a.current.Load().config.AccessLog; s != nil && s.Interval > 0 && a.access.On() {
			a.tellPeriods(ctx, s.Interval, last, now)
		}
		last = now
	}
}

// tellPeriods writes the lines of connections of which another period has ended after last, and not after now.
func (a *Agent) tellPeriods(ctx context.Context, period time.Duration, last, now time.Time) {
	for _, c := range a.census.all() {
		if now.Sub(c.since())/period == max(last.Sub(c.since()), 0)/period || ctx.Err() != nil {
			continue
		}
		c.mu.Lock()
		isOpen := c.phase == open
		c.mu.Unlock()
		if isOpen {
			a.access.AddSlowly(ctx, c.record(accesslog.EventPeriodic, now))
		}
	}
}

// openAccessLog opens what the lines go to. It is opened anew at each reload, so that files can be rotated.
func (a *Agent) openAccessLog(c *config.AccessLog) (*accesslog.Sink, error) {
	return accesslog.Open(c.File, a.deps.Stdout, a.deps.Stderr)
}
