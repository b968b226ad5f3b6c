package listen

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

func openSocket(t *testing.T, address string, o Options) *Socket {
	t.Helper()
	s, err := Open(context.Background(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// answer says hello to every connection.
func answer(c net.Conn) {
	io.WriteString(c, "hello")
	c.Close()
}

func hello(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	expectHello(t, c)
}

func expectHello(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Fatalf("got %q, %v", b, err)
	}
}

func TestSocketServes(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	go s.Serve(answer)
	for range 20 {
		hello(t, s.Addr().String())
	}
	s.Stop()
	s.Stop()
	if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
		c.Close()
		t.Error("still listening after Stop")
	}
}

func TestAddressInUse(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	_, err := Open(context.Background(), s.Addr().String(), Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "listening on "+s.Addr().String()+": ") {
		t.Errorf("got %v", err)
	}
}

// TestStopTakesTheQueue: connections that the kernel has accepted and nobody has taken are served, not reset.
func TestStopTakesTheQueue(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	var conns []net.Conn
	for range 30 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go s.Serve(func(c net.Conn) {
		once.Do(func() { close(entered); <-release }) // the rest stays queued until Stop is under way
		answer(c)
	})
	<-entered
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	s.Stop()
	for _, c := range conns {
		expectHello(t, c)
	}
}

// TestReusePortHandover: while one of two processes' sockets goes away under load, no connection is lost.
func TestReusePortHandover(t *testing.T) {
	first := openSocket(t, "127.0.0.1:0", Options{ReusePort: true})
	address := first.Addr().String()
	second := openSocket(t, address, Options{ReusePort: true})
	var a, b atomic.Int64
	go first.Serve(func(c net.Conn) { a.Add(1); answer(c) })
	go second.Serve(func(c net.Conn) { b.Add(1); answer(c) })
	for a.Load() == 0 || b.Load() == 0 {
		hello(t, address)
	}
	first.Stop()
	for range 50 {
		hello(t, address)
	}
}

// TestNoFileDescriptors: a socket that cannot accept keeps trying, says so once, and goes on when it can.
func TestNoFileDescriptors(t *testing.T) {
	var log syncBuffer
	s := openSocket(t, "127.0.0.1:0", Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // while there are descriptors
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	go s.Serve(answer)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	defer restore()
	addr := &unix.SockaddrInet4{Port: s.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Connect(client, addr); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "cannot accept"); {
		if time.Now().After(until) {
			t.Fatal("nothing was said about it")
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	restore()
	b := make([]byte, 5)
	if n, err := unix.Read(client, b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	if n := strings.Count(log.String(), "cannot accept"); n != 1 {
		t.Errorf("said %d times that it cannot accept:\n%s", n, log.String())
	}
}

// TestFewFileDescriptors: while connections are accepted only now and then, because others end, that is one trouble and
// said once.
func TestFewFileDescriptors(t *testing.T) {
	var log syncBuffer
	s := openSocket(t, "127.0.0.1:0", Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	var answering sync.WaitGroup
	go s.Serve(func(c net.Conn) {
		answering.Go(func() {
			time.Sleep(2 * time.Millisecond)
			answer(c)
		})
	})
	hello(t, s.Addr().String()) // Serve has the descriptors that it needs itself
	var clients []int
	for range 10 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // while there are descriptors
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		clients = append(clients, c)
	}
	free, err := unix.Dup(clients[0])
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(free)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	one := limit
	one.Cur = uint64(free) + 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	addr := &unix.SockaddrInet4{Port: s.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for _, c := range clients {
		if err := unix.Connect(c, addr); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients[:6] {
		b := make([]byte, 5)
		if n, err := unix.Read(c, b); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("got %q, %v", b[:n], err)
		}
	}
	s.Stop()
	answering.Wait()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestStopMeetsResetInQueue: a client that has reset its connection while it was queued has no address any more. Whoever
// gets such a connection would have to expect a nil RemoteAddr.
func TestStopMeetsResetInQueue(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	for _, reset := range []bool{true, false} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if reset {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
	queued := s.queued()
	for _, c := range queued {
		if c.RemoteAddr() == nil {
			t.Error("a connection without a remote address")
		}
		c.Close()
	}
	if len(queued) == 0 {
		t.Error("the living connection has been lost")
	}
}
