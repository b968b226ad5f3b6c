package agent

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"argosy/agent/balance"
	"argosy/agent/dial"
	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// A plain connection to a fixed name needs nothing that could block: what the name stands for is known, and the endpoint
// is an IP address. Its whole way is gone on a thread of the event loop, from accept to join, without a goroutine.
// Wherever something has to be waited for, the connection is taken out of the loop and goes on in run.

// onLoop is the way of a connection on the event loop until it is joined.
type onLoop struct {
	flow     *relay.Flow
	at       *generation
	deadline time.Time
	began    time.Time      // of the attempt
	lease    *balance.Lease // of the attempt
	policy   *dial.Policy   // of the attempt
	failed   []string       // addresses
	retries  int
	share    float64 // of retries
}

// acceptOnLoop takes a connection over on a thread of the event loop.
func (a *Agent) acceptOnLoop(l *listener, flow *relay.Flow, from netip.AddrPort) {
	c := a.admit(l, from)
	switch {
	case c == nil:
		flow.Abort()
	case !l.plain || !c.admitted:
		c.takeOut(flow, nil)
	default:
		c.goOnLoop(flow)
	}
}

func (c *connection) goOnLoop(flow *relay.Flow) {
	l := c.listener
	c.phase = connecting
	c.mu.Lock()
	c.setup.loop = &onLoop{
		flow: flow, at: c.agent.current.Load(), deadline: time.Now().Add(cmp.Or(l.config.ConnectTimeout, defaultConnectTimeout)),
	}
	c.mu.Unlock()
	d, err := c.agent.names.acquire(l.config.Destination, l.label)
	if err != nil {
		c.lost(err)
		return
	}
	c.destination = d
	d.budget.Connection(time.Now())
	c.next(nil)
}

// takeOut goes on with the connection on a goroutine.
func (c *connection) takeOut(flow *relay.Flow, lease *balance.Lease) {
	conn, err := flow.Conn()
	if err != nil {
		if lease != nil {
			lease.Done()
		}
		c.refused(outcome.Errorf(outcome.Reset, "taking the connection out of the event loop: %w", err))
		return
	}
	c.begin(conn)
	go c.run(lease)
}

// next picks an endpoint and begins to connect it; last is why the one before could not be.
func (c *connection) next(last error) {
	o, d := c.setup.loop, c.destination
	lease, err := d.pick(d.binding.Value(), c.wish(""))
	switch {
	case err == nil:
	case last != nil:
		c.lost(last)
		return
	case errors.Is(err, balance.ErrPending), errors.Is(err, balance.ErrWait):
		c.takeOut(o.flow, nil)
		return
	default:
		c.lost(err)
		return
	}
	rule := o.at.client(lease.Cluster, d.name)
	addr, plain := rule.direct(lease)
	if !plain {
		c.takeOut(o.flow, lease)
		return
	}
	if len(o.failed) == 0 {
		o.retries, o.share = rule.policy.Retries, rule.policy.RetryShare
	}
	o.lease, o.policy, o.began = lease, rule.policy, time.Now()
	o.flow.Dial(addr, rule.policy.Prepare, min(cmp.Or(rule.policy.Timeout, dial.DefaultTimeout), time.Until(o.deadline)), c.dialled)
}

// dialled is called by the event loop when an attempt has ended.
func (c *connection) dialled(err error) {
	o := c.setup.loop
	lease := o.lease
	o.lease = nil
	took := time.Since(o.began)
	if err == nil && o.policy.ProxyProtocol != "" {
		err = o.flow.Send(o.policy.Preface(dial.Info{Client: c.client, Local: o.flow.Local()}))
	}
	gone := errors.Is(err, relay.ErrClientGone)
	if err != nil && !gone {
		err = outcome.Errorf(outcome.Dial, "%s: %w", lease.Endpoint.Addr, err)
	}
	c.mu.Lock()
	stopped := c.setup.stopped
	c.mu.Unlock()
	again := err != nil && !gone && stopped == "" && len(o.failed) < o.retries && time.Now().Before(o.deadline)
	over := again && !c.destination.budget.Retry(time.Now(), o.share)
	c.attempted(dial.Attempt{Lease: lease, Took: took, Err: err, OverBudget: over})
	if err == nil && stopped == "" {
		lease.Connected()
		c.connected(lease)
		c.joined(o.flow.Join(c.pair(o.at), c.ended))
		return
	}
	if stopped != "" || gone || dial.Blameless(time.Until(o.deadline) <= 0, took, err) {
		lease.Done()
	} else {
		lease.Fail()
	}
	o.failed = append(o.failed, lease.Endpoint.Addr)
	if !again || over {
		c.lost(err)
		return
	}
	c.next(err)
}

// lost ends a connection that has no endpoint.
func (c *connection) lost(err error) {
	c.setup.loop.flow.Abort()
	c.refused(err)
}

func (o *onLoop) tried(addr string) bool { return slices.Contains(o.failed, addr) }
