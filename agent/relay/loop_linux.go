package relay

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

// Loop moves bytes with one thread per worker, each of which waits for all of its connections at once (epoll(7)). A
// connection on which nothing moves has neither a goroutine nor a buffer. Its methods may be called from any goroutine.
//
// A worker that has something to do waits without telling the scheduler, so that it keeps its P. That is much cheaper, and
// leaves the other goroutines of the program what GOMAXPROCS has more than there are workers: with less than Procs it is
// not done.
type Loop struct {
	logger  hclog.Logger
	base    time.Time // all times inside are nanoseconds since
	workers []*worker
	procs   int
	innards innards
	others  *Goroutines // for what is no bare socket

	pairs   sync.WaitGroup
	threads sync.WaitGroup
}

// NewLoop starts the workers.
func NewLoop(o Options) (*Loop, error) {
	l := &Loop{logger: o.logger(), base: time.Now(), others: New(), procs: o.workers() + 1, innards: findInnards()}
	for range o.workers() {
		w, err := newWorker(l)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("starting an event loop: %w", err)
		}
		l.workers = append(l.workers, w)
	}
	for _, w := range l.workers {
		l.threads.Go(w.run)
	}
	return l, nil
}

// Procs is the value that GOMAXPROCS should have at least: one for each worker and one for the rest of the program.
func (l *Loop) Procs() int { return l.procs }

// Wait returns when every pair has ended. It must not be called while Join may still be.
func (l *Loop) Wait() {
	l.pairs.Wait()
	l.others.Wait()
}

// Close ends the workers and waits for them. No pair may be left, and nothing may be served.
func (l *Loop) Close() {
	for _, w := range l.workers {
		w.post(func() { w.closing = true })
	}
	l.threads.Wait()
	for _, w := range l.workers {
		w.close()
	}
	l.workers = nil
}

func (l *Loop) now() int64 { return int64(time.Since(l.base)) }

// Join is that of Relay. Plain TCP and Unix connections are moved by the loop, and TLS over a Carrier over such; all others
// get goroutines of their own.
func (l *Loop) Join(p Pair, done func(Result)) Link {
	if !bare(p.Client) || !bare(p.Server) {
		return l.others.Join(p, done)
	}
	l.pairs.Add(1)
	w := l.idlest()
	j := &pair{worker: w}
	j.ends[0].fd, j.ends[1].fd = -1, -1
	j.begin(p, done)
	err := j.ends[0].take(j, p.Client)
	if err == nil {
		err = j.ends[1].take(j, p.Server)
	}
	if err != nil {
		Abort(p.Client)
		Abort(p.Server)
	}
	w.load.Add(1)
	w.post(func() {
		w.enter(j)
		if err == nil {
			err = j.register(0, unix.EPOLL_CTL_ADD)
		}
		if err == nil {
			err = j.register(1, unix.EPOLL_CTL_ADD)
		}
		if err != nil {
			j.breaks(Neither, outcome.Reset, fmt.Errorf("giving connections to the event loop: %w", err))
			j.finish()
			return
		}
		j.start(p.Early)
	})
	return j
}

// idlest is the worker with the fewest pairs.
func (l *Loop) idlest() *worker {
	best := l.workers[0]
	for _, w := range l.workers[1:] {
		if w.load.Load() < best.load.Load() {
			best = w
		}
	}
	return best
}

// bare reports whether the loop can move what goes over c.
func bare(c net.Conn) bool {
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		car, ok := c.NetConn().(*Carrier)
		return ok && bare(car.Conn)
	}
	return false
}

// take takes the descriptor of c away from the runtime, for e, and closes c.
func (e *end) take(p *pair, c net.Conn) error {
	if t, ok := c.(*tls.Conn); ok {
		car := t.NetConn().(*Carrier)
		below := car.Conn
		car.driven, car.conn, car.pair, car.end = true, t, p, e
		car.Conn = addresses{local: below.LocalAddr(), remote: below.RemoteAddr()}
		e.tls = car
		c = below
	}
	_, e.unix = c.(*net.UnixConn)
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := raw.Control(func(own uintptr) {
		fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	e.fd = int32(fd)
	c.Close() // takes it out of the runtime's poller, too
	return nil
}
