package relay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
)

// share is how many bytes one direction may move before others have their turn.
const share = 512 << 10

// begin watches a flow whose two connections stand, and moves what is there.
func (w *worker) begin(f *Flow, early []byte) {
	w.now = int64(w.clock())
	f.state = moving
	f.began = w.now
	f.active.Store(w.now)
	for i := range f.ends {
		if err := w.watch(f, i); err != nil {
			f.breaks(i, outcome.Reset, err)
			f.finish()
			return
		}
	}
	w.joined(f, early)
}

// joined starts the moving of a flow that is watched.
func (w *worker) joined(f *Flow, early []byte) {
	if f.limits != nil {
		if w.limits != nil && *w.limits == *f.limits { // as with the one before: one copy will do
			f.limits = w.limits
		}
		w.limits = f.limits
		w.lookAt(f)
		if f.state == over {
			return
		}
	}
	for i := range f.ends { // what TLS has in its buffers makes no event
		if t := f.ends[i].tls; t != nil {
			f.ends[i].readable = true
			w.loop.innards.release(t.conn) // what the handshake needed
		}
	}
	if len(early) > 0 {
		f.heard = true
		if w.put(f, 1, early) != 0 {
			w.unwritable(f, 1, unix.EPIPE)
		}
	}
	w.move(f)
}

// happened is called for every event of a flow.
func (w *worker) happened(f *Flow, i int, events uint32) {
	e := &f.ends[i]
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.readable = true
		if e.tls != nil {
			e.tls.dry = false
		}
		if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			e.hungUp = true
		}
		e.dead = e.dead || events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	}
	if f.state == dialing {
		w.dialEvent(f, i, events)
		return
	}
	if events&unix.EPOLLERR != 0 && f.ends[1-i].holds(&f.ends[i]) {
		// It was reset while the other side does not take what it has sent. There is no use in waiting for that.
		if err := socketError(e.fd); err != 0 {
			f.breaks(i, outcome.Reset, readError(f.side(i), os.NewSyscallError("read", err)))
			f.finish()
			return
		}
	}
	w.move(f)
}

// holds reports whether bytes that came in at from are waiting to be taken by e.
func (e *end) holds(from *end) bool { return e.left != nil || from.pipe != nil && from.pipe.held > 0 }

// move moves what can be moved, in both directions.
func (w *worker) move(f *Flow) {
	for i := range f.ends {
		if !w.direction(f, i) {
			f.finish()
			return
		}
	}
	// What the second direction has found may concern the first: a peer that is gone.
	if f.verdict != nil && f.broken {
		for i := range f.ends {
			if f.ends[i].readable && !f.ends[i].inEnded && !w.direction(f, i) {
				f.finish()
				return
			}
		}
	}
	if f.ends[0].inEnded && f.ends[1].inEnded && f.ends[0].left == nil && f.ends[1].left == nil {
		f.finish()
	}
}

// direction moves from one end to the other, and reports whether the flow goes on.
func (w *worker) direction(f *Flow, i int) bool {
	from, to := &f.ends[i], &f.ends[1-i]
	if !w.flush(f, i) {
		return false
	}
	moved := 0
	for from.readable && !from.inEnded && !to.holds(from) {
		if moved >= share {
			w.queue(f)
			break
		}
		if from.pipe != nil {
			n, ok := w.splice(f, i)
			moved += n
			if !ok {
				return false
			}
			continue
		}
		if from.tls != nil {
			w.touch(f)
		}
		n, err := w.get(from)
		if n > 0 {
			moved += n
			if i == 0 {
				f.heard = true
			} else if f.answered == 0 {
				f.answered = max(w.now, f.began+1)
			}
			if !to.outEnded {
				if errno := w.put(f, 1-i, w.buffer[:n]); errno != 0 {
					w.unwritable(f, 1-i, errno)
				}
			}
			w.bulk(f, i, n)
		}
		switch {
		case err == nil:
		case err == errWait:
		case err == io.EOF || err == errCutOff && to.inEnded: // see stream.moveBuffered
			if !w.inputEnded(f, i) {
				return false
			}
		default:
			f.breaks(i, classify(f.side(i), f.answered > 0, err), readError(f.side(i), err))
			return false
		}
	}
	return true
}

var errTakesNothing = errors.New("it asks for answers and does not take them")

