package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

const (
	// acceptTurn is how many connections are accepted before those that are there have their turn.
	acceptTurn     = 4
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	// acceptCalm is how long nothing must have gone wrong for the trouble to be over.
	acceptCalm = 3 * acceptPauseMax
	// uneven, and an eighth, is how many pairs more than the idlest a worker may have before it gives new ones away.
	uneven = 2
)

// Handler is given every connection that has been accepted, on a worker's thread: it must not wait, and takes mutexes only
// for short. Before it returns it calls one of Dial, Conn and Abort.
type Handler func(*Accepted)

// listening is one worker's share of a listening socket.
type listening struct {
	fd      int32
	handler Handler
	trouble *trouble
	pause   time.Duration
	resume  int64 // when it is listened to again; 0: it is
}

// trouble has the workers of one listening socket complain once.
type trouble struct {
	mu   sync.Mutex
	last time.Time // zero: none
}

// Serve accepts connections from a listening socket, which has to be non-blocking and stays the caller's, and hands them
// to h. The socket should not be one that the runtime's poller watches too, as those of package net are: every connection
// would wake a thread more. An error of accepting, as by a lack of file descriptors, is told to the logger once, and accepting goes on after a
// pause. stop ends it: when it returns, h is not running and will not be called again. stop must not be called by h.
func (l *Loop) Serve(fd int, h Handler) (stop func(), err error) {
	t := &trouble{}
	var places []int
	for _, w := range l.workers {
		s := &listening{fd: int32(fd), handler: h, trouble: t}
		var place int
		w.do(func() {
			place, err = w.listen(s)
		})
		if err != nil {
			break
		}
		places = append(places, place)
	}
	stop = sync.OnceFunc(func() {
		for i, place := range places {
			w := l.workers[i]
			w.do(func() { w.ignore(place) })
		}
		// What one worker has given to another is accepted, too.
		for _, w := range l.workers[:len(places)] {
			w.do(func() {})
		}
	})
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// do calls f on the worker's thread and waits for it.
func (w *worker) do(f func()) {
	done := make(chan struct{})
	w.post(func() {
		defer close(done)
		f()
		w.yield = true
	})
	<-done
}

func (w *worker) listen(s *listening) (int, error) {
	place := len(w.listening)
	for i, l := range w.listening {
		if l == nil {
			place = i
			break
		}
	}
	if place == len(w.listening) {
		w.listening = append(w.listening, nil)
	}
	if errno := w.admit(s, place); errno != 0 {
		return 0, os.NewSyscallError("epoll_ctl", errno)
	}
	w.listening[place] = s
	return place, nil
}

// admit listens to s. Level-triggered: what one worker leaves in the queue is for whoever is next.
func (w *worker) admit(s *listening, place int) syscall.Errno {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: tokenListen - int32(place)}
	return rawRegister(w.epfd, unix.EPOLL_CTL_ADD, s.fd, &ev)
}

func (w *worker) ignore(place int) {
	s := w.listening[place]
	w.listening[place] = nil
	if s.resume > 0 {
		w.paused--
	} else {
		rawRegister(w.epfd, unix.EPOLL_CTL_DEL, s.fd, &unix.EpollEvent{})
	}
}

// accept accepts a few of the connections that are in a queue.
func (w *worker) accept(place int) {
	s := w.listening[place]
	if s == nil {
		return
	}
	for range acceptTurn {
		var from unix.RawSockaddrAny
		size := uint32(unix.SizeofSockaddrAny)
		fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.fd), uintptr(unsafe.Pointer(&from)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
		switch errno {
		case 0:
			if s.pause > 0 {
				s.calm(w)
			}
			w.arrived(s, int32(fd), addrPort(&from), from.Addr.Family == unix.AF_UNIX)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		default:
			w.suspend(s, errno)
			return
		}
	}
}

// arrived gives a new connection to a handler, here or on a worker that has less to do.
func (w *worker) arrived(s *listening, fd int32, from netip.AddrPort, local bool) {
	to := w.loop.idlest()
	if w.load.Load() < to.load.Load()+uneven+to.load.Load()/8 {
		to = w
	}
	a := &Accepted{remote: from, pair: &pair{worker: to}}
	a.pair.dialling = a
	a.pair.ends[0].fd, a.pair.ends[1].fd = fd, -1
	a.pair.ends[0].unix = local
	to.load.Add(1)
	if to == w {
		w.welcome(s, a)
	} else {
		to.post(func() { to.welcome(s, a) })
	}
}

