//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Latencies are the times of requests to an echo server that are sent at a fixed rate, whatever becomes of the answers.
// Each time counts from the moment at which the request was due, so that one that had to wait behind a slow one is seen
// as slow, too. They are sorted.
func Latencies(ctx context.Context, dial Dial, connections, rate int, d time.Duration) ([]time.Duration, error) {
	const size = 100
	n := int(int64(rate) * int64(d) / int64(time.Second))
	lines := make([]line, connections)
	defer func() {
		for _, l := range lines {
			if l.conn != nil {
				l.conn.Close()
			}
		}
	}()
	for i := range lines {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		lines[i] = line{conn: c, due: make(chan time.Time, n/connections+1)}
		if err := once(c); err != nil {
			return nil, err
		}
		c.SetDeadline(time.Now().Add(d + dialLimit))
	}
	times := make([][]time.Duration, connections)
	errs := make([]error, connections+1)
	var wg sync.WaitGroup
	for i, l := range lines {
		wg.Go(func() { times[i], errs[i] = l.receive(size) })
	}
	errs[connections] = pace(ctx, lines, n, size, time.Second/time.Duration(rate))
	for _, l := range lines {
		close(l.due)
	}
	wg.Wait()
	return merge(times), errors.Join(errs...)
}

// line is a connection, and when what was sent over it was due.
type line struct {
	conn net.Conn
	due  chan time.Time
}

func (l line) receive(size int) (times []time.Duration, err error) {
	buffer := make([]byte, size)
	for due := range l.due {
		if err == nil {
			_, err = io.ReadFull(l.conn, buffer)
			times = append(times, time.Since(due))
		}
	}
	return times, err
}

// pace sends n requests, in turn over all lines. It sleeps in the kernel: the scheduler's timers may be a millisecond late.
func pace(ctx context.Context, lines []line, n, size int, every time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	request := make([]byte, size)
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * every)
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			if err := ctx.Err(); err != nil {
				return err
			}
			t := unix.NsecToTimespec(int64(wait))
			unix.Nanosleep(&t, nil)
		}
		l := lines[i%len(lines)]
		l.due <- due // there is room for all
		if _, err := l.conn.Write(request); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}
