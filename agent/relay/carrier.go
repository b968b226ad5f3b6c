package relay

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// Carrier is the connection below a tls.Conn that is to be joined by a Loop. Until then it is the connection that it was
// made from.
type Carrier struct {
	net.Conn

	// From here on it belongs to a loop's worker.
	driven bool
	conn   *tls.Conn // above
	pair   *pair
	end    *end
}

// Carry makes a carrier over c, for tls.Client or tls.Server to sit on.
func Carry(c net.Conn) *Carrier { return &Carrier{Conn: c} }

// NetConn is the connection below, or nothing but its addresses after a loop has taken it.
func (c *Carrier) NetConn() net.Conn { return c.Conn }

// Read reads. In a loop it does not wait: what it returns then leaves the tls.Conn above usable.
func (c *Carrier) Read(b []byte) (int, error) {
	if c.driven {
		return c.receive(b)
	}
	return c.Conn.Read(b)
}

// Write writes. In a loop it queues: the worker sends when the tls.Conn above has returned.
func (c *Carrier) Write(b []byte) (int, error) {
	if c.driven {
		return c.queue(b)
	}
	return c.Conn.Write(b)
}

// CloseWrite ends the output.
func (c *Carrier) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// SetLinger is that of net.TCPConn, where there is one below.
func (c *Carrier) SetLinger(sec int) error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.SetLinger(sec)
	}
	return nil
}

// SyscallConn gives access to the descriptor.
func (c *Carrier) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, net.ErrClosed
}

// errWouldBlock is what crypto/tls takes for a failure that passes.
type errWouldBlock struct{}

func (errWouldBlock) Error() string   { return "nothing to read now" }
func (errWouldBlock) Timeout() bool   { return false }
func (errWouldBlock) Temporary() bool { return true }

// addresses is what is left of a connection whose descriptor a loop has taken.
type addresses struct{ local, remote net.Addr }

func (a addresses) LocalAddr() net.Addr            { return a.local }
func (a addresses) RemoteAddr() net.Addr           { return a.remote }
func (addresses) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (addresses) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (addresses) Close() error                     { return nil }
func (addresses) SetDeadline(time.Time) error      { return nil }
func (addresses) SetReadDeadline(time.Time) error  { return nil }
func (addresses) SetWriteDeadline(time.Time) error { return nil }
