package listen

import "golang.org/x/sys/unix"

// gone reports whether the peer has reset the connection, or closed it without having sent anything that waits to be
// read. It is asked again whenever anything has changed.
func gone(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err == nil && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return true
	}
	return ended(fd)
}
