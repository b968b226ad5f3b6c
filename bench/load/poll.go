//go:build linux

package load

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// poller is epoll, and what a thread needs to work with it.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &poller{fd: fd}, nil
}

// add watches a socket, edge-triggered; closing the socket ends that.
func (p *poller) add(fd int, slot int32, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: slot})
}

// wait returns what is ready, after at most so long.
func (p *poller) wait(ctx context.Context, limit time.Duration) ([]unix.EpollEvent, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n, err := unix.EpollWait(p.fd, p.events[:], int(limit/time.Millisecond))
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p.events[:n], nil
}

func (p *poller) close() { unix.Close(p.fd) }

// address makes a socket address of a host and port that are numbers, of IPv4.
func address(text string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(text)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("address %q: not an IPv4 address and port", text)
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
}
