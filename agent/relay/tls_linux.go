package relay

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// receive is what a tls.Conn reads with.
func (c *Carrier) receive(b []byte) (int, error) {
	e := c.end
	if !e.raw {
		return 0, errWouldBlock{}
	}
	n, errno := rawRead(e.fd, b)
	switch {
	case errno == unix.EAGAIN:
		e.raw = false
		return 0, errWouldBlock{}
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	if n < len(b) && !e.hup {
		e.raw = false
	}
	return n, nil
}

// queue is what a tls.Conn writes with. The worker sends when the tls.Conn has returned.
func (c *Carrier) queue(b []byte) (int, error) {
	w := c.pair.worker
	if o := c.end.out; o != nil && len(o.data)+len(w.cipher)+len(b) > holdMost {
		return 0, errTakesNothing
	}
	w.cipher = append(w.cipher, b...)
	return len(b), nil
}

// deliver sends what the tls.Conn of end i has queued. False means that the end is lost.
func (j *pair) deliver(i int) bool {
	b := j.worker.cipher
	if len(b) == 0 {
		return true
	}
	j.worker.cipher = b[:0]
	return j.send(i, b)
}

// readTLS moves what the tls.Conn of end i has. False means that there is nothing to go on with.
func (j *pair) readTLS(i int) (int, bool) {
	from, buf := &j.ends[i], j.worker.buf[:]
	j.worker.touch(j)
	n := 0
	var err error
	for err == nil && n < len(buf) {
		var m int
		m, err = from.tls.conn.Read(buf[n:])
		n += m
	}
	if !j.deliver(i) { // alerts, and answers to updates of keys
		return n, false
	}
	if n > 0 && !j.pass(i, buf[:n]) {
		return n, false
	}
	// A peer that closes without close_notify counts as one that ends: see stream.moveBuffered.
	switch {
	case err == nil:
	case errors.Is(err, errWouldBlock{}):
		from.readable = false
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		from.eof = true
	case j.ends[1-i].out != nil:
		// What came before has to be taken first. A tls.Conn repeats its error.
	default:
		j.readFailed(i, err)
		return n, false
	}
	return n, true
}
