package relay

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	holdSize  = 80 << 10 // of a buffer that is kept for later: a full read and what TLS adds to it
	holdSmall = 8 << 10  // less than that is not worth a buffer of that size
	holdSpare = 16       // buffers kept for later
	holdMost  = 4 * holdSize
)

// outflow is what an end has not taken yet. There is one only while it does not keep up.
type outflow struct {
	data []byte
	sent int   // of data
	pipe *pipe // with bytes from the other end, if there is no data
}

// send sends b to end i, and keeps what it does not take. False means that the end is lost.
func (j *pair) send(i int, b []byte) bool {
	e := &j.ends[i]
	for e.out == nil {
		n, errno := rawSend(e.fd, b)
		if n > 0 {
			j.sent(i, n)
		}
		if n == len(b) {
			return true
		}
		b = b[n:]
		if errno == unix.EAGAIN {
			j.block(i)
			e.out = &outflow{data: j.worker.buffer(len(b))}
		} else if errno != 0 {
			j.lost(i, os.NewSyscallError("write", errno))
			return false
		}
	}
	e.out.data = append(e.out.data, b...)
	return true
}

// sent counts what end i has taken. Under TLS that is not what the other end has sent.
func (j *pair) sent(i, n int) {
	if j.ends[i].tls == nil {
		j.moved(1-i, n)
	} else {
		j.active.Store(j.worker.now)
	}
}

// flush sends what is kept for end i. False means that not all has been taken, or that the end is lost.
func (j *pair) flush(i int) bool {
	e := &j.ends[i]
	o := e.out
	for !e.blocked {
		if o.pipe != nil {
			if !j.empty(i, o.pipe) {
				return false
			}
			j.worker.release(o.pipe)
			e.out = nil
			return true
		}
		n, errno := rawSend(e.fd, o.data[o.sent:])
		switch {
		case errno == unix.EAGAIN:
			j.block(i)
			continue
		case errno != 0:
			j.lost(i, os.NewSyscallError("write", errno))
			return false
		}
		j.sent(i, n)
		if o.sent += n; o.sent == len(o.data) {
			j.worker.drop(e)
			return true
		}
	}
	return false
}

// buffer is an empty buffer for n bytes.
func (w *worker) buffer(n int) []byte {
	if n <= holdSmall {
		return make([]byte, 0, n)
	}
	if last := len(w.spare) - 1; last >= 0 && n <= holdSize {
		b := w.spare[last]
		w.spare[last] = nil
		w.spare = w.spare[:last]
		return b
	}
	return make([]byte, 0, max(n, holdSize))
}

// drop gives up what is kept for e.
func (w *worker) drop(e *end) {
	o := e.out
	e.out = nil
	if o.pipe != nil {
		w.release(o.pipe)
	}
	if cap(o.data) == holdSize && len(w.spare) < holdSpare {
		w.spare = append(w.spare, o.data[:0])
	}
}
