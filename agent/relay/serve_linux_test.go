package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

const patience = 20 * time.Second

// front is a socket that a loop serves.
type front struct {
	t    testing.TB
	loop *relay.Loop
	fd   int
	addr string
	stop func()
	open []int // descriptors of clients
}

// serve listens on a free port, with a socket that the runtime's poller does not know.
func serve(t testing.TB, l *relay.Loop, h relay.Handler) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, loop: l, addr: ln.Addr().String()}
	raw.Control(func(fd uintptr) { f.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	ln.Close()
	if err == nil {
		f.stop, err = l.Serve(f.fd, h)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.stop()
		unix.Close(f.fd)
		l.Wait()
	})
	return f
}

func (f *front) dial() *net.TCPConn {
	f.t.Helper()
	c, err := net.DialTimeout("tcp", f.addr, patience)
	if err != nil {
		f.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	f.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// echo is a server that sends back what it gets, up to its end.
func echo(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// refusing is an address on which nobody listens.
func refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// deaf is an address on which connecting takes for ever: nobody accepts, and the queue is full.
func deaf(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for range 3 {
		if c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return at
}

// through joins every client with a server.
func through(to netip.AddrPort, results chan<- relay.Result) relay.Handler {
	return func(a *relay.Flow, _ netip.AddrPort) {
		a.Dial(to, nil, patience, func(err error) {
			if err != nil {
				a.Abort()
				return
			}
			a.Join(relay.Pair{Meter: &relay.Meter{}}, func(r relay.Result) { results <- r })
		})
	}
}

func receive[T any](t testing.TB, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("nothing has come")
	}
	return v
}

func TestServe(t *testing.T) {
	results := make(chan relay.Result, 100)
	f := serve(t, newLoop(t, 2), through(echo(t), results))
	for i := range 100 {
		c := f.dial()
		said := fmt.Sprint("hello ", i)
		io.WriteString(c, said)
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != said || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		if r := receive(t, results); r.Outcome != outcome.OK || r.First != relay.Client || r.Answered <= 0 {
			t.Errorf("ended as %+v", r)
		}
	}
}

func TestServeAddresses(t *testing.T) {
	type seen struct{ remote, local netip.AddrPort }
	all, dialled := make(chan seen, 1), make(chan struct{})
	f := serve(t, newLoop(t, 1), func(a *relay.Flow, from netip.AddrPort) {
		all <- seen{from, a.Local()}
		<-dialled
		a.Abort()
	})
	c := f.dial()
	close(dialled)
	got := receive(t, all)
	if got.remote.String() != c.LocalAddr().String() || got.local.String() != c.RemoteAddr().String() {
		t.Errorf("saw %v, want %v and %v", got, c.LocalAddr(), c.RemoteAddr())
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after Abort: %v", err)
	}
}

// TestDialFails: an error is of the kind that dialling has elsewhere, and another Dial may follow.
func TestDialFails(t *testing.T) {
	good, bad, slow := echo(t), refusing(t), deaf(t)
	failures := make(chan error, 10)
	results := make(chan relay.Result, 1)
	f := serve(t, newLoop(t, 1), func(a *relay.Flow, _ netip.AddrPort) {
		a.Dial(bad, nil, patience, func(err error) {
			failures <- err
			a.Dial(slow, nil, 50*time.Millisecond, func(err error) {
				failures <- err
				a.Dial(good, func(int) error { return syscall.EPERM }, patience, func(err error) {
					failures <- err
					a.Dial(good, nil, patience, func(err error) {
						failures <- err
						a.Join(relay.Pair{}, func(r relay.Result) { results <- r })
					})
				})
			})
		})
	})
	c := f.dial()
	io.WriteString(c, "said early")
	for _, want := range []error{syscall.ECONNREFUSED, os.ErrDeadlineExceeded, syscall.EPERM, nil} {
		err := receive(t, failures)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "said early" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	receive(t, results)
}

func TestDialCancelled(t *testing.T) {
	slow := deaf(t)
	accepted, failures := make(chan *relay.Flow, 1), make(chan error, 1)
	f := serve(t, newLoop(t, 1), func(a *relay.Flow, _ netip.AddrPort) {
		a.Dial(slow, nil, patience, func(err error) {
			failures <- err
			a.Abort()
		})
		accepted <- a
	})
	c := f.dial()
	receive(t, accepted).Cancel(outcome.Wrap(outcome.Drained, errors.New("leaving")))
	if err := receive(t, failures); outcome.Of(err, outcome.Dial) != outcome.Drained {
		t.Errorf("got %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}

	c = f.dial() // and a client that breaks off is noticed
	receive(t, accepted)
	relay.Abort(c)
	if err := receive(t, failures); outcome.Of(err, outcome.Dial) != outcome.Reset {
		t.Errorf("got %v", err)
	}
}

// TestServeConn: a connection can be taken out and used as any other.
func TestServeConn(t *testing.T) {
	conns := make(chan net.Conn, 1)
	f := serve(t, newLoop(t, 1), func(a *relay.Flow, _ netip.AddrPort) {
		c, err := a.Conn()
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	})
	far := f.dial()
	near := receive(t, conns).(*net.TCPConn)
	defer near.Close()
	go io.WriteString(far, "abc")
	b := make([]byte, 3)
	if _, err := io.ReadFull(near, b); err != nil || string(b) != "abc" {
		t.Errorf("got %q, %v", b, err)
	}
	if near.RemoteAddr().String() != far.LocalAddr().String() {
		t.Errorf("the peer is %v", near.RemoteAddr())
	}
}

// TestServeStops: no handler is called after stop, and what is open goes on.
func TestServeStops(t *testing.T) {
	var stopped atomic.Bool
	results := make(chan relay.Result, 1000)
	join := through(echo(t), results)
	f := serve(t, newLoop(t, 2), func(a *relay.Flow, from netip.AddrPort) {
		if stopped.Load() {
			t.Error("a handler was called after stop")
		}
		join(a, from)
	})
	c := f.dial()
	io.WriteString(c, "x")
	io.ReadFull(c, make([]byte, 1))
	var dialling sync.WaitGroup
	for range 4 {
		dialling.Go(func() {
			for !stopped.Load() {
				if c, err := net.Dial("tcp", f.addr); err == nil {
					c.Close()
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	f.stop()
	stopped.Store(true)
	dialling.Wait()
	io.WriteString(c, "y")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	c.Close()
}

// TestManyConnections opens and closes many: no descriptor and no goroutine is left.
func TestManyConnections(t *testing.T) {
	const total, rounds = 10_000, 20
	results := make(chan relay.Result, total)
	l := newLoop(t, 2)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(l.Procs()))
	f := serve(t, l, through(echo(t), results))
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	for range rounds {
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				for range total / rounds / 10 {
					c, err := net.DialTimeout("tcp", f.addr, patience)
					if err != nil {
						t.Error(err)
						return
					}
					io.WriteString(c, "some words")
					c.(*net.TCPConn).CloseWrite()
					if got, err := io.ReadAll(c); len(got) != 10 || err != nil {
						t.Errorf("got %q, %v", got, err)
					}
					c.Close()
				}
			})
		}
		clients.Wait()
	}
	for range total {
		if r := receive(t, results); r.Outcome != outcome.OK {
			t.Errorf("ended as %+v", r)
		}
	}
	eventually(t, func() error {
		if n, g := descriptors(t), runtime.NumGoroutine(); n > before || g > goroutines {
			return fmt.Errorf("%d descriptors and %d goroutines, before %d and %d", n, g, before, goroutines)
		}
		return nil
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func eventually(t testing.TB, check func() error) {
	t.Helper()
	err := check()
	for until := time.Now().Add(patience); err != nil && time.Now().Before(until); err = check() {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		t.Error(err)
	}
}