func (w *worker) welcome(s *listening, a *Accepted) {
	w.enter(a.pair)
	s.handler(a)
	if a.state == fresh {
		a.Abort()
	}
}

// suspend stops listening for a while. The connections that are there go on, and free descriptors when they end.
func (w *worker) suspend(s *listening, errno syscall.Errno) {
	rawRegister(w.epfd, unix.EPOLL_CTL_DEL, s.fd, &unix.EpollEvent{})
	s.pause = min(max(2*s.pause, acceptPauseMin), acceptPauseMax)
	s.resume = w.now + int64(s.pause)
	w.paused++
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	if s.trouble.last.IsZero() {
		w.loop.logger.Error("cannot accept connections, will keep trying", "address", listenAddress(s.fd), "error", error(errno))
	}
	s.trouble.last = time.Now()
}

// resume listens again to what has been suspended for long enough.
func (w *worker) resume() {
	for place, s := range w.listening {
		if s == nil || s.resume == 0 || s.resume > w.now {
			continue
		}
		if w.admit(s, place) != 0 { // no memory: later
			s.resume = w.now + int64(acceptPauseMax)
			continue
		}
		s.resume = 0
		w.paused--
	}
}

// calm tells when the trouble is over.
func (s *listening) calm(w *worker) {
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	switch {
	case s.trouble.last.IsZero():
		s.pause = 0
	case time.Since(s.trouble.last) > acceptCalm:
		s.trouble.last, s.pause = time.Time{}, 0
		w.loop.logger.Info("accepting again", "address", listenAddress(s.fd))
	}
}

func listenAddress(fd int32) string {
	var own unix.RawSockaddrAny
	if at := socketName(fd, &own); at.IsValid() {
		return at.String()
	}
	return "a Unix socket"
}

func socketName(fd int32, into *unix.RawSockaddrAny) netip.AddrPort {
	size := uint32(unix.SizeofSockaddrAny)
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(into)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return addrPort(into)
}

// addrPort is the address in a, or none if it is not one of IP.
func addrPort(a *unix.RawSockaddrAny) netip.AddrPort {
	switch a.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), swapped(in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
		addr := netip.AddrFrom16(in.Addr)
		if addr.Is4In6() {
			addr = addr.Unmap()
		} else if in.Scope_id != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(in.Scope_id), 10))
		}
		return netip.AddrPortFrom(addr, swapped(in.Port))
	}
	return netip.AddrPort{}
}

// swapped turns the byte order of networks into that of the machine, and back.
func swapped(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// Accepted is a connection that has been accepted and not joined yet. Its methods are called on the worker's thread only,
// by the handler and by what is called back for it; but see Cancel.
type Accepted struct {
	pair     *pair
	remote   netip.AddrPort
	state    acceptedState
	done     func(error)
	deadline int64
	target   netip.AddrPort
	failed   error // of a Dial that has failed at once

	cancelled outcome.Outcome
}

type acceptedState uint8

const (
	fresh     acceptedState = iota // nothing has been done with it yet
	dialling                       // until done has been called
	connected                      // done has been called with nil
	refused                        // done has been called with an error
	left                           // it is no business of the loop any more, or a pair
)

// Remote is the client's address; zero for a Unix socket.
func (a *Accepted) Remote() netip.AddrPort { return a.remote }

// Local is the address that the client has connected to; zero for a Unix socket.
func (a *Accepted) Local() netip.AddrPort {
	var own unix.RawSockaddrAny
	return socketName(a.pair.ends[0].fd, &own)
}

// FD is the descriptor, for socket options.
func (a *Accepted) FD() int { return int(a.pair.ends[0].fd) }

// Conn takes the connection out of the loop. It is called in place of Dial.
func (a *Accepted) Conn() (net.Conn, error) {
	if a.state != fresh {
		return nil, errors.New("taking a connection out of the event loop: it is being joined")
	}
	f := os.NewFile(uintptr(a.pair.ends[0].fd), "accepted")
	a.pair.ends[0].fd = -1
	a.leave()
	a.pair.worker.yield = true // it is for another goroutine
	defer f.Close()
	return net.FileConn(f)
}

// Abort closes the connection by reset. A Dial is given up, and its done not called.
func (a *Accepted) Abort() {
	if a.state == left {
		return
	}
	a.pair.broken = true
	a.leave()
}

// leave ends what the loop knows of a.
func (a *Accepted) leave() {
	p := a.pair
	a.state, a.done = left, nil
	p.dead = true
	p.worker.disarm(p)
	p.shut(0)
	p.shut(1)
	p.worker.leave(p)
}
