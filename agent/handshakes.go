package agent

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"argosy/agent/config"
	"argosy/agent/listen"
	"argosy/agent/outcome"
)

// handshakes are the clients of a listener that are in their TLS handshake: those that have a turn, and those that wait.
//
// A client that stalls gives its turn up when others want it and it has had it for longer than a good one needs. So it takes
// more than a few sockets now and then to keep good clients out.
type handshakes struct {
	*listen.Limiter

	mu     sync.Mutex
	turns  list.List // of turn, the oldest first
	enough time.Duration
}

type turn struct {
	c     *connection
	since time.Time
}

// handshakeQueue is how many clients wait for each one that may be in its TLS handshake.
const handshakeQueue = 10

// setLimits takes those of a configuration over. Who waits for its turn has at least half of the time for its handshake left
// then, and a turn is safe for a quarter of that time.
func (h *handshakes) setLimits(l config.Listener) {
	within := cmp.Or(l.Timeouts.Handshake, l.ConnectTimeout, defaultConnectTimeout)
	h.SetLimits(listen.Limits{Connections: l.Limits.Handshakes, QueueLength: handshakeQueue * l.Limits.Handshakes, QueueTimeout: within / 2})
	h.mu.Lock()
	h.enough = within / 4
	h.mu.Unlock()
}

// begin notes that a client has its turn.
func (h *handshakes) begin(c *connection) {
	h.mu.Lock()
	c.setup.turn = h.turns.PushBack(turn{c, time.Now()})
	h.mu.Unlock()
}

// end gives the next client its turn.
func (h *handshakes) end(c *connection) {
	h.mu.Lock()
	h.turns.Remove(c.setup.turn) // which does nothing where that has been done
	h.mu.Unlock()
	c.setup.turn = nil
	h.Leave(netip.Addr{})
}

// sendAway sends the client away that has had its turn for longest, if that was long enough; else it says when it will have
// been.
func (h *handshakes) sendAway() (in time.Duration) {
	h.mu.Lock()
	e := h.turns.Front()
	if e == nil {
		h.mu.Unlock()
		return h.enough
	}
	oldest := e.Value.(turn)
	if in = h.enough - time.Since(oldest.since); in > 0 {
		h.mu.Unlock()
		return in
	}
	h.turns.Remove(e)
	h.mu.Unlock()
	oldest.c.listener.state.metrics.refused[listen.LimitHandshakes].Inc()
	oldest.c.stop(outcome.Limit)
	return 0
}

// gone is the time for a client that has been sent away to be gone.
const gone = 100 * time.Millisecond

// urge sends clients away, one after the other, until ctx ends: the turn of one may go to somebody who has waited for longer.
func (h *handshakes) urge(ctx context.Context) {
	if ctx.Err() == nil {
		time.AfterFunc(max(h.sendAway(), gone), func() { h.urge(ctx) })
	}
}

// beginHandshake waits until the client, whose ClientHello has come, may go on with its TLS handshake. Those that are silent
// before have no turn, and keep nobody waiting.
func (c *connection) beginHandshake(ctx context.Context) error {
	h := c.listener.state.handshakes
	if ok, _ := h.Admit(netip.Addr{}); !ok {
		waiting, done := context.WithCancel(ctx)
		h.urge(waiting)
		why, err := h.Wait(ctx, netip.Addr{})
		done()
		switch {
		case errors.Is(err, context.DeadlineExceeded): // the ClientHello had taken most of the time
			return c.atLimit(listen.LimitHandshakes)
		case err != nil:
			return outcome.Wrap(outcome.Drained, err)
		case why != "":
			return c.atLimit(listen.LimitHandshakes)
		}
	}
	h.begin(c)
	return nil
}

// endHandshake is called when the handshake is over, or has never begun.
func (c *connection) endHandshake() {
	if c.setup.turn != nil {
		c.listener.state.handshakes.end(c)
	}
}
