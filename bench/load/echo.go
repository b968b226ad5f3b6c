//go:build linux

package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Echo sends back what it gets, on one thread.
type Echo struct {
	Addr string // host:port

	listener int
	poll     *poller
	stop     context.CancelFunc
	ended    sync.WaitGroup
	buffer   [64 << 10]byte
	waiting  map[int][]byte // what a peer has not taken yet
}

// maxWaiting bounds what is kept for a peer that does not read.
const maxWaiting = 4 << 20

// NewEcho listens on a free port of the loopback interface until Close.
func NewEcho() (*Echo, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	e := &Echo{listener: fd, waiting: make(map[int][]byte)}
	fail := func(err error) (*Echo, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fail(err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return fail(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fail(err)
	}
	e.Addr = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	if e.poll, err = newPoller(); err != nil {
		return fail(err)
	}
	if err := e.poll.add(fd, 0, unix.EPOLLIN); err != nil {
		e.poll.close()
		return fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	e.ended.Go(func() { e.run(ctx) })
	return e, nil
}

// Close ends the server and its connections.
func (e *Echo) Close() {
	e.stop()
	e.ended.Wait()
}

func (e *Echo) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	open := make(map[int]struct{})
	for {
		events, err := e.poll.wait(ctx, 50*time.Millisecond)
		if err != nil {
			break
		}
		for _, ev := range events {
			fd := int(ev.Fd)
			switch {
			case fd == e.listener:
				e.accept(open)
			case !e.serve(fd, ev.Events):
				unix.Close(fd)
				delete(open, fd)
				delete(e.waiting, fd)
			}
		}
	}
	for fd := range open {
		unix.Close(fd)
	}
	unix.Close(e.listener)
	e.poll.close()
}

func (e *Echo) accept(open map[int]struct{}) {
	for {
		fd, _, err := unix.Accept4(e.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := e.poll.add(fd, 0, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET); err != nil {
			unix.Close(fd)
			continue
		}
		open[fd] = struct{}{}
	}
}

// serve reports whether the connection goes on.
func (e *Echo) serve(fd int, events uint32) bool {
	if w := e.waiting[fd]; len(w) > 0 && events&unix.EPOLLOUT != 0 {
		if !e.send(fd, w) {
			return false
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return true
	}
	for {
		n, err := unix.Read(fd, e.buffer[:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return true
		case err != nil || n == 0:
			return false
		case len(e.waiting[fd]) > 0:
			if len(e.waiting[fd])+n > maxWaiting {
				return false
			}
			e.waiting[fd] = append(e.waiting[fd], e.buffer[:n]...)
		case !e.send(fd, e.buffer[:n]):
			return false
		}
		// A short read has emptied the socket; what comes next is another event, the end of the stream included.
		if err == nil && n < len(e.buffer) && events&unix.EPOLLRDHUP == 0 {
			return true
		}
	}
}

// send writes what the peer takes and keeps the rest.
func (e *Echo) send(fd int, b []byte) bool {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			e.waiting[fd] = append([]byte(nil), b...)
			return true
		case err != nil:
			return false
		default:
			b = b[n:]
		}
	}
	delete(e.waiting, fd)
	return true
}
