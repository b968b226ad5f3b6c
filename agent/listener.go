package agent

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"argosy/agent/config"
	"argosy/agent/listen"
)

// port is a listening socket. It outlives reloads that leave its address alone.
type port struct {
	key     portKey
	socket  *listen.Socket
	current atomic.Pointer[listener]
	running sync.WaitGroup
}

type portKey struct {
	address string
	reuse   bool
	name    string // tells listeners apart that leave the port to the system
}

// listener is a port's configuration in one generation.
type listener struct {
	name      string
	config    config.Listener
	router    *listen.Router
	wireLabel string
	port      *port
	state     *listenerState
}

// listenerState is what a listener keeps over reloads.
type listenerState struct {
	metrics *listenerMetrics
	gate    *listen.Gate
}

func keyOf(l config.Listener) portKey {
	key := portKey{address: l.Address, reuse: l.ReusePort}
	if strings.HasSuffix(l.Address, ":0") {
		key.name = l.Name
	}
	return key
}

func openPort(ctx context.Context, l config.Listener, logger hclog.Logger) (*port, error) {
	socket, err := listen.Open(ctx, l.Address, listen.Options{ReusePort: l.ReusePort, Logger: logger})
	if err != nil {
		return nil, err
	}
	return &port{key: keyOf(l), socket: socket}, nil
}

// start begins to accept for a.
func (p *port) start(a *Agent) {
	p.running.Go(func() {
		p.socket.Serve(func(c *net.TCPConn) { a.accept(p.current.Load(), c) })
	})
}

// stop takes what is queued, closes the socket, and waits for the accepting to end.
func (p *port) stop() {
	p.socket.Stop()
	p.running.Wait()
}
