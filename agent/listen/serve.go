package listen

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"argosy/agent/socket"
)

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	// acceptCalm is how long nothing must have gone wrong for the trouble to be over. Where there are too few file
	// descriptors, every connection that ends lets another one in.
	acceptCalm = 3 * acceptPauseMax
)

// acceptor is what *net.TCPListener and *net.UnixListener have in common.
type acceptor interface {
	net.Listener
	SetDeadline(time.Time) error
}

// Serve hands every connection to handle, which must not block, and returns after Stop. Connections are *net.TCPConn or
// *net.UnixConn. It is called at most once.
func (s *Socket) Serve(handle func(net.Conn)) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return
	}
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	pause, trouble := time.Duration(0), time.Time{} // trouble: the last time
	for {
		c, err := s.accept()
		switch {
		case err == nil:
			if pause > 0 && time.Since(trouble) > acceptCalm {
				s.logger.Info("accepting again", "address", s.addr.String())
				pause = 0
			}
			handle(c)
		case s.isStopping():
			if s.listener != nil {
				s.listener.Close()
			}
			s.Drain(handle)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline is only ever set by Stop, after stopping.
		default:
			// Most likely there are no file descriptors left. The connections there are go on and free some.
			if pause == 0 {
				s.logger.Error("cannot accept connections, will keep trying", "address", s.addr.String(), "error", bare(err))
			}
			pause, trouble = min(max(2*pause, acceptPauseMin), acceptPauseMax), time.Now()
			select {
			case <-time.After(pause):
			case <-s.stopped:
			}
		}
	}
}

// accept waits for a connection on a duplicate of the descriptor that the runtime's poller knows.
func (s *Socket) accept() (net.Conn, error) {
	l, err := s.acceptor()
	if err != nil {
		return nil, err
	}
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	o := s.accepted
	s.mu.Unlock()
	adjust(c, o)
	return c, nil
}

func (s *Socket) acceptor() (acceptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return nil, net.ErrClosed
	case s.listener == nil:
		fd, err := dup(s.fd)
		if err != nil {
			return nil, err
		}
		f := os.NewFile(uintptr(fd), s.addr.String())
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		s.listener = l.(acceptor)
	}
	return s.listener, nil
}

// adjust takes back what package net sets on every connection by itself. The rest is inherited from the listening socket.
func adjust(c net.Conn, o socket.Options) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if !o.NoDelay {
		t.SetNoDelay(false)
	}
	switch {
	case o.KeepAlive <= 0:
		t.SetKeepAlive(false)
	case o.KeepAlive != socket.DefaultKeepAlive:
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: o.KeepAlive, Interval: o.KeepAlive, Count: -1})
	}
}

func (s *Socket) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// Drain is what Stop does where Serve has not been called: what is queued is handed over, then the socket is closed. Whoever
// has accepted by way of FD calls it after the last time.
//
// Closing alone would reset those connections. What arrives in between, a few microseconds, is lost.
func (s *Socket) Drain(handle func(net.Conn)) {
	conns := s.queued()
	s.close()
	for _, c := range conns {
		handle(c)
	}
}

func (s *Socket) queued() []net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 || s.left {
		return nil
	}
	var conns []net.Conn
	for _, fd := range takeQueued(s.fd) {
		f := os.NewFile(uintptr(fd), "accepted")
		c, err := net.FileConn(f) // a duplicate
		f.Close()
		switch {
		case err != nil:
		case c.RemoteAddr() == nil:
			// The client has reset it meanwhile: nobody expects a connection without an address, or needs an answer.
			c.Close()
		default:
			adjust(c, s.accepted)
			conns = append(conns, c)
		}
	}
	return conns
}

// Stop ends the accepting: connections that the kernel has queued are still handed over, then the socket is closed and
// Serve returns. Stop waits for that.
func (s *Socket) Stop() {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stopped)
		if s.listener != nil {
			s.listener.SetDeadline(time.Unix(1, 0)) // wakes Serve
		}
	}
	s.mu.Unlock()
	s.serving.Wait()
	s.close() // where Serve was never called
}

// Leave is Stop where another process has a duplicate, see Dup: what is queued is for that one, and so is the file of a Unix
// socket.
func (s *Socket) Leave() {
	s.mu.Lock()
	s.file, s.left = nil, true
	s.mu.Unlock()
	s.Stop()
}

// duplicate makes a descriptor of its own of one that package net or os has.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	fd = -1
	if e := raw.Control(func(of uintptr) { fd, err = dup(int(of)) }); e != nil {
		return -1, e
	}
	return fd, err
}
