package relay

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bulkAfterFull is how many full buffers in a row make one direction a bulk one, which is spliced.
const bulkAfterFull = 4

// chunk is what a peer has not taken yet.
type chunk struct {
	data  []byte // of room
	room  []byte
	taken uint64 // by the peer when its time was last up
}

func (w *worker) getChunk() *chunk {
	if n := len(w.chunks); n > 0 {
		c := w.chunks[n-1]
		w.chunks = w.chunks[:n-1]
		return c
	}
	return &chunk{room: make([]byte, 0, readSize+4<<10)} // a buffer as it is read, or as TLS makes it
}

func (w *worker) putChunk(c *chunk) {
	c.data, c.taken = nil, 0
	if len(w.chunks) < pipesPooled && cap(c.room) <= 2*readSize {
		w.chunks = append(w.chunks, c)
	}
}

// put sends b, which came in at the other end, to end i. What the peer does not take is kept.
func (w *worker) put(f *Flow, i int, b []byte) syscall.Errno {
	e := &f.ends[i]
	if e.tls != nil {
		_, err := e.tls.conn.Write(b)
		if errno := w.flushCipher(e); errno != 0 {
			return errno
		}
		if err != nil { // it has ended before
			return unix.EPIPE
		}
		w.count(f, 1-i, len(b))
		return 0
	}
	n, errno := w.send(e, b)
	w.count(f, 1-i, n)
	return errno
}

// leftMost is the most that is kept for an end. Only answers of TLS itself come while something is kept, and a peer that
// asks for them and does not take them has no end of it.
const leftMost = 256 << 10

// send sends bytes to the descriptor of an end after those that are left, and keeps what the peer does not take.
func (w *worker) send(e *end, b []byte) (sent int, errno syscall.Errno) {
	for e.left == nil && len(b) > 0 {
		n, errno := sysSend(e.fd, b)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return sent, errno
		}
		sent += n
		b = b[n:]
	}
	if len(b) == 0 {
		return sent, 0
	}
	if e.left == nil {
		e.left = w.getChunk()
		e.left.data = append(e.left.room[:0], b...)
	} else if len(e.left.data)+len(b) > leftMost {
		return sent, unix.ENOBUFS
	} else {
		e.left.data = append(e.left.data, b...)
	}
	return sent, 0
}

// flush sends what is left of what came in at end i, and reports whether the flow goes on.
func (w *worker) flush(f *Flow, i int) bool {
	from, to := &f.ends[i], &f.ends[1-i]
	for to.left != nil {
		n, errno := sysSend(to.fd, to.left.data)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return true
		case errno != 0:
			w.unwritable(f, 1-i, errno)
			return true
		}
		if to.tls == nil {
			w.count(f, i, n)
		} else {
			f.active.Store(w.now)
		}
		if to.left.data = to.left.data[n:]; len(to.left.data) == 0 {
			w.putChunk(to.left)
			to.left = nil
		}
	}
	if from.pipe != nil && from.pipe.held > 0 {
		w.spill(f, i)
	}
	w.shutIfDone(to, from)
	return true
}

// bulk notes that n bytes came in at end i at once, and hands a direction that has shown itself to be a bulk one to the
// kernel.
func (w *worker) bulk(f *Flow, i, n int) {
	from, to := &f.ends[i], &f.ends[1-i]
	if n < readSize || from.tls != nil || to.tls != nil {
		from.full = 0
		return
	}
	if from.full++; from.full < bulkAfterFull || to.holds(from) || to.outEnded {
		return
	}
	from.full = 0
	if from.pipe = w.getPipe(); from.pipe != nil && !f.piped {
		from.pipe.used = w.now
		if len(w.piped) == 0 {
			w.swept = w.now
		}
		f.piped = true
		w.piped = append(w.piped, f)
	}
}

// pipe carries bytes inside the kernel.
type pipe struct {
	r, w  int32
	held  int
	used  int64
	taken uint64 // by the peer when its time was last up
}

const pipeSize = 1 << 20

// getPipe returns an empty pipe, or nil where there are no descriptors left.
func (w *worker) getPipe() *pipe {
	if n := len(w.pipes); n > 0 {
		p := w.pipes[n-1]
		w.pipes = w.pipes[:n-1]
		return p
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // or as large as the system allows
	return &pipe{r: int32(fds[0]), w: int32(fds[1])}
}

func (w *worker) putPipe(p *pipe) {
	if p.held == 0 && len(w.pipes) < pipesPooled {
		w.pipes = append(w.pipes, p)
		return
	}
	sysClose(p.r)
	sysClose(p.w)
}

// splice moves what has come in at end i through its pipe, and reports whether the flow goes on.
func (w *worker) splice(f *Flow, i int) (int, bool) {
	from := &f.ends[i]
	n, errno := sysSplice(from.fd, from.pipe.w, pipeSize)
	switch {
	case errno == unix.EINTR:
		return 0, true
	case errno == unix.EAGAIN:
		from.readable = false
		return 0, true
	case errno == unix.EINVAL || errno == unix.ENOMEM:
		w.putPipe(from.pipe)
		from.pipe = nil
		return 0, true
	case errno != 0:
		f.breaks(i, classify(f.side(i), true, errno), readError(f.side(i), os.NewSyscallError("splice", errno)))
		return 0, false
	case n == 0:
		w.putPipe(from.pipe)
		from.pipe = nil
		return 0, w.inputEnded(f, i)
	}
	from.pipe.held, from.pipe.used = n, w.now
	w.spill(f, i)
	return n, true
}

// spill moves what the pipe of end i holds on.
func (w *worker) spill(f *Flow, i int) {
	p, to := f.ends[i].pipe, &f.ends[1-i]
	for p.held > 0 {
		n, errno := sysSplice(p.r, to.fd, p.held)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			w.unwritable(f, 1-i, errno)
			return
		default:
			p.held -= n
			w.count(f, i, n)
		}
	}
}

// sweep takes the pipes of those that have paused.
func (w *worker) sweep() {
	w.swept = w.now
	kept := w.piped[:0]
	for _, f := range w.piped {
		holds := false
		for i := range f.ends {
			e := &f.ends[i]
			if e.pipe != nil && e.pipe.held == 0 && e.pipe.used+int64(pipeQuiet) <= w.now {
				w.putPipe(e.pipe)
				e.pipe = nil
			}
			holds = holds || e.pipe != nil
		}
		if f.piped = holds; holds {
			kept = append(kept, f)
		}
	}
	clear(w.piped[len(kept):])
	w.piped = kept
	if len(w.piped) == 0 { // nothing is in bulk any more
		w.closePipes()
		w.chunks = nil
	}
}

func (w *worker) closePipes() {
	for _, p := range w.pipes {
		sysClose(p.r)
		sysClose(p.w)
	}
	w.pipes = w.pipes[:0]
}
