package agent

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"argosy/agent/balance"
	"argosy/agent/config"
	"argosy/agent/dial"
	"argosy/agent/listen"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/dtab"
	"argosy/namer"
)

const defaultConnectTimeout = 10 * time.Second

// connection is one accepted connection from accept to close. There may be very many that are idle, so it is kept small:
// what is only needed on the way is in setup, and what only TLS has in hello.
type connection struct {
	id       uint64
	agent    *Agent
	listener *listener
	client   netip.AddrPort // zero for Unix sockets
	opened   time.Duration  // since the agent began
	meter    relay.Meter

	destination *destination   // set while connecting, then only read
	traffic     *traffic       // likewise; nil: it has no endpoint
	trail       *trail         // for the access log; nil: none
	rewrites    *namer.Rewrite // the entries that led from the name to the cluster, when that was decided; nil: not known

	older, newer *connection // in the census

	mu       sync.Mutex
	phase    phase
	admitted bool // by the listener's limits
	counted  bool // as one of client's
	attempts uint16
	setup    *setup         // until the connection is joined
	hello    *hello         // what the client told of itself; nil: nothing, and the name is the listener's
	lease    *balance.Lease // of the endpoint that was tried last
	link     relay.Link
}

// phase is how far a connection has come.
type phase uint8

const (
	routing phase = iota
	connecting
	open
)

func (p phase) String() string { return [...]string{"routing", "connecting", "open"}[p] }

// setup is what a connection needs until it is joined.
type setup struct {
	stopped outcome.Outcome // "": nobody has asked for it
	turn    *list.Element   // of the handshakes under way; nil: it has none
	loop    *onLoop         // set on the event loop; the others then are not
	conn    net.Conn        // as accepted
	ctx     context.Context // ends when the connection is stopped
	cancel  context.CancelCauseFunc
}

// hello is what a client told of itself before its bytes are passed on.
type hello struct {
	name       dtab.Path // where it wants to go
	serverName string
	peer       string // who the client has proved to be
	guest      *guest // the same as one that is watched; nil: nobody is
}

// accept takes a connection over from a socket. It does not block.
func (a *Agent) accept(l *listener, conn net.Conn) {
	var from netip.AddrPort
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from = tcp.AddrPort()
	}
	c := a.admit(l, from)
	if c == nil {
		relay.Abort(conn)
		return
	}
	c.begin(conn)
	go c.run(nil)
}

// admit opens the books of a new connection, unless it is one too many: then it returns nil.
func (a *Agent) admit(l *listener, from netip.AddrPort) *connection {
	m := l.state.metrics
	m.opened.Inc()
	counted := !l.router.Proxy.Trusts(from.Addr())
	admitted, why := l.state.limits.Admit(sourceOf(from, counted))
	if !admitted && l.config.Limits.AtLimit != config.Queue {
		m.closed[outcome.Limit].Inc()
		m.refused[why].Inc()
		a.tellRefused(l, from, outcome.Limit)
		a.failures.warn(a.logger, l.name, outcome.Limit, "connection refused: at a limit", "limit", string(why), "client", from.Addr())
		return nil
	}
	m.active.Inc()
	m.waiting.Inc()
	c := &connection{agent: a, listener: l, client: from, opened: time.Since(a.began), setup: &setup{}, admitted: admitted, counted: counted}
	if a.access.On() {
		c.trail = newTrail()
	}
	a.census.add(c)
	return c
}

// begin gives the connection what it needs for its way on a goroutine.
func (c *connection) begin(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.setup
	s.loop, s.conn = nil, conn
	if s.ctx, s.cancel = context.WithCancelCause(c.agent.hard); s.stopped != "" {
		s.cancel(outcome.Wrap(s.stopped, errStopped))
	}
}

// age is how long the connection has been open.
func (c *connection) age() time.Duration { return time.Since(c.agent.began) - c.opened }

// since is when it was opened.
func (c *connection) since() time.Time { return c.agent.began.Add(c.opened) }

