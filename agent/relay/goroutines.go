package relay

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"argosy/agent/outcome"
)

// Goroutines moves bytes with one goroutine per direction. Bulk transfers between plain TCP connections are moved by
// the kernel (splice(2)) where it can. Its methods may be called from any goroutine.
type Goroutines struct {
	running sync.WaitGroup
	buffers sync.Pool
}

// New makes a relay.
func New() *Goroutines {
	g := &Goroutines{}
	g.buffers.New = func() any { return new(buffer) }
	return g
}

// Wait returns when every pair has ended. It must not be called while Join may still be.
func (g *Goroutines) Wait() { g.running.Wait() }

// Join is that of Relay.
func (g *Goroutines) Join(p Pair, done func(Result)) Link {
	j := &joined{relay: g, pair: p, done: done, began: time.Now()}
	j.left.Store(2)
	j.heard.Store(len(p.Early) > 0)
	j.limits = newLimitTimer(j)
	g.running.Add(2)
	go j.clientToServer()
	go j.serverToClient()
	return j
}

// joined is a pair while its bytes move.
type joined struct {
	relay *Goroutines
	pair  Pair
	done  func(Result)

	left atomic.Int32 // directions still running
	over atomic.Bool  // the deadlines of both connections are in the past and stay there

	began  time.Time
	active atomic.Int64 // nanoseconds from began to the last move,
	busy   atomic.Int32 // directions that hold bytes the other side has not taken
	limits *limitTimer  // nil: none

	heard    atomic.Bool  // the client has sent something
	answered atomic.Int64 // nanoseconds from began to the server's first byte; 0: none yet
	half     atomic.Int64 // nanoseconds from began to the first end of input; 0: none yet

	ending [3]atomic.Bool // by side: its output has been, or is about to be, ended by us
	torn   [3]atomic.Bool // by side: a write has failed, perhaps in the middle of a TLS record

	mu     sync.Mutex
	result Result
	ended  bool // result is decided
	broken bool // close by reset
}

// Two functions, so that a stack dump tells the directions apart.
func (j *joined) clientToServer() {
	defer j.finish()
	s := stream{j: j, from: j.pair.Client, to: j.pair.Server, side: Client, early: j.pair.Early}
	s.run()
}

func (j *joined) serverToClient() {
	defer j.finish()
	s := stream{j: j, from: j.pair.Server, to: j.pair.Client, side: Server}
	s.run()
}

// moved notes that n bytes have arrived at the other side.
func (j *joined) moved(from Side, n int64) {
	if n <= 0 {
		return
	}
	j.pair.Meter.add(from, n)
	j.active.Store(int64(j.elapsed()))
}

// elapsed is the time since Join.
func (j *joined) elapsed() time.Duration { return time.Since(j.began) }

// came notes that something has arrived from side.
func (j *joined) came(from Side) {
	switch {
	case from == Client && !j.heard.Load():
		j.heard.Store(true)
	case from == Server && j.answered.Load() == 0:
		j.answered.Store(max(1, int64(j.elapsed())))
	}
}

// closed notes an orderly end of input on side.
func (j *joined) closed(side Side) {
	j.mu.Lock()
	if j.result.First == Neither && !j.ended {
		j.result.First = side
	}
	j.mu.Unlock()
	if j.half.CompareAndSwap(0, max(1, int64(j.elapsed()))) && j.limits != nil {
		j.limits.look()
	}
}

// breaks decides the result unless something else has; the connections will be closed by reset.
func (j *joined) breaks(side Side, o outcome.Outcome, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended && !denies(j.result.Outcome, j.result.First, o) {
		return
	}
	j.ended, j.broken = true, true
	j.result.Outcome, j.result.Err = o, err
	if j.result.First == Neither {
		j.result.First = side
	}
}

// Quiet is that of Link.
func (j *joined) Quiet() time.Duration { return j.elapsed() - time.Duration(j.active.Load()) }

// Cut decides the result unless something else has, and ends both directions.
func (j *joined) Cut(o outcome.Outcome) {
	j.mu.Lock()
	if !j.ended {
		j.ended, j.broken = true, o == outcome.Denied
		j.result.Outcome = o
	}
	j.mu.Unlock()
	j.stop()
}

// isBroken reports whether the connections will be closed by reset.
func (j *joined) isBroken() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// stop wakes both directions for good.
func (j *joined) stop() {
	if !j.over.Swap(true) {
		past := time.Unix(1, 0)
		j.pair.Client.SetDeadline(past)
		j.pair.Server.SetDeadline(past)
	}
}

// readDeadline sets the deadline for reading from c, unless the pair has been stopped. The zero time is none.
func (j *joined) readDeadline(c net.Conn, t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	if j.over.Load() { // stop may have come just before: its deadline has to win
		return c.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// finish is called by each direction at its end; the last one closes.
func (j *joined) finish() {
	defer j.relay.running.Done()
	if j.left.Add(-1) > 0 {
		return
	}
	if j.limits != nil {
		j.limits.stop()
	}
	j.mu.Lock()
	if !j.ended {
		j.ended = true
		j.result.Outcome = outcome.OK
	}
	j.result.Answered = time.Duration(j.answered.Load())
	result, broken := j.result, j.broken
	j.mu.Unlock()
	if broken {
		Abort(j.pair.Client)
		Abort(j.pair.Server)
	} else {
		j.close(Client, j.pair.Client)
		j.close(Server, j.pair.Server)
	}
	j.done(result)
}

// close closes a side in an orderly way. After a torn record a close_notify would mean nothing, and only wait for a peer
// that does not read.
func (j *joined) close(side Side, c net.Conn) {
	if j.torn[side].Load() {
		c = bare(c)
	}
	c.Close()
}

// bare is the connection below TLS.
func bare(c net.Conn) net.Conn {
	for {
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = t.NetConn()
	}
}

// Abort closes a connection so that its peer sees a reset, also below TLS. What had not been sent is dropped.
func Abort(c net.Conn) error {
	b := bare(c)
	if l, ok := b.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0)
	}
	return b.Close()
}

// closeWrite ends the output of c: by close_notify under TLS, and by FIN.
func closeWrite(c net.Conn) error {
	below, layered := c.(interface{ NetConn() net.Conn })
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	} else if !layered {
		return errors.ErrUnsupported
	}
	if layered {
		return closeWrite(below.NetConn())
	}
	return nil
}
