package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// queue is those who wait, in the order in which they came.
type queue struct {
	first, last *waiter
	length      int
}

type waiter struct {
	source      netip.Addr
	why         Limit         // that is in the way
	admitted    chan struct{} // closed when it has a place
	queued      bool
	older, next *waiter
}

func (q *queue) push(w *waiter) {
	w.queued, w.older = true, q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.length++
}

func (q *queue) remove(w *waiter) {
	if w.older == nil {
		q.first = w.next
	} else {
		w.older.next = w.next
	}
	if w.next == nil {
		q.last = w.older
	} else {
		w.next.older = w.older
	}
	w.queued, w.older, w.next = false, nil, nil
	q.length--
}

// ErrGone means that a client has left while it waited.
var ErrGone = errors.New("the client left while it waited")

// Await waits for a place like Wait, for a connection of which nothing is read meanwhile: when its client leaves, that is
// noticed, with ErrGone as the error. A client that ends its output after its request has not left. c must have no read
// deadline, and has none afterwards.
func (l *Limiter) Await(ctx context.Context, c net.Conn, source netip.Addr) (why Limit, err error) {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return l.Wait(ctx, source)
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		if err := conn.Read(gone); err == nil {
			cancel(ErrGone)
		}
	}()
	why, err = l.Wait(ctx, source)
	c.SetReadDeadline(time.Unix(1, 0)) // ends the watching
	<-watching
	c.SetReadDeadline(time.Time{})
	return why, err
}
