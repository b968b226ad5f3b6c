package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

var (
	errDialTimeout = os.ErrDeadlineExceeded
	errClientGone  = errors.New("the client has broken off")
	errCancelled   = errors.New("ended by the agent")
)

// Dial connects to addr, and calls done on the worker's thread, never before Dial returns. setup, which may be nil, sets
// the options of the socket before it is connected. After an error Dial may be called again, by done or later, or the
// connection is given up with Abort. A timeout of 0 is none.
//
// The error is of outcome reset if the client has broken off meanwhile, of the outcome that Cancel was called with, or of
// the kind that package net has for failed dials.
func (a *Accepted) Dial(addr netip.AddrPort, setup func(fd int) error, timeout time.Duration, done func(err error)) {
	p := a.pair
	w := p.worker
	first := a.state == fresh
	if !first && a.state != refused {
		panic("relay: Dial while dialling or after it")
	}
	a.state, a.done, a.target, a.failed, a.deadline = dialling, done, addr, nil, 0
	err := a.stopped()
	if err == nil && first {
		err = p.register(0, unix.EPOLL_CTL_ADD)
	}
	if err == nil {
		err = a.connect(addr, setup)
	}
	if err != nil {
		a.failed = err
		w.queue(p)
		return
	}
	if timeout > 0 {
		a.deadline = w.loop.now() + int64(timeout)
		w.arm(p, a.deadline)
	}
}

// stopped is why there is no use in dialling.
func (a *Accepted) stopped() error {
	if a.cancelled != "" {
		return outcome.Wrap(a.cancelled, errCancelled)
	}
	return nil
}

func (a *Accepted) connect(addr netip.AddrPort, setup func(fd int) error) error {
	family := unix.AF_INET
	if !addr.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, _, errno := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return os.NewSyscallError("socket", errno)
	}
	a.pair.ends[1].fd = int32(fd)
	if setup != nil {
		if err := setup(int(fd)); err != nil {
			return err
		}
	}
	switch errno := rawConnect(int32(fd), addr); errno {
	case 0, unix.EINPROGRESS, unix.EINTR:
	default:
		return os.NewSyscallError("connect", errno)
	}
	a.pair.ends[1].watched = true
	return a.pair.register(1, unix.EPOLL_CTL_ADD)
}

func rawConnect(fd int32, addr netip.AddrPort) syscall.Errno {
	var at unsafe.Pointer
	var size uintptr
	var in4 unix.RawSockaddrInet4
	var in6 unix.RawSockaddrInet6
	if ip := addr.Addr().Unmap(); ip.Is4() {
		in4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(addr.Port()), Addr: ip.As4()}
		at, size = unsafe.Pointer(&in4), unix.SizeofSockaddrInet4
	} else {
		in6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(addr.Port()), Addr: ip.As16(), Scope_id: zoneID(ip.Zone())}
		at, size = unsafe.Pointer(&in6), unix.SizeofSockaddrInet6
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(at), size)
	return errno
}

// zoneID is the number of a network interface that is given by number or name.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// event is called for both ends while they are not joined.
func (a *Accepted) event(i int, events uint32) {
	if a.state != dialling {
		return // kept in the ends for later
	}
	if i == 0 {
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 && a.failed == nil {
			a.fail(outcome.Wrap(outcome.Reset, errClientGone))
		}
		return
	}
	if a.failed != nil {
		return
	}
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		errno, err := unix.GetsockoptInt(int(a.pair.ends[1].fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			a.fail(os.NewSyscallError("getsockopt", err))
			return
		case errno != 0:
			a.fail(os.NewSyscallError("connect", syscall.Errno(errno)))
			return
		}
	}
	if events&unix.EPOLLOUT != 0 {
		a.finish(nil)
	}
}

// work is called for a Dial that has failed at once.
func (a *Accepted) work() {
	if a.state == dialling && a.failed != nil {
		a.fail(a.failed)
	}
}

// fail ends a dial.
func (a *Accepted) fail(err error) {
	p := a.pair
	if e := &p.ends[1]; e.fd >= 0 {
		rawClose(e.fd)
		*e = end{fd: -1}
	}
	var told *outcome.Error
	if !errors.As(err, &told) {
		err = &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(a.target), Err: err}
	}
	a.finish(err)
}

func (a *Accepted) finish(err error) {
	a.pair.worker.disarm(a.pair)
	a.state = connected
	if err != nil {
		a.state = refused
	}
	done := a.done
	a.done = nil
	done(err)
	if a.state == connected { // nobody wants it
		a.Abort()
	}
}

// Join moves bytes between the client and what Dial has connected, as Relay.Join does. It is called after a Dial has
// succeeded; p has no connections. done is called on the worker's thread, not before Join returns.
func (a *Accepted) Join(p Pair, done func(Result)) Link {
	if a.state != connected {
		panic("relay: Join without a connection")
	}
	j := a.pair
	j.worker.loop.pairs.Add(1)
	a.state, j.dialling = left, nil
	j.begin(p, done)
	j.start(p.Early)
	return j
}

// Cancel ends a Dial with an outcome, or the next one. After Join it is as Link.Cut. It may be called from any goroutine.
func (a *Accepted) Cancel(o outcome.Outcome) {
	a.pair.worker.post(func() {
		if a.pair.dialling == nil {
			if !a.pair.dead {
				a.pair.end(o)
			}
			return
		}
		if a.cancelled == "" {
			a.cancelled = o
		}
		if a.state == dialling && a.failed == nil {
			a.fail(outcome.Wrap(o, errCancelled))
		}
	})
}
