//go:build !linux

package relay

import (
	"net"
	"sync"
)

// rawReader needs Linux; elsewhere every connection is read with a buffer in hand.
type rawReader struct{}

func newRawReader(net.Conn) *rawReader { return nil }

func (*rawReader) read(*sync.Pool) (*buffer, int, error) {
	panic("unreachable: there is no raw reader")
}

func splicable(net.Conn, net.Conn) (*net.TCPConn, *net.TCPConn, bool) { return nil, nil, false }

func gone(net.Conn) bool { return false }

func taken(net.Conn) uint64 { return 0 }
