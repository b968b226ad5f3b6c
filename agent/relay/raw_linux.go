package relay

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawReader reads from a socket without holding a buffer while there is nothing to read.
type rawReader struct {
	conn    syscall.RawConn
	attempt func(fd uintptr) bool // try, bound once so that a read allocates nothing

	buffers *sync.Pool
	buf     *buffer
	n       int
	err     error
}

// newRawReader returns nil for connections that are no plain sockets.
func newRawReader(c net.Conn) *rawReader {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawReader{conn: raw}
	r.attempt = r.try
	return r
}

// read waits for input and returns it in a buffer of the pool, which the caller has to put back. At the end of input n
// is 0. With an error there is no buffer.
func (r *rawReader) read(buffers *sync.Pool) (b *buffer, n int, err error) {
	r.buffers, r.buf, r.n, r.err = buffers, nil, 0, nil
	if err := r.conn.Read(r.attempt); err != nil {
		return nil, 0, err
	}
	if r.err != nil {
		return nil, 0, os.NewSyscallError("read", r.err)
	}
	return r.buf, r.n, nil
}

// try reads once; false means wait until the socket can be read.
func (r *rawReader) try(fd uintptr) bool {
	b := r.buffers.Get().(*buffer)
	for {
		r.n, r.err = unix.Read(int(fd), b[:])
		if r.err != unix.EINTR {
			break
		}
	}
	if r.n > 0 {
		r.buf = b
		return true
	}
	r.buffers.Put(b)
	r.n = 0
	return r.err != unix.EAGAIN
}

// splicable returns the two connections if the kernel can move bytes between them.
func splicable(from, to net.Conn) (*net.TCPConn, *net.TCPConn, bool) {
	f, ok := from.(*net.TCPConn)
	if !ok {
		return nil, nil, false
	}
	t, ok := to.(*net.TCPConn)
	return f, t, ok
}

const tcpClose = 7 // TCP_CLOSE

func tcpInfo(c net.Conn) *unix.TCPInfo {
	t, ok := bare(c).(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
	})
	if err != nil {
		return nil
	}
	return info
}

// gone reports whether the connection does not exist any more.
func gone(c net.Conn) bool {
	info := tcpInfo(c)
	return info != nil && info.State == tcpClose
}

// taken is how many bytes the peer of c has acknowledged so far, where that can be known.
func taken(c net.Conn) uint64 {
	info := tcpInfo(c)
	if info == nil {
		return 0
	}
	return info.Bytes_acked
}
