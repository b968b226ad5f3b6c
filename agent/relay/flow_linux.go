package relay

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"argosy/agent/outcome"
)

// Flow is a connection on the event loop: accepted, being dialled, or joined to an endpoint. Except for Cut and Quiet, and
// Cancel, its methods are called on the thread of its worker, by the handler of Serve and the callback of Dial.
//
// There may be very many that are idle, so it is kept small.
type Flow struct {
	w    *worker
	ends [2]end // client, server
	slot int32  // in w.flows; 0: none
	heap int32  // place in w.timers, from 1; 0: none

	state   flowState
	first   Side
	broken  bool // close by reset
	queued  bool // in w.ready
	piped   bool // in w.piped
	heard   bool // the client has sent something
	touched bool // in w.touched

	active   atomic.Int64 // when something has moved last, on the worker's clock
	began    int64        // when it was joined, likewise
	answered int64        // when the server's first byte came, likewise; 0: not yet
	due      int64        // when its timer fires, likewise
	limits   *limits      // nil: none
	meter    *Meter
	done     func(Result)
	verdict  *verdict // nil: not decided yet
	dialling *dialling
}

type flowState uint8

const (
	fresh   flowState = iota // accepted or being made; the client is not watched
	dialing                  // the client is watched, and so is the server if there is one
	moving                   // joined
	over
)

// limits are when a flow has to end, as durations but for lifetime.
type limits struct{ idle, halfClose, firstByte, lifetime time.Duration }

// verdict is how a flow ends, once that is decided.
type verdict struct {
	outcome outcome.Outcome
	err     error
}

// end is one of the two connections of a flow.
type end struct {
	fd       int32
	readable bool // there may be something to read
	hungUp   bool // a FIN is behind what there is to read
	dead     bool // it may have been reset
	inEnded  bool // its input is over
	outEnded bool // its output is, or will be after what is left, over
	shut     bool // its output is over
	full     uint8
	left     *chunk // what its peer has not taken yet; nil: nothing
	pipe     *pipe  // holds what came in here in bulk; nil: moved by a buffer
	tls      *tlsEnd
}

func newFlow(w *worker) *Flow {
	f := &Flow{w: w}
	w.load.Add(1)
	f.ends[0].fd, f.ends[1].fd = -1, -1
	return f
}

func (f *Flow) side(i int) Side { return Side(i + 1) }

func (f *Flow) reset() {
	for i := range f.ends {
		if e := &f.ends[i]; e.fd >= 0 {
			sysReset(e.fd)
			e.fd = -1
		}
	}
}

// settle takes over what p says beside its connections.
func (f *Flow) settle(p *Pair) {
	f.meter = p.Meter
	if l := (limits{p.Idle, p.HalfClose, p.FirstByte, p.Lifetime}); l != (limits{}) {
		f.limits = &l
	}
}

// Quiet is that of Link.
func (f *Flow) Quiet() time.Duration { return f.w.clock() - time.Duration(f.active.Load()) }

// Cut is that of Link.
func (f *Flow) Cut(o outcome.Outcome) {
	f.w.post(func() {
		if f.state == moving {
			f.broken = f.broken || f.verdict == nil && o == outcome.Denied
			f.decide(o, nil)
			f.finish()
		}
	})
}

// decide settles how the flow ends, unless that is settled.
func (f *Flow) decide(o outcome.Outcome, err error) {
	if f.verdict == nil {
		f.verdict = &verdict{o, err}
	}
}

// breaks settles that the flow ends by a reset because of what happened on one side.
func (f *Flow) breaks(i int, o outcome.Outcome, err error) {
	if f.verdict != nil && !denies(f.verdict.outcome, f.first, o) {
		return
	}
	f.verdict = &verdict{o, err}
	f.broken = true
	if f.first == Neither {
		f.first = f.side(i)
	}
}

// finish closes both connections and tells the owner. The flow is decided, or has ended in order.
func (f *Flow) finish() {
	if f.state == over {
		return
	}
	f.state = over
	w := f.w
	w.load.Add(-1)
	w.disarm(f)
	for i := range f.ends {
		e := &f.ends[i]
		e.drop(w)
		switch {
		case e.fd < 0:
		case f.broken:
			sysReset(e.fd)
		default:
			if e.tls != nil && !e.outEnded {
				e.tls.conn.CloseWrite()
				w.flushOnce(e)
			}
			sysClose(e.fd)
		}
		e.fd, e.tls = -1, nil
	}
	w.release(f)
	r := Result{Outcome: outcome.OK, First: f.first}
	if f.verdict != nil {
		r.Outcome, r.Err = f.verdict.outcome, f.verdict.err
	}
	if f.answered > 0 {
		r.Answered = time.Duration(f.answered - f.began)
	}
	f.done(r)
	w.loop.running.Done()
}

// drop gives back what the end holds.
func (e *end) drop(w *worker) {
	if e.left != nil {
		w.putChunk(e.left)
		e.left = nil
	}
	if e.pipe != nil {
		w.putPipe(e.pipe)
		e.pipe = nil
	}
}

// Local is the address that the client has connected to; it is not valid for a Unix socket.
func (f *Flow) Local() netip.AddrPort { return localOf(f.ends[0].fd) }

// Conn takes the client out of the event loop, for whatever needs to wait. The flow is of no more use.
func (f *Flow) Conn() (net.Conn, error) {
	f.state = over
	f.w.load.Add(-1)
	f.w.unwatch(f)
	e := &f.ends[0]
	c, err := connOf(e.fd)
	e.fd = -1
	return c, err
}

// Abort closes the client by reset. The flow is of no more use.
func (f *Flow) Abort() {
	if f.state == over {
		return
	}
	f.state = over
	f.w.load.Add(-1)
	f.w.unwatch(f)
	f.reset()
}
