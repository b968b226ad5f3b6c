package relay

import (
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

// Loop moves bytes with a few threads, each of which waits for all its connections at once (epoll(7)). A connection that is
// idle has no goroutine, no stack and no buffer. It is a Relay; connections that it cannot take over go to goroutines.
//
// Its threads keep their Ps while there is traffic, so the program should run with GOMAXPROCS above Workers, see Procs.
type Loop struct {
	logger  hclog.Logger
	workers []*worker
	running sync.WaitGroup // pairs
	others  *Goroutines
	innards innards
}

// LoopOptions are all optional.
type LoopOptions struct {
	Workers int // threads; 0: one for each CPU that Go may use
	Logger  hclog.Logger
}

// NewLoop starts the threads. The error is errors.ErrUnsupported where there is no event loop.
func NewLoop(o LoopOptions) (*Loop, error) {
	n := o.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0) // which minds what a container may use
	}
	l := &Loop{logger: o.Logger, others: New(), innards: findInnards()}
	if l.logger == nil {
		l.logger = hclog.NewNullLogger()
	}
	for range n {
		w, err := newWorker(l)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("event loop: %w", err)
		}
		l.workers = append(l.workers, w)
	}
	return l, nil
}

// Procs is the value of GOMAXPROCS with which the rest of the program has Ps of its own: one for every two threads.
func (l *Loop) Procs() int { return len(l.workers) + max(len(l.workers)/2, 1) }

// Close ends the threads and waits for them. There must be no pairs and no listening sockets left.
func (l *Loop) Close() {
	for _, w := range l.workers {
		w.post(func() { w.ending = true })
	}
	for _, w := range l.workers {
		<-w.ended
	}
}

// Wait is that of Relay.
func (l *Loop) Wait() {
	l.running.Wait()
	l.others.Wait()
}

// Join is that of Relay.
func (l *Loop) Join(p Pair, done func(Result)) Link {
	if !takable(p.Client) || !takable(p.Server) {
		return l.others.Join(p, done)
	}
	f := newFlow(l.idlest())
	f.done = done
	f.settle(&p)
	for i, c := range []net.Conn{p.Client, p.Server} {
		if err := f.ends[i].take(c, f.w); err != nil {
			f.reset()
			f.w.load.Add(-1)
			p.Client.Close()
			p.Server.Close()
			side := Side(i + 1)
			l.running.Add(1)
			go func() {
				defer l.running.Done()
				done(Result{Outcome: outcome.Reset, First: side, Err: fmt.Errorf("taking over the connection of the %s: %w", side, err)})
			}()
			return ended{}
		}
	}
	l.running.Add(1)
	early := p.Early
	f.w.post(func() { f.w.begin(f, early) })
	return f
}

// ended is the link of a pair that is over before it has begun.
type ended struct{}

func (ended) Cut(outcome.Outcome)  {}
func (ended) Quiet() time.Duration { return 0 }

// takable reports whether the loop can drive a connection by its descriptor.
func takable(c net.Conn) bool {
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *Carrier:
		return takable(c.Conn)
	case *tls.Conn:
		carrier, ok := c.NetConn().(*Carrier)
		return ok && takable(carrier.Conn)
	}
	return false
}

// take makes the end that of c, whose descriptor it takes out of the runtime's poller.
func (e *end) take(c net.Conn, w *worker) error {
	e.fd = -1
	if t, ok := c.(*tls.Conn); ok {
		carrier := t.NetConn().(*Carrier)
		fd, err := detach(carrier.Conn)
		if err != nil {
			return err
		}
		e.fd = fd
		e.tls = &tlsEnd{conn: t, w: w, end: e}
		carrier.Conn, carrier.driver = nil, e.tls
		return nil
	}
	if carrier, ok := c.(*Carrier); ok {
		c = carrier.Conn
	}
	fd, err := detach(c)
	e.fd = fd
	return err
}

// detach returns a duplicate of c's descriptor and closes c: only so the runtime lets go of it.
func detach(c net.Conn) (int32, error) {
	raw, err := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if err := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if err != nil {
		return -1, err
	}
	c.Close()
	return int32(fd), nil
}
