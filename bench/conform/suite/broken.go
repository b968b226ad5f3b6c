package suite

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// broken are the cases in which there is no backend to speak of.
func broken() []Case {
	return []Case{
		{Name: "refused", Title: "a client is told soon when the backend refuses connections", test: refused},
		{Name: "connect-timeout", Title: "a client is told when the backend does not answer to connections", without: noUnix,
			test: connectTimeout, extra: func(Config) time.Duration { return 20 * time.Second }},
	}
}

// told expects that a client is told in whatever way that there will be no service.
func (b *bed) told(limit time.Duration) error {
	began := time.Now()
	client, err := b.client()
	if errors.Is(err, syscall.ECONNREFUSED) {
		return err // the proxy itself is gone
	}
	if err != nil { // a proxy may be quick, and may connect to the backend before the handshake
		b.note("%s while connecting, after %.1f s", kind(err), time.Since(began).Seconds())
		return nil
	}
	client.within(limit)
	end, err := client.drain()
	switch {
	case err != nil:
		return fmt.Errorf("without a backend: %w", err)
	case end == silence:
		return fmt.Errorf("the client was not told within %v", limit)
	}
	b.note("%s after %.1f s", end, time.Since(began).Seconds())
	return nil
}

func refused(b *bed) error {
	if err := b.backend.close(); err != nil {
		return err
	}
	if err := b.told(min(10*time.Second, b.config.Limit)); err != nil {
		return err
	}
	return b.works()
}

// connectTimeout makes the backend's queue of connections so full that the system answers no more.
func connectTimeout(b *bed) error {
	if err := b.backend.close(); err != nil {
		return err
	}
	full, err := b.fullListener()
	if err != nil {
		return err
	}
	err = b.told(b.config.Limit)
	full.Close()
	if err != nil {
		return err
	}
	return b.works()
}

// fullListener listens at the backend's address and accepts nothing. Its queue is full when it returns.
func (b *bed) fullListener() (net.Listener, error) {
	l, err := net.Listen("tcp", b.config.Backend)
	if err != nil {
		return nil, err
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		var failed error
		// To listen again on a listening socket sets the length of its queue.
		err = errors.Join(raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) }), failed)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("make the backend's queue short: %w", err)
	}
	for range 16 {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		c, err := d.DialContext(b.ctx, "tcp", b.config.Backend)
		if err != nil {
			return l, nil
		}
		b.keep(c)
	}
	l.Close()
	return nil, notApplicable("the system answers although the backend's queue is full")
}

// after is what is looked at in the end.
func after() []Case {
	return []Case{{Name: "leftovers", Title: "in the end the proxy has no more sockets than in the beginning", without: noPids, test: leftovers}}
}

// A proxy may keep a few sockets for itself, such as one to its catalog.
const spareSockets = 4

func leftovers(b *bed) error {
	for {
		now, err := sockets(b.config.Pids)
		if err != nil {
			return err
		}
		if now <= b.Suite.sockets+spareSockets {
			return nil
		}
		if b.wait(100*time.Millisecond) != nil {
			return fmt.Errorf("%d sockets, and %d before the first case", now, b.Suite.sockets)
		}
	}
}
