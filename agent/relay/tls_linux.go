package relay

import (
	"crypto/tls"
	"syscall"
)

// tlsEnd is an end that speaks TLS. crypto/tls is driven without ever blocking: a read that finds too little returns
// errWait, which it takes for a passing trouble, and what it writes is gathered by the worker and sent at once.
type tlsEnd struct {
	conn *tls.Conn
	w    *worker
	end  *end
	dry  bool // the descriptor has no more now; TLS itself may
}

// waitError is a net.Error that crypto/tls does not remember.
type waitError struct{}

func (waitError) Error() string   { return "nothing to read now" }
func (waitError) Timeout() bool   { return true }
func (waitError) Temporary() bool { return true }

var errWait error = waitError{}

func (t *tlsEnd) read(b []byte) (int, error) {
	if t.dry {
		return 0, errWait
	}
	n, dry, err := receive(t.end, b)
	t.dry = dry
	return n, err
}

func (t *tlsEnd) write(b []byte) (int, error) {
	t.w.cipher = append(t.w.cipher, b...)
	return len(b), nil
}

// flushCipher sends what TLS has written for an end, and keeps what the peer does not take.
func (w *worker) flushCipher(e *end) syscall.Errno {
	b := w.cipher
	w.cipher = w.cipher[:0]
	_, errno := w.send(e, b)
	return errno
}

// flushOnce is flushCipher where it does not matter whether the peer is there.
func (w *worker) flushOnce(e *end) { w.flushCipher(e) }
