package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/agent/config"
	"argosy/agent/listen"
	"argosy/agent/relay"
	"argosy/internal/unixsocket"
)

// port is a listening socket. It outlives reloads that leave its address alone.
type port struct {
	key     portKey
	socket  *listen.Socket
	current atomic.Pointer[listener]
	running sync.WaitGroup

	left     bool           // another process has the socket
	stopLoop func()         // set when the event loop accepts
	rest     func(net.Conn) // takes what is queued then
}

type portKey struct {
	address string
	reuse   bool
	name    string // tells listeners apart that leave the port to the system
}

// listener is a port's configuration in one generation.
type listener struct {
	name   string
	config config.Listener
	router *listen.Router
	plain  bool   // nothing has to be read before it is known where a connection goes
	label  string // of its destination, in metrics and log
	port   *port
	state  *listenerState
	guard  *guard // of its clients; nil: they are not asked who they are
}

// listenerState is what a listener keeps over reloads.
type listenerState struct {
	metrics    *listenerMetrics
	limits     *listen.Limiter
	handshakes *handshakes
}

func keyOf(l config.Listener) portKey {
	key := portKey{address: l.Address, reuse: l.ReusePort}
	if strings.HasSuffix(l.Address, ":0") {
		key.name = l.Name
	}
	return key
}

// openPort listens for l, on a socket that another process has opened where inherited is not nil.
func openPort(ctx context.Context, l config.Listener, inherited *os.File, logger hclog.Logger) (*port, error) {
	options := listen.Options{
		Network: l.Network, Unix: unixsocket.Permission(l.Unix), ReusePort: l.ReusePort,
		Accepted: l.Socket, FastOpen: l.FastOpen, Logger: logger,
	}
	var socket *listen.Socket
	var err error
	if inherited != nil {
		socket, err = listen.FromFile(inherited, options)
		inherited.Close()
	} else {
		socket, err = listen.Open(ctx, l.Address, options)
	}
	if err != nil {
		return nil, err
	}
	return &port{key: keyOf(l), socket: socket}, nil
}

// tune gives an open socket the settings of a new configuration.
func (p *port) tune(l config.Listener) error {
	if err := p.socket.Tune(l.Socket, l.FastOpen); err != nil {
		return err
	}
	return p.socket.Permit(unixsocket.Permission(l.Unix))
}

// start begins to accept for a.
func (p *port) start(a *Agent) {
	if a.loop != nil {
		if err := p.startOnLoop(a); err == nil {
			return
		} else {
			a.logger.Warn("accepting on a goroutine", "address", p.socket.Addr().String(), "error", err)
		}
	}
	p.running.Go(func() {
		p.socket.Serve(func(c net.Conn) { a.accept(p.current.Load(), c) })
	})
}

func (p *port) startOnLoop(a *Agent) error {
	fd, err := p.socket.FD()
	if err != nil {
		return err
	}
	p.stopLoop, err = a.loop.Serve(fd, func(f *relay.Flow, from netip.AddrPort) { a.acceptOnLoop(p.current.Load(), f, from) })
	if err == nil {
		p.rest = func(c net.Conn) { a.accept(p.current.Load(), c) }
	}
	return err
}

// stop takes what is queued, closes the socket, and waits for the accepting to end.
func (p *port) stop() {
	if p.left {
		return
	}
	if p.stopLoop != nil {
		p.stopLoop()
		p.socket.Drain(p.rest)
	}
	p.socket.Stop()
	p.running.Wait()
}

// leave is stop where another process goes on with the socket, and with what is queued.
func (p *port) leave() {
	if p.stopLoop != nil {
		p.stopLoop()
	}
	p.socket.Leave()
	p.running.Wait()
	p.left = true
}

// timeouts are those of the listener, where the client block of the destination does not say otherwise.
func (l *listener) timeouts(c *clientRule) config.Timeouts {
	t := l.config.Timeouts
	over := c.config.Timeouts
	for _, o := range []struct {
		to   *time.Duration
		from *time.Duration
	}{{&t.FirstByte, over.FirstByte}, {&t.Idle, over.Idle}, {&t.HalfClose, over.HalfClose}, {&t.Lifetime, over.Lifetime}} {
		if o.from != nil {
			*o.to = *o.from
		}
	}
	return t
}

// shorten takes up to a share of d away, at random: what began together is not to end together.
func shorten(d time.Duration, share float64) time.Duration {
	return d - time.Duration(float64(d)*share*rand.Float64())
}
