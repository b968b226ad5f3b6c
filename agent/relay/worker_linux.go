package relay

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readSize is what is read at a time: one buffer for all connections of a worker.
	readSize = 64 << 10
	// eventBatch is how many events are taken at a time.
	eventBatch = 256
	// polls is how often a worker looks for events, giving way to other threads in between, before it waits. With traffic on a
	// busy machine that finds more events at a time, and most waits and wake-ups are saved.
	polls = 3
	// rawWait is for how many milliseconds a worker keeps its P while it waits. When that has found nothing it waits the
	// scheduler's way.
	rawWait = 1

	watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

// What the 32 bits of an event's data mean: a kind, and a number of that kind.
const (
	kindFlow    = 0 << 30 // slot*2 + end
	kindSocket  = 1 << 30 // a listening socket
	kindWake    = 2 << 30
	kindMask    = 3 << 30
	pipeQuiet   = time.Second
	pipesPooled = 16
)

// worker is one thread of the loop.
type worker struct {
	loop   *Loop
	epoll  int
	wake   int // eventfd
	start  time.Time
	ended  chan struct{}
	ending bool
	load   atomic.Int32 // flows, with those that are on their way here

	events [eventBatch]event
	buffer [readSize]byte
	cipher []byte  // what TLS wants to send, before it is sent
	now    int64   // the clock, read after each wait
	flows  []*Flow // by slot; the first is never used
	free   []int32 // slots
	freed  []int32 // slots that may be used again after this batch
	ready  []*Flow // have more to do than their share of a turn
	timers timers
	limits *limits // of the newest flow
	chunks []*chunk
	pipes  []*pipe
	piped  []*Flow // may hold pipes
	swept  int64   // when piped was looked through
	served []*socket

	touched []*Flow // may hold buffers below TLS
	thrift  int64   // when touched is looked through

	mu     sync.Mutex
	posted []func()
	closed bool // there is nobody to call what is posted
}

func newWorker(l *Loop) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	w := &worker{loop: l, epoll: epoll, wake: wake, start: time.Now(), ended: make(chan struct{}), flows: make([]*Flow, 1)}
	if e := w.control(unix.EPOLL_CTL_ADD, int32(wake), unix.EPOLLIN, kindWake); e != 0 {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, os.NewSyscallError("epoll_ctl", e)
	}
	go w.run()
	return w, nil
}

func (w *worker) clock() time.Duration { return time.Since(w.start) }

// post has the worker call do on its thread, soon. It may be called from any goroutine. After the worker's end it does
// nothing: whatever it was about is over.
func (w *worker) post(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.posted = append(w.posted, do)
	if len(w.posted) == 1 {
		one := [8]byte{1} // in either order of bytes not 0
		unix.Write(w.wake, one[:])
	}
}

func (w *worker) run() {
	defer close(w.ended)
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	defer func() {
		w.closePipes()
		w.mu.Lock() // nobody writes to a descriptor that may be another's from now on
		defer w.mu.Unlock()
		w.closed = true
		unix.Close(w.epoll)
		unix.Close(w.wake)
	}()
	idle := false
	for !w.ending {
		var n int
		n, idle = w.wait(idle)
		w.now = int64(w.clock())
		for i := range n {
			w.handle(&w.events[i])
		}
		w.again()
		w.expire()
		w.save()
		w.free = append(w.free, w.freed...)
		w.freed = w.freed[:0]
	}
}

// wait returns how many events there are, and whether the next wait is to be the scheduler's.
func (w *worker) wait(idle bool) (n int, quiet bool) {
	patience := w.patience()
	if patience == 0 {
		n, _ := w.waitRaw(0)
		return max(n, 0), false
	}
	if !idle {
		for range polls {
			if n, _ := w.waitRaw(0); n > 0 {
				return n, false
			}
			sysYield()
		}
		n, errno := w.waitRaw(rawWait)
		switch {
		case errno == 0:
			return n, n == 0
		case errno == unix.EINTR: // the collector wants us to stop for a moment
			runtime.Gosched()
		}
		return 0, false
	}
	n, err := unix.EpollWait(w.epoll, w.events[:], patience)
	if err != nil {
		return 0, true
	}
	return n, n == 0
}

// patience is for how many milliseconds the worker may wait; -1 is for ever.
func (w *worker) patience() int {
	if len(w.ready) > 0 {
		return 0
	}
	due := int64(-1)
	if len(w.timers) > 0 {
		due = w.timers[0].due
	}
	if len(w.piped) > 0 && (due < 0 || w.swept+int64(pipeQuiet) < due) {
		due = w.swept + int64(pipeQuiet)
	}
	if len(w.touched) > 0 && (due < 0 || w.thrift < due) {
		due = w.thrift
	}
	for _, s := range w.served {
		if s != nil && s.paused > 0 && (due < 0 || s.paused < due) {
			due = s.paused
		}
	}
	if due < 0 {
		return -1
	}
	left := time.Duration(due) - w.clock()
	if left <= 0 {
		return 0
	}
	return int((min(left, time.Hour) + time.Millisecond - 1) / time.Millisecond)
}

func (w *worker) handle(e *event) {
	data := uint32(e.Fd)
	number := data &^ kindMask
	switch data & kindMask {
	case kindWake:
		w.runPosted()
	case kindSocket:
		w.accept(w.served[number])
	default:
		if f := w.flows[number/2]; f != nil { // nil: it has ended in this batch
			w.happened(f, int(number%2), e.Events)
		}
	}
}

func (w *worker) runPosted() {
	var count [8]byte
	unix.Read(w.wake, count[:])
	w.mu.Lock()
	posted := w.posted
	w.posted = nil
	w.mu.Unlock()
	for _, do := range posted {
		do()
	}
}

// again gives those that had more to do than their share another one.
func (w *worker) again() {
	n := len(w.ready)
	for _, f := range w.ready[:n] {
		f.queued = false
		if f.state == moving {
			w.move(f)
		}
	}
	w.ready = append(w.ready[:0], w.ready[n:]...)
}

// queue has the flow moved again after the others.
func (w *worker) queue(f *Flow) {
	if !f.queued {
		f.queued = true
		w.ready = append(w.ready, f)
	}
}

// watch registers one end of a flow.
func (w *worker) watch(f *Flow, i int) error {
	if f.slot == 0 {
		if n := len(w.free); n > 0 {
			f.slot, w.free = w.free[n-1], w.free[:n-1]
			w.flows[f.slot] = f
		} else {
			f.slot = int32(len(w.flows))
			w.flows = append(w.flows, f)
		}
	}
	if e := w.control(unix.EPOLL_CTL_ADD, f.ends[i].fd, watched, kindFlow|uint32(f.slot)*2+uint32(i)); e != 0 {
		return fmt.Errorf("epoll_ctl: %w", syscall.Errno(e))
	}
	return nil
}

// unwatch ends the watching of the client, without closing it.
func (w *worker) unwatch(f *Flow) {
	w.disarm(f)
	if f.slot == 0 {
		return
	}
	w.control(unix.EPOLL_CTL_DEL, f.ends[0].fd, 0, 0)
	w.release(f)
}

// release gives the flow's slot back. Events of this batch may still mean it.
func (w *worker) release(f *Flow) {
	if f.slot != 0 {
		w.flows[f.slot] = nil
		w.freed = append(w.freed, f.slot)
		f.slot = 0
	}
}
