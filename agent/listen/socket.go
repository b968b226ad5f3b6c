// Package listen accepts connections and finds out where they want to go.
//
//	s, err := listen.Open(ctx, "127.0.0.1:7474", listen.Options{ReusePort: true, Logger: logger})
//	go s.Serve(func(c *net.TCPConn) {
//		in, err := router.Accept(ctx, c) // TLS, server name
//		...
//	})
//	s.Stop() // takes what is queued, closes, waits for Serve
//
// A Socket never stops accepting because of an error. A Router terminates TLS, or looks at the ClientHello of a TLS
// connection that passes through, without consuming it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options of a socket.
type Options struct {
	// ReusePort lets several processes listen on the same address; the kernel spreads connections among them.
	ReusePort bool
	Logger    hclog.Logger
}

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	// acceptCalm is how long nothing must have gone wrong for the trouble to be over. Where there are too few file
	// descriptors, every connection that ends lets another one in.
	acceptCalm = 3 * acceptPauseMax
)

// Socket is a listening TCP socket.
type Socket struct {
	listener *net.TCPListener
	logger   hclog.Logger

	stopping atomic.Bool
	stopped  chan struct{} // closed by the first Stop
	once     sync.Once
	serving  sync.WaitGroup
}

// Open binds address, "host:port", and starts to listen: connections queue from now on.
func Open(ctx context.Context, address string, o Options) (*Socket, error) {
	lc := net.ListenConfig{}
	if o.ReusePort {
		lc.Control = reusePort
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, bare(err))
	}
	logger := o.Logger
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &Socket{listener: l.(*net.TCPListener), logger: logger, stopped: make(chan struct{})}, nil
}

// bare is the reason inside an error of net that repeats the address.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// Addr is the address that was bound, with the port that was chosen if it was 0.
func (s *Socket) Addr() *net.TCPAddr { return s.listener.Addr().(*net.TCPAddr) }

// Serve hands every connection to handle, which must not block, and returns after Stop. It is called at most once.
func (s *Socket) Serve(handle func(*net.TCPConn)) {
	s.serving.Add(1)
	defer s.serving.Done()
	pause, trouble := time.Duration(0), time.Time{} // trouble: the last time
	for {
		c, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			if pause > 0 && time.Since(trouble) > acceptCalm {
				s.logger.Info("accepting again", "address", s.Addr().String())
				pause = 0
			}
			handle(c)
		case s.stopping.Load():
			s.drain(handle)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline is only ever set by Stop, after stopping.
		default:
			// Most likely there are no file descriptors left. The connections there are go on and free some.
			if pause == 0 {
				s.logger.Error("cannot accept connections, will keep trying", "address", s.Addr().String(), "error", bare(err))
			}
			pause, trouble = min(max(2*pause, acceptPauseMin), acceptPauseMax), time.Now()
			select {
			case <-time.After(pause):
			case <-s.stopped:
			}
		}
	}
}

// FD is the descriptor of the socket, which does not block and stays the socket's, for whoever accepts in place of Serve.
func (s *Socket) FD() (int, error) {
	raw, err := s.listener.SyscallConn()
	if err != nil {
		return -1, err
	}
	number := -1
	err = raw.Control(func(fd uintptr) { number = int(fd) })
	return number, err
}

// Drain is what Stop does where Serve has not been called: what is queued is handed over, then the socket is closed.
func (s *Socket) Drain(handle func(*net.TCPConn)) { s.once.Do(func() { s.drain(handle) }) }

// drain hands over what the kernel has accepted before, and closes. Closing alone would reset those connections.
func (s *Socket) drain(handle func(*net.TCPConn)) {
	queued := takeQueued(s.listener)
	s.listener.Close()
	for _, c := range queued {
		handle(c)
	}
}

// Stop ends the accepting: connections that the kernel has queued are still handed over, then the socket is closed and
// Serve returns. Stop waits for that.
func (s *Socket) Stop() {
	s.once.Do(func() {
		s.stopping.Store(true)
		close(s.stopped)
		s.listener.SetDeadline(time.Unix(1, 0)) // wakes Serve
	})
	s.serving.Wait()
	s.listener.Close() // where Serve was never called
}
