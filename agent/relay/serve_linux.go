package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

const (
	// acceptBatch is how many connections are accepted before other events have their turn.
	acceptBatch = 8
	// uneven, and an eighth, is how many flows more than another worker one may have before it gives new ones away.
	uneven = 2
	// When there are no descriptors left, accepting pauses: the connections there are go on and free some.
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	acceptCalm     = 3 * acceptPauseMax
)

// Handler is called with every accepted connection, on the thread of a worker: it must not block. from is not valid for a
// Unix socket.
type Handler func(f *Flow, from netip.AddrPort)

// socket is a listening socket as one worker sees it.
type socket struct {
	fd      int32
	number  uint32
	handle  Handler
	paused  int64 // until when; 0: it is not
	pause   time.Duration
	trouble *trouble
}

// trouble is what the workers of a listening socket know of errors, so that one of them tells for all.
type trouble struct {
	mu   sync.Mutex
	last time.Time // zero: there is none
}

// began notes an error, and reports whether it is the first.
func (t *trouble) began() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.last.IsZero()
	t.last = time.Now()
	return first
}

// ended reports whether there has been none for long enough now, and whether this is the first to notice.
func (t *trouble) ended() (calm, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.IsZero() {
		return true, false
	}
	if time.Since(t.last) <= acceptCalm {
		return false, false
	}
	t.last = time.Time{}
	return true, true
}

// Serve accepts connections from a listening socket, which must not block and stays the caller's. After stop has returned
// the handler is not called any more.
func (l *Loop) Serve(fd int, h Handler) (stop func(), err error) {
	sockets := make([]*socket, len(l.workers))
	stop = func() {
		l.onEach(func(i int, w *worker) {
			if s := sockets[i]; s != nil {
				w.control(unix.EPOLL_CTL_DEL, s.fd, 0, 0)
				w.served[s.number] = nil
			}
		})
		l.onEach(func(int, *worker) {}) // what one has given to another before
	}
	var mu sync.Mutex
	t := &trouble{}
	l.onEach(func(i int, w *worker) {
		s := &socket{fd: int32(fd), handle: h, trouble: t}
		for s.number = 0; int(s.number) < len(w.served) && w.served[s.number] != nil; s.number++ {
		}
		if int(s.number) == len(w.served) {
			w.served = append(w.served, nil)
		}
		if e := w.listen(s); e != 0 {
			mu.Lock()
			err = fmt.Errorf("accepting on the event loop: %w", os.NewSyscallError("epoll_ctl", e))
			mu.Unlock()
			return
		}
		w.served[s.number] = s
		sockets[i] = s
	})
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// onEach has every worker call do, and waits.
func (l *Loop) onEach(do func(i int, w *worker)) {
	var waiting sync.WaitGroup
	for i, w := range l.workers {
		waiting.Add(1)
		w.post(func() {
			defer waiting.Done()
			do(i, w)
		})
	}
	waiting.Wait()
}

func (w *worker) listen(s *socket) syscall.Errno {
	return w.control(unix.EPOLL_CTL_ADD, s.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, kindSocket|s.number)
}

// place hands a new connection to the handler, here or, where the kernel has woken this worker much more often than another,
// over there.
func (w *worker) place(s *socket, fd int32, from netip.AddrPort) {
	to := w.loop.idlest()
	if other := to.load.Load(); w.load.Load() < other+other/8+uneven {
		to = w
	}
	f := newFlow(to)
	f.ends[0].fd = fd
	if to == w {
		s.handle(f, from)
	} else {
		to.post(func() { s.handle(f, from) })
	}
}

// idlest is the worker with the fewest flows.
func (l *Loop) idlest() *worker {
	best := l.workers[0]
	for _, w := range l.workers[1:] {
		if w.load.Load() < best.load.Load() {
			best = w
		}
	}
	return best
}

func (w *worker) accept(s *socket) {
	if s == nil || s.paused > 0 {
		return
	}
	for range acceptBatch {
		fd, from, errno := sysAccept(s.fd)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO:
			continue
		default:
			w.holdOff(s, errno)
			return
		}
		if s.pause > 0 {
			calm, first := s.trouble.ended()
			if first {
				w.loop.logger.Info("accepting again")
			}
			if calm {
				s.pause = 0
			}
		}
		w.place(s, fd, from)
		if w.served[s.number] != s { // the handler has had it stopped
			return
		}
	}
}