// run finds the name, waits for an endpoint, connects it, and hands both connections to the relay. An endpoint that has been
// picked already is tried first.
func (c *connection) run(picked *balance.Lease) {
	l := c.listener
	if err := c.queue(); err != nil {
		c.refuse(c.setup.conn, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.setup.ctx, cmp.Or(l.config.ConnectTimeout, defaultConnectTimeout))
	defer cancel()

	in, err := l.router.Accept(ctx, c.setup.conn, func(in *listen.Inbound) error {
		in.Hello = c.beginHandshake
		return c.known(in)
	})
	c.endHandshake()
	if err != nil {
		c.setup.conn.Close() // not by reset: the alert that says why is on its way
		c.refused(err)
		return
	}
	c.routed(in)
	if err := c.watchClient(in); err != nil {
		c.refuse(in.Conn, err)
		return
	}
	label := l.label
	if !in.FromWire {
		label = in.Name.String()
	}
	d := c.destination
	if d == nil {
		if d, err = c.agent.names.acquire(in.Name, label); err != nil {
			c.refuse(in.Conn, err)
			return
		}
		c.destination = d
		d.budget.Connection(time.Now())
	}
	generation := c.agent.current.Load()
	server, lease, err := dial.Connect(ctx, c.request(in, generation), d.picker(ctx, picked, c.wish(in.ServerName)),
		func(lease *balance.Lease) *dial.Policy { return generation.client(lease.Cluster, d.name).policy }, c.attempted)
	if err != nil {
		c.refuse(in.Conn, err)
		return
	}
	if err := c.mayStay(); err != nil { // it has changed since the handshake
		lease.Done()
		relay.Abort(server)
		c.refuse(in.Conn, err)
		return
	}
	defer c.setup.cancel(nil)
	c.connected(lease)
	pair := c.pair(generation)
	pair.Client, pair.Server, pair.Early = in.Conn, server, in.Early
	c.joined(c.agent.relay.Join(pair, c.ended))
}

// connected notes the endpoint that the connection goes to.
func (c *connection) connected(lease *balance.Lease) {
	d := c.destination
	c.listener.state.metrics.waiting.Dec()
	c.traffic = c.agent.metrics.connected(c.listener.state.metrics, d.label, d.clusterLabel(lease.Key), lease.Endpoint.Addr)
	c.meter.Parent = &c.traffic.meter
	c.rewrites = d.rewrites(lease.Cluster)
	c.markConnected()
	if c.agent.logger.IsDebug() {
		c.agent.logger.Debug("connection open", c.fields()...)
	}
}

// pair is what the relay has to know of the connection beside its two ends.
func (c *connection) pair(g *generation) relay.Pair {
	t := c.listener.timeouts(g.client(c.lease.Cluster, c.destination.name))
	return relay.Pair{
		Idle: t.Idle, HalfClose: t.HalfClose, FirstByte: t.FirstByte, Lifetime: shorten(t.Lifetime, t.LifetimeJitter), Meter: &c.meter,
	}
}

// joined makes the connection open, and ends it at once if that has been asked for meanwhile.
func (c *connection) joined(link relay.Link) {
	c.mu.Lock()
	stopped := c.setup.stopped
	c.phase, c.link, c.setup = open, link, nil
	c.mu.Unlock()
	c.lease.Own(c)
	if stopped != "" {
		link.Cut(stopped)
	}
}

// ended is called by the relay.
func (c *connection) ended(r relay.Result) { c.finish(r) }

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
	c.phase = connecting
	c.markNamed(in)
	if peer := peerName(in.Conn); c.listener.config.SNI != nil || peer != "" {
		c.hello = &hello{name: in.Name, serverName: in.ServerName, peer: peer}
	}
}

func (c *connection) attempted(a dial.Attempt) {
	d := c.destination
	m := c.agent.metrics.cluster(d.label, d.clusterLabel(a.Lease.Key))
	if a.OverBudget {
		m.overBudget.Inc()
	}
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
	c.lease = a.Lease
}

// stop ends the connection with an outcome, wherever it stands.
func (c *connection) stop(o outcome.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.setup
	if s == nil {
		c.link.Cut(o)
		return
	}
	if s.stopped == "" {
		s.stopped = o
	}
	switch {
	case s.loop != nil:
		s.loop.flow.Cancel(outcome.Wrap(o, errStopped))
	case s.cancel != nil:
		s.cancel(outcome.Wrap(o, errStopped))
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
	c.listener.state.metrics.waiting.Dec()
	o := outcome.Of(err, outcome.Dial)
	var stopped *outcome.Error
	s := c.setup
	c.mu.Lock()
	asked := s.stopped
	c.mu.Unlock()
	switch {
	case asked != "":
		o, err = asked, errStopped
	case s.ctx != nil && s.ctx.Err() != nil && errors.As(context.Cause(s.ctx), &stopped):
		o, err = stopped.Outcome, stopped
	case c.destination != nil:
		c.destination.refused.Add(1)
	}
	if s.cancel != nil {
		s.cancel(nil)
	}
	c.finish(relay.Result{Outcome: o, Err: err})
}

// finish closes the books. It is called once.
func (c *connection) finish(r relay.Result) {
	m := c.listener.state.metrics
	denied := c.deniedByServer(&r)
	if c.traffic != nil {
		c.lease.End(c.ending(r))
		c.traffic.endpoint.cluster.observe(c.age(), r.Answered)
		c.agent.metrics.disconnected(c.traffic)
	}
	if c.destination != nil {
		c.agent.names.release(c.destination)
	}
	if c.admitted {
		c.listener.state.limits.Leave(c.source())
	}
	m.active.Dec()
	m.closed[r.Outcome].Inc()
	if r.Outcome == outcome.Denied && (r.Err == nil || errors.Is(r.Err, errStopped)) {
		r.Err = cmp.Or(c.mayStay(), r.Err)
	}
	c.log(r.Outcome, r.First, r.Err, denied)
	c.tellClosed(r)
	c.unwatch()
	c.agent.census.remove(c)
}

// log writes the line of a connection that has ended: a warning for what an operator should hear of, else for debugging.
// denied says that it was the server that has refused us.
func (c *connection) log(o outcome.Outcome, first relay.Side, err error, denied bool) {
	logger := c.agent.logger
	if !o.Failed() && !logger.IsDebug() {
		return
	}
	fields := append(c.fields(), "outcome", string(o), "duration", c.age().Round(time.Microsecond),
		"in", c.meter.In.Load(), "out", c.meter.Out.Load())
	if first != relay.Neither {
		fields = append(fields, "closed_first", first.String())
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	switch {
	case denied:
		c.agent.failures.denied(logger, c.destination.label, fields...)
	case o.Failed():
		c.agent.failures.warn(logger, c.listener.name, o, "connection failed", fields...)
	default:
		logger.Debug("connection closed", fields...)
	}
}

func (c *connection) fields() []any {
	i := c.info()
	f := []any{"id", i.ID, "listener", i.Listener, "client", i.Client}
	for _, kv := range [][2]string{
		{"peer", i.Peer}, {"server_name", i.ServerName}, {"cluster", i.Cluster}, {"endpoint", i.Endpoint}, {"name", i.Name},
	} {
		if kv[1] != "" {
			f = append(f, kv[0], kv[1])
		}
	}
	return append(f, "attempts", i.Attempts)
}
