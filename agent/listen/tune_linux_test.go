package listen

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy/agent/socket"
)

// options reads back what a connection has.
func options(t *testing.T, c net.Conn) (o socket.Options) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { o = optionsOf(t, int(fd)) })
	return o
}

func optionsOf(t *testing.T, fd int) (o socket.Options) {
	t.Helper()
	get := func(level, name int) int {
		n, err := unix.GetsockoptInt(fd, level, name)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	o.NoDelay = get(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0
	if get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		o.KeepAlive = time.Duration(get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)) * time.Second
	}
	o.UserTimeout = time.Duration(get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond
	return o
}

// TestTune: accepted connections have the settings of the listening socket as they are then, by either way of accepting,
// also where another process has set other ones before.
func TestTune(t *testing.T) {
	first := openSocket(t, "127.0.0.1:0", Options{Accepted: socket.Options{NoDelay: true, KeepAlive: time.Hour, UserTimeout: time.Minute}})
	f, err := first.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := FromFile(f, Options{Accepted: socket.Options{KeepAlive: 40 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	connect := func() {
		t.Helper()
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	accepted := make(chan net.Conn, 10)
	handle := func(c net.Conn) { t.Cleanup(func() { c.Close() }); accepted <- c }
	for i, o := range []socket.Options{
		{KeepAlive: 40 * time.Second},
		{NoDelay: true, KeepAlive: time.Minute, UserTimeout: 7 * time.Second},
		{NoDelay: true, KeepAlive: socket.DefaultKeepAlive},
		{},
	} {
		if i > 0 {
			if err := s.Tune(o, 16*i); err != nil {
				t.Fatal(err)
			}
		}
		connect()
		fd, err := s.FD()
		if err != nil {
			t.Fatal(err)
		}
		if fd, _, err = unix.Accept(fd); err != nil {
			t.Fatal(err)
		}
		if got := optionsOf(t, fd); got != o {
			t.Errorf("on the bare descriptor with %+v, not %+v", got, o)
		}
		unix.Close(fd)
		connect()
		for _, c := range s.queued() {
			handle(c)
		}
		if got := options(t, <-accepted); got != o {
			t.Errorf("taken with %+v, not %+v", got, o)
		}
	}
	go s.Serve(handle)
	for _, o := range []socket.Options{{}, {NoDelay: true, KeepAlive: time.Minute, UserTimeout: 7 * time.Second}} {
		if err := s.Tune(o, 0); err != nil {
			t.Fatal(err)
		}
		connect()
		if got := options(t, <-accepted); got != o {
			t.Errorf("accepted with %+v, not %+v", got, o)
		}
	}
}

// TestFD: the bare descriptor does not block, and what it has not accepted is not lost.
func TestFD(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	fd, err := s.FD()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := unix.Accept(fd); err != unix.EAGAIN {
		t.Fatalf("accepting from an empty queue: %v", err)
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.Drain(answer)
	expectHello(t, c)
	s.Stop()
	if _, err := s.FD(); err == nil {
		t.Error("a descriptor after Stop")
	}
}