// holdOff pauses the accepting. Most likely there are no file descriptors left.
func (w *worker) holdOff(s *socket, errno syscall.Errno) {
	if s.trouble.began() {
		w.loop.logger.Error("cannot accept connections, will keep trying", "error", errno)
	}
	s.pause = min(max(2*s.pause, acceptPauseMin), acceptPauseMax)
	s.paused = w.now + int64(s.pause)
	w.control(unix.EPOLL_CTL_DEL, s.fd, 0, 0)
}

func (w *worker) resume(s *socket) {
	s.paused = 0
	if e := w.listen(s); e != 0 {
		s.paused = w.now + int64(acceptPauseMax)
	}
}

// dialling is what a flow needs while its server is being connected.
type dialling struct{ done func(error) }

// ErrClientGone means that the client has reset its connection while its server was being connected.
var ErrClientGone = errors.New("the client is gone")

// Dial connects the flow's server. setup, where not nil, is called with the socket before that. done is called once, on the
// worker's thread and possibly before Dial returns; after an error Dial may be called again, but for ErrClientGone.
func (f *Flow) Dial(to netip.AddrPort, setup func(fd int) error, timeout time.Duration, done func(error)) {
	w := f.w
	f.dialling = &dialling{done}
	if f.state == fresh {
		if err := w.watch(f, 0); err != nil {
			f.dialled(err)
			return
		}
	}
	f.state = dialing
	family := unix.AF_INET6
	if to.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, errno := sysSocket(family)
	if errno != 0 {
		f.dialled(os.NewSyscallError("socket", errno))
		return
	}
	f.ends[1] = end{fd: fd}
	if setup != nil {
		if err := setup(int(fd)); err != nil {
			f.dialled(err)
			return
		}
	}
	if errno := sysConnect(fd, to); errno != 0 && errno != unix.EINPROGRESS {
		f.dialled(os.NewSyscallError("connect", errno))
		return
	}
	if err := w.watch(f, 1); err != nil {
		f.dialled(err)
		return
	}
	w.arm(f, int64(w.clock()+max(timeout, time.Millisecond)))
}

// dialled ends the dialling.
func (f *Flow) dialled(err error) {
	d := f.dialling
	if d == nil {
		return
	}
	f.dialling = nil
	f.w.disarm(f)
	if e := &f.ends[1]; err != nil && e.fd >= 0 {
		sysReset(e.fd) // the server may have accepted it already, and is not to take that for a client that has ended
		*e = end{fd: -1}
	}
	d.done(err)
}

// Send gives the server that Dial has connected bytes of our own, ahead of the client's; they count nowhere. It is for the
// few that a new socket takes at once: where it does not take all, the dialling has failed, and Dial may be called again.
func (f *Flow) Send(b []byte) error {
	e := &f.ends[1]
	n, errno := sysSend(e.fd, b)
	if errno == 0 && n == len(b) {
		return nil
	}
	sysClose(e.fd)
	*e = end{fd: -1}
	if errno == 0 {
		return io.ErrShortWrite
	}
	return os.NewSyscallError("send", errno)
}

// dialEvent is an event of a flow that has no server yet.
func (w *worker) dialEvent(f *Flow, i int, events uint32) {
	broken := events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
	switch {
	case i == 0 && broken:
		f.dialled(outcome.Wrap(outcome.Reset, ErrClientGone))
	case i == 1 && broken:
		errno := socketError(f.ends[1].fd)
		if errno == 0 {
			errno = unix.ECONNRESET
		}
		f.dialled(os.NewSyscallError("connect", errno))
	case i == 1 && events&unix.EPOLLOUT != 0:
		f.dialled(nil)
	}
}

func (w *worker) dialTimeout(f *Flow) { f.dialled(os.ErrDeadlineExceeded) }

// Cancel ends the dialling with an error. It may be called from any goroutine.
func (f *Flow) Cancel(err error) { f.w.post(func() { f.dialled(err) }) }

// Join moves bytes between the client and the server that Dial has connected. p's connections are nil. The rest is as with
// Relay.
func (f *Flow) Join(p Pair, done func(Result)) Link {
	w := f.w
	f.done = done
	f.settle(&p)
	w.loop.running.Add(1)
	f.state = moving
	w.now = int64(w.clock())
	f.began = w.now
	f.active.Store(w.now)
	w.joined(f, p.Early)
	return f
}

// localOf is our address of a socket.
func localOf(fd int32) netip.AddrPort {
	var a syscall.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(a))
	if _, _, e := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return netip.AddrPort{}
	}
	return addrOf(&a)
}

// connOf makes an ordinary connection of a descriptor, which it closes.
func connOf(fd int32) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "accepted")
	defer file.Close()
	return net.FileConn(file)
}
