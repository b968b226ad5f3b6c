package relay

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the event loop. All are on descriptors that do not block, so they go past Go's scheduler: to tell it
// of each costs more than some of them.

func sysRecv(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func sysSend(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func sysSplice(from, to int32, n int) (int, syscall.Errno) {
	m, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	return int(m), e
}

func sysShutdown(fd int32) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return e
}

func sysClose(fd int32) {
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// sysReset closes fd so that its peer sees a reset.
func sysReset(fd int32) {
	unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	sysClose(fd)
}

func sysAccept(fd int32) (int32, netip.AddrPort, syscall.Errno) {
	var from syscall.RawSockaddrInet6 // is large enough for IPv4, too
	size := uint32(unsafe.Sizeof(from))
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int32(n), addrOf(&from), 0
}

// addrOf is the address in a sockaddr; invalid for Unix sockets.
func addrOf(a *syscall.RawSockaddrInet6) netip.AddrPort {
	port := func(p *uint16) uint16 {
		b := (*[2]byte)(unsafe.Pointer(p))
		return uint16(b[0])<<8 | uint16(b[1])
	}
	switch a.Family {
	case unix.AF_INET:
		v4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port(&v4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port(&a.Port))
	}
	return netip.AddrPort{}
}

// sysConnect begins to connect a socket.
func sysConnect(fd int32, to netip.AddrPort) syscall.Errno {
	var p *uint16
	var at unsafe.Pointer
	var size uintptr
	if addr := to.Addr().Unmap(); addr.Is4() {
		v4 := syscall.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
		p, at, size = &v4.Port, unsafe.Pointer(&v4), unsafe.Sizeof(v4)
	} else {
		v6 := syscall.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
		p, at, size = &v6.Port, unsafe.Pointer(&v6), unsafe.Sizeof(v6)
	}
	*(*[2]byte)(unsafe.Pointer(p)) = [2]byte{byte(to.Port() >> 8), byte(to.Port())}
	_, _, e := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(at), size)
	return e
}

func sysSocket(family int) (int32, syscall.Errno) {
	fd, _, e := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int32(fd), e
}

// event is a struct epoll_event. Linux packs it on amd64; unix.EpollEvent is laid out right everywhere, and its fields Fd
// and Pad together are the 64 bits that belong to the user.
type event = unix.EpollEvent

func (w *worker) control(op int, fd int32, events, data uint32) syscall.Errno {
	e := event{Events: events, Fd: int32(data)}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(w.epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return errno
}

// waitRaw waits for events without telling the scheduler: the thread keeps its P, and is back at once.
func (w *worker) waitRaw(milliseconds int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)),
		uintptr(milliseconds), 0, 0)
	return int(n), e
}

func sysYield() { syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
