package dev

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// reservation keeps an address for the agents that share it: it is bound with SO_REUSEPORT and does not listen, so
// nobody else can take the port while agents come and go, and no connection ever ends up here.
type reservation struct {
	fd      int
	Address string
}

// reserve binds host:port; port 0 chooses a free one.
func reserve(ctx context.Context, address string) (*reservation, error) {
	fail := func(err error) (*reservation, error) { return nil, fmt.Errorf("reserve %s: %w", address, err) }
	a, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostOf(address))
	if err != nil {
		return fail(err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portOf(address))
	if err != nil {
		return fail(err)
	}
	ip := a[0].Unmap()
	family := unix.AF_INET6
	if ip.Is4() {
		family = unix.AF_INET
	}
	syscall.ForkLock.RLock() // no child may inherit it: it would keep the port
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return fail(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	var to unix.Sockaddr
	if ip.Is4() {
		to = &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	} else {
		to = &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
	}
	if err := unix.Bind(fd, to); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return fail(err)
	}
	switch b := bound.(type) {
	case *unix.SockaddrInet4:
		port = b.Port
	case *unix.SockaddrInet6:
		port = b.Port
	}
	return &reservation{fd, net.JoinHostPort(ip.String(), fmt.Sprint(port))}, nil
}

func (r *reservation) release() { unix.Close(r.fd) }

func hostOf(address string) string { host, _, _ := net.SplitHostPort(address); return host }
func portOf(address string) string { _, port, _ := net.SplitHostPort(address); return port }
