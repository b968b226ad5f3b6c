//go:build servers

package e2e

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// wire is a TCP proxy before Consul that can be bad in the ways of a network. It starts good.
type wire struct {
	Addr string // host:port

	target string
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	state    wireState
	changed  chan struct{} // closed when state changes
	over     bool
}

// wireState is what becomes of what is sent.
type wireState string

const (
	passes  wireState = "passes"
	refuses wireState = "refuses connections"             // and those that there are are reset
	swallow wireState = "accepts and never answers"       // also where connected already; what was sent comes later
	resets  wireState = "resets in the middle of answers" // after the first bytes of each
)

func startWire(t *testing.T, addr, target string) *wire {
	t.Helper()
	w := &wire{Addr: addr, target: target, conns: map[net.Conn]bool{}, changed: make(chan struct{}), state: passes}
	if err := w.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.become(t, refuses)
		w.mu.Lock()
		w.over = true
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

func (w *wire) listen() error {
	l, err := net.Listen("tcp4", w.Addr)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.listener = l
	w.mu.Unlock()
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c) })
		}
	})
	return nil
}

// become changes the wire's state.
func (w *wire) become(t *testing.T, state wireState) {
	t.Helper()
	w.mu.Lock()
	was := w.state
	w.state = state
	close(w.changed)
	w.changed = make(chan struct{})
	if state == refuses {
		w.listener.Close()
		for c := range w.conns {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
	w.mu.Unlock()
	if was == refuses && state != refuses {
		if err := w.listen(); err != nil {
			t.Error(err)
		}
	}
}

// now returns the state, and a channel that is closed when it changes.
func (w *wire) now() (wireState, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.changed
}

// keep notes a connection, unless the wire refuses them.
func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != refuses {
		w.conns[c] = true
	}
	return w.state != refuses
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	delete(w.conns, c)
	w.mu.Unlock()
	c.Close()
}

func (w *wire) carry(client net.Conn) {
	defer w.drop(client)
	if !w.keep(client) || w.await() != nil {
		return
	}
	server, err := net.DialTimeout("tcp4", w.target, 5*time.Second)
	if err != nil {
		return
	}
	defer w.drop(server)
	if !w.keep(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { w.pump(server, client, false) })
	both.Go(func() { w.pump(client, server, true) })
	both.Wait()
}

var errRefuses = errors.New("the wire refuses")

// await returns when the wire does not swallow.
func (w *wire) await() error {
	for {
		state, changed := w.now()
		switch state {
		case swallow:
			<-changed
		case refuses:
			return errRefuses
		default:
			return nil
		}
	}
}

// pump moves bytes one way; at the end of either way both ends are closed.
func (w *wire) pump(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if w.await() != nil {
			return
		}
		if state, _ := w.now(); state == resets && answers && n > 0 {
			to.Write(b[:min(n, 100)])
			to.(*net.TCPConn).SetLinger(0)
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
