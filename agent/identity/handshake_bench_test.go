//go:build linux

package identity

import (
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy/internal/devca"
	"argosy/internal/tlsfiles"
)

// BenchmarkHandshake tells what a handshake costs the server: µs of CPU time of the thread that does it, over a Unix socket.
//
//	go test ./agent/identity -run xxx -bench Handshake
func BenchmarkHandshake(b *testing.B) {
	ca, err := devca.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	paths, err := ca.Write(b.TempDir(), "x", "x.test")
	if err != nil {
		b.Fatal(err)
	}
	pair := tlsfiles.Pair{Cert: paths.Cert, Key: paths.Key}
	for _, bench := range []struct {
		name            string
		mutual, resumed bool
		groups          []tls.CurveID // of the client; nil: as crypto/tls has it, with ML-KEM
	}{
		{"full", false, false, []tls.CurveID{tls.X25519}}, {"full-mlkem", false, false, nil},
		{"resumed", false, true, []tls.CurveID{tls.X25519}},
		{"mutual", true, false, []tls.CurveID{tls.X25519}}, {"mutual-resumed", true, true, []tls.CurveID{tls.X25519}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			caFile := ""
			if bench.mutual {
				caFile = paths.CA
			}
			f, err := NewFilePairs([]tlsfiles.Pair{pair}, caFile)
			if err != nil {
				b.Fatal(err)
			}
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "x.test", CurvePreferences: bench.groups}
			if bench.resumed {
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			if bench.mutual {
				client.Certificates = []tls.Certificate{*f.files.Certificate()}
			}
			handshakes(b, f.Server(), client)
		})
	}
}

func handshakes(b *testing.B, server, client *tls.Config) {
	conns := make(chan net.Conn)
	used := make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := threadTime()
		for c := range conns {
			s := tls.Server(c, server)
			if err := s.Handshake(); err != nil {
				b.Error(err)
			}
			s.Write([]byte{1}) // the client reads it, and the ticket before it
			c.Close()
		}
		used <- threadTime() - began
	}()
	for b.Loop() {
		near, far := socketPair(b)
		conns <- far
		c := tls.Client(near, client)
		if err := c.Handshake(); err != nil {
			b.Error(err)
		}
		c.Read(make([]byte, 1))
		near.Close()
	}
	close(conns)
	b.ReportMetric(float64((<-used).Nanoseconds())/1e3/float64(b.N), "server-µs/op")
}

func socketPair(b *testing.B) (near, far net.Conn) {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	return connOf(b, fds[0]), connOf(b, fds[1])
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func connOf(b *testing.B, fd int) net.Conn {
	b.Helper()
	file := os.NewFile(uintptr(fd), "pair")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		b.Fatal(err)
	}
	return c
}
