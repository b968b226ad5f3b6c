package relay_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

// TestOutOfDescriptors: too few descriptors stop the accepting for a while, are told once, and break nothing.
func TestOutOfDescriptors(t *testing.T) {
	var log lines
	l, err := relay.NewLoop(relay.LoopOptions{Workers: 2, Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	results := make(chan relay.Result, 100)
	f := serve(t, l, through(echo(t), results))
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "x"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	open := f.dial()
	if err := ask(open); err != nil {
		t.Fatal(err)
	}
	waiting := f.dialFDs(3)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowered := limit
	lowered.Cur = 3 // no new ones, whatever is open
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	for _, connect := range waiting {
		connect()
	}
	time.Sleep(100 * time.Millisecond)
	err = ask(open)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err != nil {
		t.Errorf("a connection that was open before: %v", err)
	}
	f.finish() // those that waited are served now
	for range 3 {
		if r := receive(t, results); r.Err != nil {
			t.Errorf("ended as %+v", r)
		}
	}
	if n := strings.Count(log.String(), "cannot accept"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// dialFDs makes sockets that only need to be connected, and returns what does that.
func (f *front) dialFDs(n int) (connect []func()) {
	f.t.Helper()
	to, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		f.open = append(f.open, fd)
		connect = append(connect, func() {
			if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: to.Port}); err != nil {
				f.t.Errorf("connect: %v", err)
			}
		})
	}
	return connect
}

// finish closes what dialFDs has made.
func (f *front) finish() {
	for _, fd := range f.open {
		unix.Close(fd)
	}
	f.open = nil
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestCollections: the collector is not held up by workers that wait for events without the scheduler.
func TestCollections(t *testing.T) {
	l := newLoop(t, 2)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(l.Procs()))
	f := serve(t, l, through(echo(t), make(chan relay.Result, 100)))
	var stop atomic.Bool
	var clients sync.WaitGroup
	for range 4 {
		c := f.dial()
		clients.Go(func() {
			b := make([]byte, 1)
			for !stop.Load() {
				if _, err := c.Write(b); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var longest time.Duration
	for range 50 {
		began := time.Now()
		runtime.GC()
		longest = max(longest, time.Since(began))
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	clients.Wait()
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	var worst float64
	for i, n := range h.Counts {
		if n > 0 {
			worst = h.Buckets[i]
		}
	}
	t.Logf("longest collection %v, worst pause %.2f ms", longest, 1000*worst)
	if longest > 5*time.Second {
		t.Errorf("a collection took %v", longest)
	}
}

// TestFair: bulk transfers of a worker do not starve its other connections.
func TestFair(t *testing.T) {
	l := newLoop(t, 1)
	f := serve(t, l, through(echo(t), make(chan relay.Result, 100)))
	var stop atomic.Bool
	var bulk sync.WaitGroup
	defer func() {
		stop.Store(true)
		bulk.Wait()
	}()
	var moved atomic.Int64
	for range 2 {
		c := f.dial()
		bulk.Go(func() {
			lump := make([]byte, 1<<20)
			for !stop.Load() {
				if _, err := c.Write(lump); err != nil {
					return
				}
			}
			c.CloseWrite()
		})
		bulk.Go(func() {
			b := make([]byte, 1<<20)
			for {
				n, err := c.Read(b)
				moved.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	small := f.dial()
	for began := moved.Load(); moved.Load() < began+256<<20; {
		if _, err := small.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(small, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIdleTLS: what an idle TLS connection holds is bounded.
func TestIdleTLS(t *testing.T) {
	const n = 200
	l := newLoop(t, 1)
	server, client := relaytest.Certificate(t)
	var before, after runtime.MemStats
	var fars []net.Conn
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		dialled, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		near := tls.Server(relay.Carry(accepted), server)
		shaken := make(chan error, 1)
		go func() { shaken <- near.Handshake() }()
		far := tls.Client(dialled, client)
		if err := far.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		serverFar, serverNear := relaytest.Pipe(t, false, true)
		l.Join(relay.Pair{Client: near, Server: serverNear}, func(relay.Result) {})
		io.WriteString(far, "x")
		io.ReadFull(serverFar, make([]byte, 1))
		fars = append(fars, far, serverFar)
	}
	time.Sleep(2500 * time.Millisecond) // until the quiet ones give back what they can
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d bytes of heap for both ends of a TLS connection", (after.HeapAlloc-before.HeapAlloc)/n)
	for _, c := range fars {
		c.Close()
	}
	l.Wait()
}
