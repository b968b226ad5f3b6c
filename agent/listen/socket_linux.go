package listen

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// takeQueued accepts all that is in the kernel's queue, without waiting. The socket is to be closed right afterwards:
// what arrives in between, a few microseconds, is lost.
func takeQueued(l *net.TCPListener) []*net.TCPConn {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil
	}
	var fds []int
	raw.Control(func(fd uintptr) {
		for {
			c, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			switch err {
			case nil:
				fds = append(fds, c)
			case unix.EINTR, unix.ECONNABORTED:
			default:
				return
			}
		}
	})
	var conns []*net.TCPConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "accepted")
		c, err := net.FileConn(f) // a duplicate
		f.Close()
		if err != nil {
			continue
		}
		// A client that has reset its connection meanwhile has no address, which nobody expects, and needs no answer.
		if t, ok := c.(*net.TCPConn); ok && t.RemoteAddr() != nil {
			conns = append(conns, t)
		} else {
			c.Close()
		}
	}
	return conns
}
