package listen

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"argosy/agent/socket"
)

func reusePort(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt SO_REUSEPORT", failed)
}

// tune gives a listening socket the options that accepted ones inherit (tcp(7): TCP_NODELAY, the keepalive times and
// TCP_USER_TIMEOUT; socket(7): SO_KEEPALIVE, SO_MARK). Those of before are taken back where the new ones do not set them.
func tune(fd int, before, o socket.Options, fastOpen int) error {
	for _, s := range []struct {
		off         bool
		level, name int
	}{
		{before.NoDelay && !o.NoDelay, unix.IPPROTO_TCP, unix.TCP_NODELAY},
		{before.KeepAlive > 0 && o.KeepAlive <= 0, unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		{before.UserTimeout > 0 && o.UserTimeout <= 0, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
		{before.Mark != 0 && o.Mark == 0, unix.SOL_SOCKET, unix.SO_MARK}, // takes a privilege
	} {
		if s.off {
			if err := unix.SetsockoptInt(fd, s.level, s.name, 0); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
	}
	if err := o.Set(fd); err != nil {
		return err
	}
	if n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN); fastOpen == 0 && (err != nil || n == 0) {
		return nil
	}
	return os.NewSyscallError("setsockopt TCP_FASTOPEN", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, fastOpen))
}

// tuned reads the options of a listening socket that another process has tuned.
func tuned(fd int) socket.Options {
	get := func(level, name int) int {
		n, err := unix.GetsockoptInt(fd, level, name)
		if err != nil {
			return 0 // the system does not have it
		}
		return n
	}
	return socket.Options{
		NoDelay:     get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0,
		KeepAlive:   time.Duration(get(unix.SOL_SOCKET, unix.SO_KEEPALIVE)) * socket.DefaultKeepAlive,
		UserTimeout: time.Duration(get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond,
		Mark:        get(unix.SOL_SOCKET, unix.SO_MARK),
	}
}

// takeQueued accepts all that is in the kernel's queue, without waiting.
func takeQueued(fd int) []int {
	var fds []int
	for {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch err {
		case nil:
			fds = append(fds, c)
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return fds
		}
	}
}
