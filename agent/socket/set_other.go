//go:build !linux

package socket

import (
	"os"

	"golang.org/x/sys/unix"
)

// Set sets the options of a file descriptor.
func (o Options) Set(fd int) error {
	if o.NoDelay {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return os.NewSyscallError("setsockopt TCP_NODELAY", err)
		}
	}
	if o.KeepAlive > 0 { // the quiet times are the system's
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_KEEPALIVE", err)
		}
	}
	return nil
}
