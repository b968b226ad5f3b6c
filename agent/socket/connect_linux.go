package socket

import (
	"os"

	"golang.org/x/sys/unix"
)

// FastOpenConnect makes connect(2) on a descriptor use TCP Fast Open (TCP_FASTOPEN_CONNECT, RFC 7413): once the kernel has
// a cookie of the peer, it returns at once, and the SYN goes out with the first bytes that are written. A peer that is not
// there is then noticed only by them, and a peer that waits for no bytes hears of the connection only with them.
func FastOpenConnect(fd int) error {
	return os.NewSyscallError("setsockopt TCP_FASTOPEN_CONNECT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1))
}
