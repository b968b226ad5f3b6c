package relay

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Carrier is what TLS sits on, so that the event loop can take the connection below it over: make a tls.Conn with Carry(c)
// in place of c. Until the pair is joined it is c.
type Carrier struct {
	net.Conn
	driver driver // nil: not on the loop

	ended atomic.Bool // a read has found the end of the connection below
}

// driver reads and writes in place of the connection.
type driver interface {
	read(b []byte) (int, error)
	write(b []byte) (int, error)
}

// Carry makes a carrier of a *net.TCPConn or *net.UnixConn. Other connections stay what they are for the relay.
func Carry(c net.Conn) *Carrier { return &Carrier{Conn: c} }

// NetConn returns the connection below.
func (c *Carrier) NetConn() net.Conn { return c.Conn }

func (c *Carrier) Read(b []byte) (n int, err error) {
	if c.driver != nil {
		n, err = c.driver.read(b)
	} else {
		n, err = c.Conn.Read(b)
	}
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

func (c *Carrier) Write(b []byte) (int, error) {
	if c.driver != nil {
		return c.driver.write(b)
	}
	return c.Conn.Write(b)
}

// SetDeadline and the others do nothing on the loop, which has its own times.
func (c *Carrier) SetDeadline(t time.Time) error {
	if c.driver != nil {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline is that of net.Conn.
func (c *Carrier) SetReadDeadline(t time.Time) error {
	if c.driver != nil {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is that of net.Conn.
func (c *Carrier) SetWriteDeadline(t time.Time) error {
	if c.driver != nil {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// LocalAddr is that of the connection below, as long as it is there.
func (c *Carrier) LocalAddr() net.Addr {
	if c.Conn == nil {
		return noAddr{}
	}
	return c.Conn.LocalAddr()
}

// RemoteAddr is likewise. A client of crypto/tls without a server name asks for it with every ticket that it gets.
func (c *Carrier) RemoteAddr() net.Addr {
	if c.Conn == nil {
		return noAddr{}
	}
	return c.Conn.RemoteAddr()
}

// noAddr stands for the addresses of a connection that the event loop has taken over.
type noAddr struct{}

func (noAddr) Network() string { return "" }
func (noAddr) String() string  { return "unknown" } // with an empty one crypto/tls keeps no ticket
