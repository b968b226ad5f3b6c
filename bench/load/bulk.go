//go:build linux

package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Source sends as fast as a client takes it: the client says for how many nanoseconds, in 8 bytes.
type Source struct {
	Addr string // host:port

	listener net.Listener
	ended    sync.WaitGroup
}

// longestBulk bounds what a client may ask for.
const longestBulk = time.Minute

// NewSource listens on a free port of the loopback interface until Close.
func NewSource() (*Source, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Source{Addr: l.Addr().String(), listener: l}
	s.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.ended.Go(func() {
				defer c.Close()
				s.serve(c)
			})
		}
	})
	return s, nil
}

// Close waits for the streams to end.
func (s *Source) Close() {
	s.listener.Close()
	s.ended.Wait()
}

func (s *Source) serve(c net.Conn) {
	var ask [8]byte
	c.SetDeadline(time.Now().Add(longestBulk))
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return
	}
	d := time.Duration(min(binary.BigEndian.Uint64(ask[:]), uint64(longestBulk)))
	block := make([]byte, 256<<10)
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// Bulk reads several streams from a Source for so long. All bytes that were sent must have arrived.
func Bulk(ctx context.Context, dial Dial, streams int, d time.Duration) Result {
	results := make([]Result, streams)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i].Bytes, results[i].Err = stream(ctx, dial, d) })
	}
	wg.Wait()
	total := Result{Elapsed: time.Since(began)}
	for _, r := range results {
		total.Bytes += r.Bytes
		if r.Err != nil {
			total.Errors++
			total.Err = r.Err
			continue
		}
		total.Count++
	}
	return total
}

func stream(ctx context.Context, dial Dial, d time.Duration) (int64, error) {
	c, err := dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(d + dialLimit))
	var ask [8]byte
	binary.BigEndian.PutUint64(ask[:], uint64(d))
	if _, err := c.Write(ask[:]); err != nil {
		return 0, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		return discard(t)
	}
	var total int64
	buffer := make([]byte, 256<<10)
	for {
		n, err := c.Read(buffer)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// discard takes bytes from the socket without copying them, for the client is not to be what limits.
func discard(c *net.TCPConn) (total int64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	buffer := make([]byte, 1<<20)
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		for {
			// MSG_TRUNC has TCP throw the bytes away.
			n, _, err := syscall.Recvfrom(int(fd), buffer, syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err == syscall.EINTR:
			case err != nil:
				failure = err
				return true
			case n == 0:
				return true
			default:
				total += int64(n)
			}
		}
	})
	if err == nil {
		err = failure
	}
	return total, err
}
