//go:build !linux

package listen

import (
	"errors"
	"net"
	"syscall"
)

func reusePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("reuse_port needs Linux")
}

func takeQueued(*net.TCPListener) []*net.TCPConn { return nil }
