//go:build !linux

package listen

import (
	"errors"
	"syscall"

	"argosy/agent/socket"
)

func reusePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("reuse_port needs Linux")
}

func tune(fd int, _, o socket.Options, fastOpen int) error {
	if fastOpen > 0 {
		return errors.New("fast_open needs Linux")
	}
	return o.Set(fd)
}

func tuned(int) socket.Options { return socket.Options{} }

func takeQueued(int) []int { return nil }
