//go:build servers

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// namedServer greets every connection with its name and a newline and then echoes lines.
type namedServer struct {
	Name, Addr string
	Accepted   atomic.Int64

	listener net.Listener
	then     func(net.Conn) // with each connection, after the name
	mu       sync.Mutex
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

func startNamed(t *testing.T, name string) *namedServer {
	t.Helper()
	return startSaying(t, name, func(c net.Conn) { io.Copy(c, c) })
}

// startSaying is startNamed for a server that does something else after its name. It has to end with its connection.
func startSaying(t *testing.T, name string, then func(net.Conn)) *namedServer {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &namedServer{Name: name, Addr: l.Addr().String(), listener: l, then: then, conns: map[net.Conn]bool{}}
	s.wg.Go(s.serve)
	t.Cleanup(s.stop)
	return s
}

func (s *namedServer) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.Accepted.Add(1)
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			fmt.Fprintln(c, s.Name)
			s.then(c)
		})
	}
}

// stop ends the server with its connections.
func (s *namedServer) stop() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// client is a connection to a namedServer.
type client struct {
	net.Conn
	r    *bufio.Reader
	Name string // of the server at its other end
}

// dialNamed connects and reads the server's name.
func dialNamed(ctx context.Context, addr string) (*client, error) {
	d := net.Dialer{Timeout: 3 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return greet(c)
}

func greet(c net.Conn) (*client, error) {
	cl := &client{Conn: c, r: bufio.NewReader(c)}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	line, err := cl.r.ReadString('\n')
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	c.SetReadDeadline(time.Time{})
	cl.Name = strings.TrimSpace(line)
	return cl, nil
}

// echo sends a line and expects it back.
func (c *client) echo(line string) error {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	defer c.SetDeadline(time.Time{})
	if _, err := fmt.Fprintln(c, line); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err != nil {
		return err
	}
	if strings.TrimSpace(got) != line {
		return fmt.Errorf("sent %q, got %q", line, got)
	}
	return nil
}

// whoAnswers connects n times, one after the other, and counts the servers' names.
func whoAnswers(t *testing.T, addr string, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for range n {
		c, err := dialNamed(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		count[c.Name]++
		c.Close()
	}
	return count
}

// reaches is nil when a new connection ends at the server of that name.
func reaches(ctx context.Context, addr, name string) error {
	c, err := dialNamed(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Name != name {
		return fmt.Errorf("reached %s, not %s", c.Name, name)
	}
	return nil
}
