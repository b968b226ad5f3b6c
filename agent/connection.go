package agent

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"argosy/agent/balance"
	"argosy/agent/dial"
	"argosy/agent/listen"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/dtab"
)

const defaultConnectTimeout = 10 * time.Second

// connection is one accepted connection from accept to close.
type connection struct {
	id       uint64
	agent    *Agent
	listener *listener
	raw      *net.TCPConn
	opened   time.Time
	meter    relay.Meter

	// ctx ends when the connection is stopped before it is joined.
	ctx    context.Context
	cancel context.CancelCauseFunc

	destination   *destination   // set while connecting, then only read
	lease         *balance.Lease // likewise
	clusterClosed func()

	mu       sync.Mutex
	phase    string // routing, connecting, open
	name     dtab.Path
	server   string // TLS server name
	peer     string // who the client has proved to be
	cluster  string
	endpoint string
	attempts int
	stopped  outcome.Outcome
	link     relay.Link
}

// accept takes a connection over from a socket. It does not block.
func (a *Agent) accept(l *listener, raw *net.TCPConn) {
	m := l.state.metrics
	m.opened.Inc()
	if !l.state.gate.Enter() {
		m.closed[outcome.Limit].Inc()
		relay.Abort(raw)
		a.failures.warn(a.logger, l.name, outcome.Limit, "connection refused: too many are open", "max_connections", l.config.MaxConnections)
		return
	}
	m.active.Inc()
	c := &connection{agent: a, listener: l, raw: raw, opened: time.Now(), phase: "routing"}
	c.meter.Parent = m.bytes
	c.ctx, c.cancel = context.WithCancelCause(a.hard)
	a.census.add(c)
	go c.run()
}

// run finds the name, waits for an endpoint, connects it, and hands both connections to the relay.
func (c *connection) run() {
	l, m := c.listener, c.listener.state.metrics
	m.waiting.Inc()
	waiting := sync.OnceFunc(m.waiting.Dec)
	defer waiting()
	ctx, cancel := context.WithTimeout(c.ctx, cmp.Or(l.config.ConnectTimeout, defaultConnectTimeout))
	defer cancel()

	in, err := l.router.Accept(ctx, c.raw)
	if err != nil {
		c.raw.Close() // not by reset: the alert that says why is on its way
		c.refused(err)
		return
	}
	c.routed(in)
	label := in.Name.String()
	if in.FromWire {
		label = l.wireLabel
	}
	d, err := c.agent.names.acquire(in.Name, label)
	if err != nil {
		c.refuse(in.Conn, err)
		return
	}
	c.destination = d
	generation := c.agent.current.Load()
	server, lease, err := dial.Connect(ctx, d.picker(ctx),
		func(lease *balance.Lease) *dial.Policy { return generation.policy(lease.Cluster, d.name) }, c.attempted)
	if err != nil {
		c.refuse(in.Conn, err)
		return
	}
	c.lease = lease
	c.clusterClosed = c.agent.metrics.connected(d.label, d.clusterLabel(lease.Key))
	waiting()
	c.join(in, server)
}

// clusterLabel is what metrics call a cluster of d.
func (d *destination) clusterLabel(key string) string {
	if !d.named() {
		return wireCluster
	}
	return key
}

func (c *connection) routed(in *listen.Inbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.name, c.server = "connecting", in.Name, in.ServerName
	c.peer = peerName(in.Conn)
}

func (c *connection) attempted(a dial.Attempt) {
	d := c.destination
	m := c.agent.metrics.cluster(d.label, d.clusterLabel(a.Lease.Key))
	if a.Err == nil {
		m.connect.Observe(a.Took.Seconds())
	} else {
		m.failures[dial.Reason(a.Err)].Inc()
		c.agent.logger.Debug("endpoint not connected", "id", c.id, "listener", c.listener.name, "name", d.name.String(),
			"cluster", a.Lease.Key, "endpoint", a.Lease.Endpoint.Addr, "took", a.Took, "error", a.Err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	c.cluster, c.endpoint = a.Lease.Key, a.Lease.Endpoint.Addr
}

func (c *connection) join(in *listen.Inbound, server net.Conn) {
	if c.agent.logger.IsDebug() {
		c.agent.logger.Debug("connection open", c.fields()...)
	}
	pair := relay.Pair{
		Client: in.Conn, Server: server, Early: in.Early, Idle: c.listener.config.Timeouts.Idle, Meter: &c.meter,
	}
	link := c.agent.relay.Join(pair, func(r relay.Result) { c.finish(r.Outcome, r.First, r.Err) })
	c.mu.Lock()
	c.phase, c.link = "open", link
	stopped := c.stopped
	c.mu.Unlock()
	if stopped != "" {
		link.Cut(stopped)
	}
}

// stop ends the connection with an outcome, wherever it stands.
func (c *connection) stop(o outcome.Outcome) {
	c.mu.Lock()
	if c.stopped == "" {
		c.stopped = o
	}
	link := c.link
	c.mu.Unlock()
	if link != nil {
		link.Cut(o)
	} else {
		c.cancel(outcome.Wrap(o, errStopped))
	}
}

var errStopped = errors.New("ended by the agent")

// refuse ends a connection that has no endpoint. A client that has been connected should not mistake that for an empty
// answer, so it sees a reset.
func (c *connection) refuse(client net.Conn, err error) {
	relay.Abort(client)
	c.refused(err)
}

// refused closes the books of a connection that has not been joined.
func (c *connection) refused(err error) {
	o := outcome.Of(err, outcome.Dial)
	var stopped *outcome.Error
	if c.ctx.Err() != nil && errors.As(context.Cause(c.ctx), &stopped) {
		o, err = stopped.Outcome, stopped
	} else if c.destination != nil {
		c.destination.refused.Add(1)
	}
	c.finish(o, relay.Neither, err)
}

// finish closes the books. It is called once.
func (c *connection) finish(o outcome.Outcome, first relay.Side, err error) {
	c.cancel(nil)
	m := c.listener.state.metrics
	if c.lease != nil {
		c.lease.Done()
		c.clusterClosed()
	}
	if c.destination != nil {
		c.agent.names.release(c.destination)
	}
	c.listener.state.gate.Leave()
	m.active.Dec()
	m.closed[o].Inc()
	c.log(o, first, err)
	c.agent.census.remove(c)
}

// log writes the line of a connection that has ended: a warning for what an operator should hear of, else for debugging.
func (c *connection) log(o outcome.Outcome, first relay.Side, err error) {
	logger := c.agent.logger
	if !o.Failed() && !logger.IsDebug() {
		return
	}
	fields := append(c.fields(), "outcome", string(o), "duration", time.Since(c.opened).Round(time.Microsecond),
		"in", c.meter.In.Load(), "out", c.meter.Out.Load())
	if first != relay.Neither {
		fields = append(fields, "closed_first", first.String())
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	if o.Failed() {
		c.agent.failures.warn(logger, c.listener.name, o, "connection failed", fields...)
	} else {
		logger.Debug("connection closed", fields...)
	}
}

func (c *connection) fields() []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := []any{"id", c.id, "listener", c.listener.name, "client", c.raw.RemoteAddr().String()}
	for _, kv := range [][2]string{{"peer", c.peer}, {"server_name", c.server}, {"cluster", c.cluster}, {"endpoint", c.endpoint}} {
		if kv[1] != "" {
			f = append(f, kv[0], kv[1])
		}
	}
	if c.name != nil {
		f = append(f, "name", c.name.String())
	}
	return append(f, "attempts", c.attempts)
}
