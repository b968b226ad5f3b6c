package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// endpoint splits an address into what net.Dial wants.
func endpoint(address string) (network, where string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" {
			return "", "", errors.New("unix: lacks a path")
		}
		return "unix", path, nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return "", "", fmt.Errorf("%q is neither host:port nor unix:PATH", address)
	}
	return "tcp", address, nil
}

// backend is the listener that the proxy connects to. It can be closed and opened again.
type backend struct {
	address string
	conns   chan net.Conn // accepted, and not yet taken

	listener net.Listener // nil while nobody listens
	done     sync.WaitGroup
}

func newBackend(address string) (*backend, error) {
	b := &backend{address: address, conns: make(chan net.Conn, 4096)}
	return b, b.listen()
}

func (b *backend) listen() error {
	network, where, err := endpoint(b.address)
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	l, err := net.Listen(network, where)
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	b.listener = l
	b.done.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			select {
			case b.conns <- c:
			default:
				c.Close()
			}
		}
	})
	return nil
}

// close stops listening and closes what nobody has taken.
func (b *backend) close() error {
	if b.listener == nil {
		return nil
	}
	err := b.listener.Close()
	b.done.Wait()
	b.listener = nil
	b.forget()
	return err
}

// forget closes what nobody has taken, and tells how many those were.
func (b *backend) forget() int {
	for n := 0; ; n++ {
		select {
		case c := <-b.conns:
			c.Close()
		default:
			return n
		}
	}
}

// bed is what a case runs on.
type bed struct {
	*Suite
	ctx      context.Context
	deadline time.Time
	patience time.Duration
	notes    []string

	mu    sync.Mutex
	conns []net.Conn
	tasks sync.WaitGroup
}

func (b *bed) note(format string, a ...any) { b.notes = append(b.notes, fmt.Sprintf(format, a...)) }

// end closes everything and waits.
func (b *bed) end() {
	b.mu.Lock()
	for _, c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.tasks.Wait()
}

// keep closes a connection with the bed, and limits it to the case's time.
func (b *bed) keep(c net.Conn) net.Conn {
	c.SetDeadline(b.deadline)
	b.mu.Lock()
	b.conns = append(b.conns, c)
	b.mu.Unlock()
	return c
}

// start runs something beside the case. What comes back is its error.
func (b *bed) start(do func() error) <-chan error {
	result := make(chan error, 1)
	b.tasks.Go(func() { result <- do() })
	return result
}

// wait waits for a while, as a case does that looks at silence.
func (b *bed) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// ready waits until a connection comes through to the backend, and nothing of an earlier case is left there.
func (b *bed) ready() error {
	if b.backend.listener == nil {
		if err := b.backend.listen(); err != nil {
			return err
		}
	}
	b.backend.forget()
	for {
		client, server, err := b.open()
		if err == nil {
			client.within(2 * time.Second) // what another process has opened here may be silent
			server.within(2 * time.Second)
			if err = client.send(10); err == nil {
				err = server.expect(10)
			}
			client.raw.Close()
			server.raw.Close()
			if err == nil {
				return nil
			}
		}
		// A proxy may keep away from a backend that has failed for a while.
		if b.wait(100*time.Millisecond) != nil {
			return fmt.Errorf("before the case, no connection came through: %w", err)
		}
		b.backend.forget()
	}
}

// learn finds out how the proxy ends TLS when all is in order.
func (b *bed) learn() error {
	if b.config.TargetTLS == nil && b.config.BackendTLS == nil {
		return nil
	}
	for _, w := range []which{fromClient, fromServer} {
		first, second, err := b.pair(w)
		if err != nil {
			return err
		}
		second.within(5 * time.Second)
		if err := first.closeWrite(); err != nil {
			return err
		}
		end, err := second.drain()
		if err != nil {
			return err
		}
		*second.lax = end == cut
	}
	return nil
}

// dial connects to the proxy, without TLS.
func (b *bed) dial() (net.Conn, error) {
	network, where, err := endpoint(b.config.Target)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(b.ctx, network, where)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy: %w", err)
	}
	return b.keep(c), nil
}

// client connects to the proxy, with TLS where there is any.
func (b *bed) client() (*conn, error) {
	raw, err := b.dial()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, side: "client", lax: &b.clientLax, pattern: b.pattern}
	if b.config.TargetTLS == nil {
		return c, nil
	}
	t := tls.Client(&watched{Conn: raw}, b.config.TargetTLS)
	if err := t.HandshakeContext(b.ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with the proxy: %w", err)
	}
	c.Conn = t
	return c, nil
}

// accept takes the proxy's next connection, without TLS.
func (b *bed) accept(ctx context.Context) (net.Conn, error) {
	select {
	case c := <-b.backend.conns:
		return b.keep(c), nil
	case <-ctx.Done():
		return nil, errors.New("the proxy did not connect to the backend")
	}
}

// server takes the proxy's next connection, with TLS where there is any.
func (b *bed) server(ctx context.Context) (*conn, error) {
	raw, err := b.accept(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, side: "server", lax: &b.serverLax, pattern: b.pattern}
	if b.config.BackendTLS == nil {
		return c, nil
	}
	t := tls.Server(&watched{Conn: raw}, b.config.BackendTLS)
	if err := t.HandshakeContext(b.ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake of the proxy: %w", err)
	}
	c.Conn = t
	return c, nil
}

// open opens a connection through the proxy and returns its two ends.
func (b *bed) open() (client, server *conn, err error) {
	// One that broke in the handshake, or that waits for it, must not keep the other waiting to the end of the case.
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	served := b.start(func() (err error) {
		server, err = b.server(ctx)
		return err
	})
	if client, err = b.client(); err != nil {
		cancel()
	}
	if e := <-served; err == nil {
		err = e
	}
	if err != nil {
		return nil, nil, err
	}
	b.opened++
	client.out = int64(b.opened) * 7919
	client.in = client.out + patternSize/2
	server.out, server.in = client.in, client.out
	return client, server, nil
}

// sockets counts the sockets that processes have open.
func sockets(pids []int) (int, error) {
	n := 0
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return 0, fmt.Errorf("count the proxy's sockets: %w", err)
		}
		for _, e := range entries {
			if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
	}
	return n, nil
}

// memory is the resident memory of processes, in bytes.
func memory(pids []int) (int64, error) {
	var total int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("read the proxy's memory: %w", err)
		}
		var size, resident int64
		if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
			return 0, fmt.Errorf("read the proxy's memory: %w", err)
		}
		total += resident * int64(os.Getpagesize())
	}
	return total, nil
}