// get reads from an end into the worker's buffer. errWait means that there is no more now, io.EOF that there never will be.
func (w *worker) get(e *end) (int, error) {
	if e.tls != nil {
		n, err := 0, error(nil)
		for err == nil && n < len(w.buffer) { // several records in one, so that they are sent with one call
			var m int
			m, err = e.tls.conn.Read(w.buffer[n:])
			n += m
		}
		if len(w.cipher) > 0 { // an answer to what came, such as an alert or a new key
			if w.flushCipher(e) == unix.ENOBUFS {
				return 0, errTakesNothing
			}
		}
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, errWait):
			e.readable = false
			return n, errWait
		case n > 0:
			return n, nil // what came before has to be taken first; a tls.Conn repeats its error
		case cutOff(e.tls.conn, err):
			return n, errCutOff
		}
		return n, err
	}
	n, dry, err := receive(e, w.buffer[:])
	e.readable = e.readable && !dry
	return n, err
}

// receive reads from the descriptor of an end. dry says that there is no more now; the next event tells when there is.
func receive(e *end, b []byte) (n int, dry bool, err error) {
	for {
		n, errno := sysRecv(e.fd, b)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return 0, true, errWait
		case errno != 0:
			return 0, false, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, false, io.EOF
		}
		return n, n < len(b) && !e.hungUp, nil
	}
}

// inputEnded passes the end of input on one side on to the other, and reports whether the flow goes on.
func (w *worker) inputEnded(f *Flow, i int) bool {
	from, to := &f.ends[i], &f.ends[1-i]
	from.inEnded = true
	if f.broken {
		return true // the other side must see a reset, not an end
	}
	if from.dead && !from.shut && isGone(from.fd) {
		// A write has met the reset before, or TLS has ended in order before the reset came, and all that was left for the
		// reader is an end that looks orderly. The other side may wait for ever for who is gone.
		f.breaks(i, outcome.Reset, readError(f.side(i), os.NewSyscallError("read", unix.ECONNRESET)))
		return false
	}
	if f.first == Neither && f.verdict == nil {
		f.first = f.side(i)
	}
	if f.limits != nil && f.limits.halfClose > 0 && !to.inEnded {
		f.active.Store(w.now)
		w.lookAt(f)
	}
	if to.outEnded {
		return true
	}
	if to.tls != nil {
		to.tls.conn.CloseWrite()
		if errno := w.flushCipher(to); errno != 0 {
			w.unwritable(f, 1-i, errno)
			return true
		}
	}
	to.outEnded = true
	if !to.inEnded || to.holds(from) || f.ends[i].left != nil { // else both are closed right away, which says the same
		w.shutIfDone(to, from)
	}
	return true
}

// shutIfDone ends the output of an end when all of it has been taken.
func (w *worker) shutIfDone(to, from *end) {
	if to.outEnded && !to.shut && !to.holds(from) && to.fd >= 0 {
		to.shut = true
		sysShutdown(to.fd)
	}
}

// unwritable notes that an end takes no more. What it had sent before may still lie here and goes through: the opposite
// direction ends by itself, because nothing more can come.
func (w *worker) unwritable(f *Flow, i int, errno syscall.Errno) {
	f.breaks(i, outcome.Reset, fmt.Errorf("writing to the %s: %w", f.side(i), os.NewSyscallError("write", errno)))
	e := &f.ends[i]
	e.outEnded, e.shut = true, true
	e.drop(w)
	e.readable = true
	// What the other one sends from now on is of no use to anybody.
	f.ends[1-i].inEnded = true
	if p := f.ends[1-i].pipe; p != nil {
		w.putPipe(p)
		f.ends[1-i].pipe = nil
	}
}

// count notes that n bytes that came in at end i have been passed on.
func (w *worker) count(f *Flow, i, n int) {
	if n > 0 {
		f.meter.add(f.side(i), int64(n))
		f.active.Store(w.now)
	}
}

func tcpState(fd int32) *unix.TCPInfo {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return nil
	}
	return info
}

// isGone and ackedBy are gone and taken for a descriptor.
func isGone(fd int32) bool {
	info := tcpState(fd)
	return info != nil && info.State == tcpClose
}

func ackedBy(fd int32) uint64 {
	if info := tcpState(fd); info != nil {
		return info.Bytes_acked
	}
	return 0
}

func socketError(fd int32) syscall.Errno {
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return syscall.Errno(n)
}

func readError(side Side, err error) error { return fmt.Errorf("reading from the %s: %w", side, err) }
