package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"argosy/agent/outcome"
)

const (
	// bufferSize is what one direction may hold while the other side does not take it.
	bufferSize = 32 << 10
	// bulkAfter is how many full buffers in a row make a transfer a bulk one.
	bulkAfter = 4
	// spliceChunk is what the kernel moves before the bytes are counted.
	spliceChunk = 1 << 20
	// spliceQuiet is how long a bulk transfer may pause before it is moved by buffers again. A paused transfer would
	// otherwise keep a pipe, and its bytes would not be counted.
	spliceQuiet = time.Second
)

type buffer [bufferSize]byte

// stream is one direction of a pair.
type stream struct {
	j        *joined
	from, to net.Conn
	side     Side // of from
	early    []byte
}

// errWrite marks what went wrong on the receiving side.
type errWrite struct{ error }

func (s *stream) other() Side { return Client + Server - s.side }

// run moves bytes until the input ends or something breaks.
func (s *stream) run() {
	err := s.move()
	if err == nil && gone(s.from) && !s.j.ending[s.side].Load() { // in this order: we may be ending it just now
		// The opposite direction has met the reset while writing; all that is left for the reader is an end that
		// looks orderly. A connection that we have not ended ourselves cannot be over after an orderly end.
		err = syscall.ECONNRESET
	}
	var write errWrite
	switch {
	case s.j.over.Load():
		// Stopped: the result has been decided by who did it.
	case err == nil:
		if s.j.isBroken() {
			return // the other side must see a reset, not an end
		}
		s.j.closed(s.side)
		s.j.ending[s.other()].Store(true)
		switch err := closeWrite(s.to); {
		case errors.Is(err, errors.ErrUnsupported):
			s.j.stop()
		case errors.Is(err, syscall.ECONNRESET):
			s.j.breaks(s.other(), outcome.Reset, fmt.Errorf("passing the end on to the %s: %w", s.other(), err))
		}
		// Any other error is a peer that has closed both directions before, which is no harm to it.
	case errors.As(err, &write):
		// The receiver is gone. What it had sent before may still lie here and goes through: the opposite direction
		// ends by itself, because nothing more can come.
		s.j.breaks(s.other(), outcome.Reset, fmt.Errorf("writing to the %s: %w", s.other(), write.error))
	default:
		s.j.breaks(s.side, classify(s.side, s.j.answered.Load() > 0, err), fmt.Errorf("reading from the %s: %w", s.side, err))
		s.j.stop()
	}
}

// classify turns a failed read on a side into an outcome; answered says whether the server has sent anything.
func classify(side Side, answered bool, err error) outcome.Outcome {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "local error" { // an alert that we have sent, in the words of crypto/tls
		return outcome.TLS
	}
	if op != nil && op.Op == "remote error" { // one that we have got
		if _, refused := outcome.Refusal(err); refused && side == Server && !answered {
			return outcome.Denied
		}
		return outcome.TLS
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return outcome.TLS
	}
	return outcome.Reset
}

// denies reports whether a refusal by the server goes before what has been found out already: its first sign is often that
// it takes no more bytes, and the alert that says why is read after that.
func denies(known outcome.Outcome, first Side, found outcome.Outcome) bool {
	return found == outcome.Denied && known == outcome.Reset && first == Server
}

func (s *stream) move() error {
	if len(s.early) > 0 {
		if err := s.write(s.early); err != nil {
			return err
		}
		s.early = nil
	}
	if raw := newRawReader(s.from); raw != nil {
		return s.moveRaw(raw)
	}
	return s.moveBuffered()
}

// write passes b on and counts it.
func (s *stream) write(b []byte) error {
	s.j.busy.Add(1)
	n, err := s.to.Write(b)
	s.j.busy.Add(-1)
	s.j.moved(s.side, int64(n))
	if err != nil {
		s.j.torn[s.other()].Store(true)
		return errWrite{err}
	}
	return nil
}

// moveRaw moves bytes from a plain connection. It takes a buffer only when there is something to put into it, and hands
// bulk transfers to the kernel.
func (s *stream) moveRaw(raw *rawReader) error {
	from, to, spliceable := splicable(s.from, s.to)
	full := 0
	for {
		b, n, err := raw.read(&s.j.relay.buffers)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		s.j.came(s.side)
		err = s.write(b[:n])
		s.j.relay.buffers.Put(b)
		if err != nil {
			return err
		}
		if n < bufferSize {
			full = 0
			continue
		}
		if full++; full >= bulkAfter && spliceable {
			full = 0
			if err := s.splice(from, to); err != nil {
				return err
			}
		}
	}
}

// splice lets the kernel move bytes until the input pauses or ends. The end is left for the next read to find.
func (s *stream) splice(from, to *net.TCPConn) error {
	s.j.busy.Add(1)
	defer s.j.busy.Add(-1)
	quiet := spliceQuiet
	if idle := s.j.pair.Idle; idle > 0 {
		quiet = min(quiet, idle/2)
	}
	for {
		if err := s.j.readDeadline(from, time.Now().Add(quiet)); err != nil {
			return err
		}
		n, err := to.ReadFrom(&io.LimitedReader{R: from, N: spliceChunk})
		s.j.moved(s.side, n)
		if err == nil && n == spliceChunk {
			continue
		}
		if err == nil || isTimeout(err) && !s.j.over.Load() {
			return s.j.readDeadline(from, time.Time{})
		}
		// One error for two connections: the kernel knows which of them is gone.
		if !gone(from) && gone(to) {
			return errWrite{err}
		}
		return err
	}
}

// moveBuffered moves bytes from a connection that can only be asked by reading, as under TLS. It waits with a small
// buffer and takes a large one while much comes.
func (s *stream) moveBuffered() error {
	small := make([]byte, 512)
	var large *buffer
	defer func() {
		if large != nil {
			s.j.relay.buffers.Put(large)
		}
	}()
	for {
		b := small
		if large != nil {
			b = large[:]
		}
		n, err := s.from.Read(b)
		if n > 0 {
			s.j.came(s.side)
			if err := s.write(b[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case !cutOff(s.from, err):
			if err == io.EOF {
				return nil
			}
			return err
		case s.j.half.Load() > 0:
			// The other side has ended before: to answer that by closing without a word is a common bad habit, and
			// there is nobody left to be deceived.
			return nil
		default:
			return errCutOff
		}
		switch {
		case large == nil && n == len(small):
			large = s.j.relay.buffers.Get().(*buffer)
		case large != nil && n <= len(small):
			s.j.relay.buffers.Put(large)
			large = nil
		}
	}
}

// errCutOff is an end that was not announced by close_notify. Anybody on the way can make one, so it must not look like an
// orderly end on the other side (RFC 8446, section 6.1).
var errCutOff = errors.New("cut off: TLS has ended without close_notify")

// cutOff reports whether err, from reading c, is the end of the connection below TLS and not that of TLS.
func cutOff(c net.Conn, err error) bool {
	t, ok := c.(*tls.Conn)
	if !ok {
		return false
	}
	if err == io.EOF { // crypto/tls says so in both cases
		carrier, ok := t.NetConn().(*Carrier)
		return ok && carrier.ended.Load()
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
