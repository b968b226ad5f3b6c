// Package socket has the settings of TCP sockets, alike for those that are accepted and those that are dialled.
//
//	o := socket.Options{KeepAlive: 15 * time.Second, UserTimeout: time.Minute}
//	o.Conn(c)      // on a connection of package net
//	o.Set(fd)      // on a bare file descriptor
//
// All are set with one call each, and only where they differ from what the system does by itself.
package socket

import (
	"net"
	"syscall"
	"time"
)

// DefaultKeepAlive is how long a connection is quiet before the peer is asked whether it is still there.
const DefaultKeepAlive = 15 * time.Second

// Options are the settings of one socket. The zero Options are: Nagle's algorithm on, no keepalive, and the rest as the
// system has it. They are not changed after their first use.
type Options struct {
	// NoDelay sends small segments at once (TCP_NODELAY).
	NoDelay bool
	// KeepAlive is the quiet time before the first probe and between probes (TCP_KEEPIDLE, TCP_KEEPINTVL; whole seconds);
	// unanswered ones end the connection, 9 unless the system says otherwise. 0: no probes.
	KeepAlive time.Duration
	// UserTimeout is how long sent bytes may stay unacknowledged before the connection is given up (TCP_USER_TIMEOUT, RFC
	// 5482; milliseconds). 0: as the system has it, which is about 15 minutes. Linux only.
	UserTimeout time.Duration
	// Mark is the mark of the packets for routing and filters (SO_MARK), which needs CAP_NET_ADMIN. 0: none. Linux only.
	Mark int
}

// Conn sets the options of c, if it is a TCP connection.
func (o Options) Conn(c net.Conn) error {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	return o.Control(raw)
}

// Control sets the options of a raw connection.
func (o Options) Control(raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = o.Set(int(fd)) }); err != nil {
		return err
	}
	return failed
}
