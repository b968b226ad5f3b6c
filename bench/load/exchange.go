//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Exchanges are small requests to an echo server over plain TCP, each sent when the answer to the one before has come.
type Exchanges struct {
	Addr        string
	Connections int // open at a time
	Size        int // bytes of a request
	Depth       int // requests that are sent together; 1 unless set
	Reconnect   bool
	Duration    time.Duration // either that
	Count       int64         // or so many
}

// Run returns when the time is over, all are answered, or ctx is done. A connection that fails is counted and made anew; a hundred failures
// without a success end the run.
func (x Exchanges) Run(ctx context.Context) Result {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	to, err := address(x.Addr)
	if err != nil {
		return Result{Errors: 1, Err: err}
	}
	poll, err := newPoller()
	if err != nil {
		return Result{Errors: 1, Err: err}
	}
	defer poll.close()
	r := &exchanger{Exchanges: x, to: to, poll: poll, peers: make([]exchange, x.Connections), request: make([]byte, x.Size*max(x.Depth, 1))}
	defer r.close()
	began := time.Now()
	r.run(ctx, began)
	r.result.Elapsed = time.Since(began)
	return r.result
}

type exchange struct {
	fd   int
	sent bool
	got  int
}

type exchanger struct {
	Exchanges
	to       *unix.SockaddrInet4
	poll     *poller
	peers    []exchange
	request  []byte
	buffer   [64 << 10]byte
	result   Result
	failures int // in a row
	started  int64
}

const mostFailures = 100

func (r *exchanger) run(ctx context.Context, began time.Time) {
	for i := range r.peers {
		r.peers[i].fd = -1
	}
	for i := range r.peers {
		r.open(i)
	}
	last := began
	for {
		events, err := r.poll.wait(ctx, 20*time.Millisecond)
		if err != nil {
			r.fail(err)
			return
		}
		now := time.Now()
		if len(events) > 0 {
			last = now
		}
		if now.Sub(last) > dialLimit {
			r.fail(fmt.Errorf("nothing came for %v", dialLimit))
			return
		}
		for _, ev := range events {
			if i := int(ev.Pad); int(ev.Fd) == r.peers[i].fd {
				r.serve(i, ev.Events)
			}
		}
		over := r.Duration > 0 && now.Sub(began) >= r.Duration || r.Count > 0 && r.result.Count >= r.Count
		if over || r.failures >= mostFailures {
			return
		}
	}
}

func (r *exchanger) fail(err error) {
	r.result.Errors++
	r.failures++
	if r.result.Err == nil {
		r.result.Err = err
	}
}

// open makes a connection, unless all that were asked for have been.
func (r *exchanger) open(i int) {
	if r.failures >= mostFailures || r.Count > 0 && r.Reconnect && r.started >= r.Count {
		return
	}
	r.started++
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.fail(fmt.Errorf("socket: %w", err))
		return
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	r.peers[i] = exchange{fd: fd}
	if err := unix.Connect(fd, r.to); err != nil && err != unix.EINPROGRESS {
		r.again(i, fmt.Errorf("connect: %w", err))
		return
	}
	if err := r.poll.add(fd, int32(i), unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET); err != nil {
		r.again(i, fmt.Errorf("epoll: %w", err))
	}
}

// again closes a connection and opens the next one in its place.
func (r *exchanger) again(i int, err error) {
	unix.Close(r.peers[i].fd)
	r.peers[i].fd = -1
	if err != nil {
		r.fail(err)
		r.started--
	}
	r.open(i)
}

func (r *exchanger) serve(i int, events uint32) {
	p := &r.peers[i]
	if !p.sent && events&unix.EPOLLOUT != 0 {
		if err := r.send(p); err != nil {
			r.again(i, err)
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	for {
		n, err := unix.Read(p.fd, r.buffer[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			r.again(i, fmt.Errorf("read: %w", err))
			return
		case n == 0:
			r.again(i, errors.New("read: the connection was closed without an answer"))
			return
		}
		r.result.Bytes += int64(n)
		if p.got += n; p.got < len(r.request) {
			continue
		}
		r.failures = 0
		r.result.Count += int64(max(r.Depth, 1))
		if r.Reconnect {
			r.again(i, nil)
			return
		}
		if err := r.send(p); err != nil {
			r.again(i, err)
		}
		return
	}
}

// send sends a request; the socket has room for it.
func (r *exchanger) send(p *exchange) error {
	p.sent, p.got = true, 0
	n, err := unix.Write(p.fd, r.request)
	if err == nil && n < len(r.request) {
		err = errors.New("the socket has no room")
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (r *exchanger) close() {
	for _, p := range r.peers {
		if p.fd >= 0 {
			unix.Close(p.fd)
		}
	}
}
