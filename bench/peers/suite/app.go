package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The service greets those who connect, so that a client that was let in knows it without having said anything. Then it
// says every line again. To those who end their output after having asked for the rest it sends the rest, after a pause.
const (
	greeting  = "welcome\n"
	askRest   = "rest\n"
	restSize  = 256 << 10
	restPause = 300 * time.Millisecond
)

// app is the service behind a proxy. It counts.
type app struct {
	addr     string
	listener net.Listener
	tasks    sync.WaitGroup
	end      context.CancelFunc

	conns, bytes atomic.Int64
}

// startApp listens on a free port, or on a Unix socket where a path is given.
func startApp(path string) (*app, error) {
	network, addr := "tcp", "127.0.0.1:0"
	if path != "" {
		network, addr = "unix", path
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("start a service: %w", err)
	}
	return serveApp(l), nil
}

func serveApp(l net.Listener) *app {
	ctx, cancel := context.WithCancel(context.Background())
	a := &app{addr: l.Addr().String(), listener: l, end: cancel}
	a.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			a.conns.Add(1)
			a.tasks.Go(func() { a.serve(ctx, c) })
		}
	})
	return a
}

func (a *app) close() {
	a.end()
	a.listener.Close()
	a.tasks.Wait()
}

func (a *app) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write([]byte(greeting)); err != nil {
		return
	}
	rest := false
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		a.bytes.Add(int64(len(line)))
		if err != nil {
			break
		}
		rest = rest || line == askRest
		if _, err := c.Write([]byte(line)); err != nil {
			return
		}
	}
	if !rest {
		return
	}
	timer := time.NewTimer(restPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.Write([]byte(strings.Repeat("r", restSize)))
	case <-ctx.Done():
	}
}

// seen is what the service has seen so far.
type seen struct{ conns, bytes int64 }

func (a *app) seen() seen { return seen{a.conns.Load(), a.bytes.Load()} }

// since says what came after an earlier look.
func (s seen) since(before seen) string {
	switch {
	case s.bytes > before.bytes:
		return "bytes"
	case s.conns > before.conns:
		return "a connection"
	}
	return "nothing"
}
