package relay

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readSize is what is read at once, and the most of a plain direction that is held while the other side does not
	// take it.
	readSize = 64 << 10
	// batch is how many events are taken at once.
	batch = 256
	// rawPatience is how long a worker waits behind the scheduler's back after the last event, in milliseconds.
	rawPatience = 10

	tokenWake   = -1
	tokenListen = -2 // and below
)

// worker is one thread with its connections. All but the fields under mu and the atomic ones belong to the thread.
type worker struct {
	loop *Loop
	epfd int
	wake int // eventfd

	mu     sync.Mutex
	posted []func()
	woken  bool

	load atomic.Int32 // pairs, with those that are on their way here

	slots     []slot
	free      []uint32
	ready     []*pair // to be looked at without an event
	running   []*pair // what ready was
	timers    []timer
	touched   []*pair // with buffers below TLS
	thrift    int64   // when these are looked at
	listening []*listening
	paused    int // of these

	now     int64
	hot     bool // the last wait found something
	yield   bool // goroutines have been started
	closing bool
	events  [batch]unix.EpollEvent
	buf     [readSize]byte
	cipher  []byte   // what tls.Conns want to send
	spare   [][]byte // buffers of holdSize
	pipes   []*pipe
}

// slot is where an event finds its pair. The generation tells events of the slot's former pairs apart.
type slot struct {
	pair       *pair
	generation int32
}

func newWorker(l *Loop) (*worker, error) {
	w := &worker{loop: l}
	var err error
	if w.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(w.epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: tokenWake}
	if errno := rawRegister(w.epfd, unix.EPOLL_CTL_ADD, int32(w.wake), &ev); errno != 0 {
		w.close()
		return nil, os.NewSyscallError("epoll_ctl", errno)
	}
	return w, nil
}

func (w *worker) close() {
	w.mu.Lock()
	unix.Close(w.epfd)
	unix.Close(w.wake)
	w.wake = -1 // pairs that have ended may still be cut
	w.mu.Unlock()
	for _, p := range w.pipes {
		p.close()
	}
}

// post has f called on the worker's thread. It may be called from any goroutine.
func (w *worker) post(f func()) {
	w.mu.Lock()
	w.posted = append(w.posted, f)
	defer w.mu.Unlock()
	if !w.woken && w.wake >= 0 {
		w.woken = true
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		unix.Write(w.wake, one[:])
	}
}

func (w *worker) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for !w.closing {
		n := w.wait()
		w.now = w.loop.now()
		for i := range n {
			w.handle(&w.events[i])
		}
		if len(w.ready) > 0 {
			w.again()
		}
		w.expire()
		w.save()
	}
}

func (w *worker) handle(ev *unix.EpollEvent) {
	switch {
	case ev.Fd >= 0:
		s := &w.slots[ev.Fd>>1]
		if s.pair != nil && s.generation == ev.Pad {
			s.pair.event(int(ev.Fd&1), ev.Events)
		}
	case ev.Fd == tokenWake:
		w.take()
	default:
		w.accept(int(tokenListen - ev.Fd))
	}
}

// wait waits for events. While there is traffic it does so without the scheduler, and keeps the P.
func (w *worker) wait() int {
	msec := w.patience()
	if !w.hot {
		n, err := unix.EpollWait(w.epfd, w.events[:], msec)
		if err != nil {
			return 0
		}
		// Not where that would leave the rest of the program without a P.
		w.hot = n > 0 && runtime.GOMAXPROCS(0) >= w.loop.procs
		return n
	}
	if w.yield {
		w.yield = false
		runtime.Gosched()
	}
	short := rawPatience
	if msec >= 0 {
		short = min(short, msec)
	}
	n, errno := rawWait(w.epfd, w.events[:], short)
	if errno == syscall.EINTR {
		runtime.Gosched() // most likely the runtime wants something from this thread
		return 0
	}
	w.hot = n > 0 || msec == 0
	return n
}

// patience is how many milliseconds there are until something has to be done; -1 is for ever.
func (w *worker) patience() int {
	if len(w.ready) > 0 {
		return 0
	}
	at := int64(-1)
	if len(w.timers) > 0 {
		at = w.timers[0].at
	}
	if len(w.touched) > 0 && (at < 0 || w.thrift < at) {
		at = w.thrift
	}
	if w.paused > 0 {
		for _, l := range w.listening {
			if l != nil && l.resume > 0 && (at < 0 || l.resume < at) {
				at = l.resume
			}
		}
	}
	if at < 0 {
		return -1
	}
	return int(min(max((at-w.now+int64(time.Millisecond)-1)/int64(time.Millisecond), 0), 1<<30))
}

// take does what has been posted.
func (w *worker) take() {
	var count [8]byte
	unix.Read(w.wake, count[:])
	w.mu.Lock()
	posted := w.posted
	w.posted, w.woken = nil, false
	w.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// again looks at the pairs that had more to do than their turn allowed.
func (w *worker) again() {
	w.running, w.ready = w.ready, w.running[:0]
	for i, p := range w.running {
		w.running[i] = nil
		p.queued = false
		if !p.dead {
			p.work()
		}
	}
}

// queue has p looked at again after the events that are in hand.
func (w *worker) queue(p *pair) {
	if !p.queued {
		p.queued = true
		w.ready = append(w.ready, p)
	}
}

// enter gives p a slot.
func (w *worker) enter(p *pair) {
	if n := len(w.free); n > 0 {
		p.slot = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		p.slot = uint32(len(w.slots))
		w.slots = append(w.slots, slot{})
	}
	w.slots[p.slot].pair = p
}

// leave takes the slot of p back.
func (w *worker) leave(p *pair) {
	s := &w.slots[p.slot]
	s.pair = nil
	s.generation++
	w.free = append(w.free, p.slot)
	w.load.Add(-1)
}
