package relaytest

import (
	"net"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// far is the peer on a side.
func (w *world) far(s relay.Side) (it, other net.Conn) {
	if s == relay.Client {
		return w.client, w.server
	}
	return w.server, w.client
}

var bothSides = [...]relay.Side{relay.Client, relay.Server}

// resetAtOnce: before a single byte.
func resetAtOnce(t *testing.T, e *env) {
	for _, side := range bothSides {
		w := e.join(nil)
		it, other := w.far(side)
		relay.Abort(it)
		readReset(t, other)
		w.expect(outcome.Reset, side, 0, 0)
	}
}

// resetAfterEnd: after the other side has ended its output.
func resetAfterEnd(t *testing.T, e *env) {
	for _, side := range bothSides {
		w := e.join(nil)
		it, other := w.far(side)
		closeWrite(t, other)
		readEnd(t, it)
		write(t, it, []byte("abc"))
		read(t, other, 3)
		relay.Abort(it)
		readReset(t, other)
		if r := w.end(); r.Outcome != outcome.Reset {
			t.Errorf("the %s: ended as %s, %s first (%v)", side, r.Outcome, r.First, r.Err)
		}
	}
}

// resetPressed: a side that takes nothing breaks off while as much is on its way to it as can be.
func resetPressed(t *testing.T, e *env) {
	for _, side := range bothSides {
		w := e.join(nil)
		it, other := w.far(side)
		stuck := w.fill(other)
		relay.Abort(it)
		waitFor(t, stuck, "the writer is not told")
		w.expect(outcome.Reset, side, -1, -1)
	}
}

// resetPressing: the side that sends breaks off while the other one takes nothing.
func resetPressing(t *testing.T, e *env) {
	for _, side := range bothSides {
		w := e.join(func(p *relay.Pair) { p.HalfClose = patience / 2 })
		it, other := w.far(side)
		stuck := w.fill(it)
		relay.Abort(it)
		<-stuck
		// When this is seen is left open, as the end lies behind bytes that nobody takes; but it goes on once they are.
		drainToEnd(other)
		if r := w.end(); r.Outcome != outcome.Reset || r.First != side {
			t.Errorf("the %s: ended as %s, %s first (%v)", side, r.Outcome, r.First, r.Err)
		}
	}
}

// cutPressed: a pair ends at once when it is cut, also while neither side takes anything.
func cutPressed(t *testing.T, e *env) {
	w := e.join(nil)
	up, down := w.fill(w.client), w.fill(w.server)
	since := time.Now()
	w.link.Cut(outcome.Drained)
	w.expect(outcome.Drained, relay.Neither, -1, -1)
	if took := time.Since(since); took > 3*time.Second {
		t.Errorf("took %v to end", took)
	}
	w.client.SetReadDeadline(time.Now().Add(patience))
	drainToEnd(w.client)
	drainToEnd(w.server)
	waitFor(t, up, "the client is not told")
	waitFor(t, down, "the server is not told")
}

// cutDenied: both sides see a reset, and not an end that looks orderly; the first cut decides.
func cutDenied(t *testing.T, e *env) {
	for _, first := range []outcome.Outcome{outcome.Denied, outcome.Drained} {
		w := e.join(nil)
		write(t, w.client, []byte("abc"))
		read(t, w.server, 3)
		w.link.Cut(first)
		w.link.Cut(outcome.Denied)
		if first == outcome.Denied {
			readReset(t, w.client)
			readReset(t, w.server)
		} else {
			readEnd(t, w.client)
			readEnd(t, w.server)
		}
		w.expect(first, relay.Neither, 3, 0)
	}
}

// cutAtOnce: from several goroutines, as soon as there is something to cut.
func cutAtOnce(t *testing.T, e *env) {
	for range 20 {
		w := e.join(nil)
		for range 3 {
			go w.link.Cut(outcome.Drained)
		}
		w.link.Quiet()
		w.expect(outcome.Drained, relay.Neither, 0, 0)
		w.client.Close()
		w.server.Close()
		w.link.Cut(outcome.Lifetime)
		w.link.Quiet()
	}
}
