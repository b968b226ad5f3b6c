package socket

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Set sets the options of a file descriptor.
func (o Options) Set(fd int) error {
	if o.NoDelay {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return os.NewSyscallError("setsockopt TCP_NODELAY", err)
		}
	}
	if o.KeepAlive > 0 {
		seconds := int(max(o.KeepAlive/time.Second, 1))
		for _, s := range []struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		} {
			if err := unix.SetsockoptInt(fd, s.level, s.name, s.value); err != nil {
				return os.NewSyscallError("setsockopt keepalive", err)
			}
		}
	}
	if o.UserTimeout > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(o.UserTimeout.Milliseconds(), 1))); err != nil {
			return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", err)
		}
	}
	if o.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, o.Mark); err != nil {
			return os.NewSyscallError("setsockopt SO_MARK", err)
		}
	}
	return nil
}
