package suite

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// patternSize is a prime, so that bytes which are displaced by any block that a proxy may use are seen to be.
const patternSize = 1<<20 + 7

// conn is one end of a connection through the proxy. What is sent on it is a piece of the suite's pattern that goes on
// for ever, and begins elsewhere for each end of each connection: the other end knows at each byte what has to come.
type conn struct {
	net.Conn          // TLS, or raw itself
	raw      net.Conn // the socket
	side     string   // for messages
	lax      *bool    // what comes from the proxy ends without close_notify even in order
	pattern  []byte
	out, in  int64 // where in the pattern the next byte to be sent, and to be received, is
	sent     atomic.Int64
	received int64
}

// watched is the socket under TLS. Go's TLS takes an end without close_notify for an orderly one when it comes between two
// records, so that one has to look whether the socket ended first.
type watched struct {
	net.Conn
	ended atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		w.ended.Store(true)
	}
	return n, err
}

// send writes the next n bytes.
func (c *conn) send(n int64) error {
	for n > 0 {
		piece := c.pattern[c.out%patternSize:]
		piece = piece[:min(int64(len(piece)), n, 64<<10)]
		wrote, err := c.Write(piece)
		c.out, n = c.out+int64(wrote), n-int64(wrote)
		c.sent.Add(int64(wrote))
		if err != nil {
			return fmt.Errorf("the %s could not send: %w", c.side, plainly(err))
		}
	}
	return nil
}

// read reads once and compares.
func (c *conn) read(buffer []byte) (int, error) {
	n, err := c.Read(buffer)
	for got := buffer[:n]; len(got) > 0; {
		want := c.pattern[c.in%patternSize:]
		want = want[:min(len(want), len(got))]
		if !bytes.Equal(got[:len(want)], want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return n, corrupt(fmt.Sprintf("byte %d that the %s got is not what was sent", c.received+int64(i)+1, c.side))
		}
		c.in, c.received, got = c.in+int64(len(want)), c.received+int64(len(want)), got[len(want):]
	}
	return n, err
}

// corrupt is the error for bytes that are not those that were sent.
type corrupt string

func (c corrupt) Error() string { return string(c) }

// expect reads the next n bytes.
func (c *conn) expect(n int64) error {
	buffer := make([]byte, min(n, 256<<10))
	want := n
	for n > 0 {
		got, err := c.read(buffer[:min(n, int64(len(buffer)))])
		n -= int64(got)
		if err != nil && n > 0 {
			if errors.As(err, new(corrupt)) {
				return err
			}
			return fmt.Errorf("the %s got %d of %d bytes: %w", c.side, want-n, want, plainly(err))
		}
	}
	return nil
}

// ending is how a connection ended.
type ending string

// The ends of a connection.
const (
	orderlyEnd ending = "an orderly end"
	reset      ending = "a reset"
	cut        ending = "an end without close_notify"
	silence    ending = "nothing"
)

// brokenOff reports whether the other side can tell the end from an orderly one.
func (e ending) brokenOff() bool { return e == reset || e == cut }

// drain reads to the end and tells how it came. It is an error when the bytes are wrong.
func (c *conn) drain() (ending, error) {
	buffer := make([]byte, 64<<10)
	for {
		_, err := c.read(buffer)
		switch {
		case err == nil:
		case errors.As(err, new(corrupt)):
			return silence, err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return silence, nil
		default:
			end := kind(err)
			if t, ok := c.Conn.(*tls.Conn); ok && end == orderlyEnd && t.NetConn().(*watched).ended.Load() {
				end = cut
			}
			return end, nil
		}
	}
}

// kind tells how a connection ended from the error that it gave.
func kind(err error) ending {
	var alert tls.AlertError
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &alert), !errors.Is(err, io.EOF):
		return cut
	}
	return orderlyEnd
}

// expectEnd expects an orderly end now, after all that has been expected before.
func (c *conn) expectEnd() error {
	before := c.received
	end, err := c.drain()
	switch {
	case err != nil:
		return err
	case end != orderlyEnd && (end != cut || !*c.lax): // there is a case for that alone
		return fmt.Errorf("the %s was to see an orderly end and saw %s", c.side, end)
	case c.received > before:
		return fmt.Errorf("the %s got %d bytes more than were sent", c.side, c.received-before)
	}
	return nil
}

// expectBroken expects that the connection is broken off, after whatever bytes.
func (c *conn) expectBroken() error {
	end, err := c.drain()
	if err == nil && (!end.brokenOff() || end == cut && *c.lax) {
		err = fmt.Errorf("the %s was to see a reset and saw %s", c.side, end)
	}
	return err
}

// expectRefusal sends until that fails, or a deadline passes.
func (c *conn) expectRefusal() error {
	var err error
	for err == nil {
		err = c.send(64 << 10)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the %s was to see a reset, and waits for its bytes to be taken", c.side)
	}
	return nil
}

// closeWrite ends the output: close_notify under TLS, then or else a FIN.
func (c *conn) closeWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("the %s cannot end its output alone", c.side)
	}
	if err := w.CloseWrite(); err != nil {
		return fmt.Errorf("the %s could not end its output: %w", c.side, plainly(err))
	}
	return nil
}

// abort breaks the connection off with a reset.
func (c *conn) abort() {
	if t, ok := c.raw.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.raw.Close()
}

// within makes what follows fail after a while.
func (c *conn) within(d time.Duration) { c.raw.SetDeadline(time.Now().Add(d)) }

// plainly words the errors that everybody meets, without the addresses.
func plainly(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("nothing moves any more")
	case errors.Is(err, syscall.ECONNRESET):
		return errors.New("it was reset")
	case errors.Is(err, syscall.EPIPE):
		return errors.New("it had been closed")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ended without close_notify")
	case errors.Is(err, io.EOF):
		return errors.New("it ended")
	}
	return err
}
