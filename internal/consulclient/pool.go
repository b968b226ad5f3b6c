package consulclient

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// dial makes connections.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// dialer makes connections to a Unix socket if there is one, or else to the address that is asked for. The alarm counts
// them.
func dialer(socket string, a *alarm) dial {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if socket != "" {
			network, address = "unix", socket
		}
		c, err := d.DialContext(ctx, network, address)
		if err != nil || a == nil {
			return c, err
		}
		a.connections.Add(1)
		return &counted{Conn: c, gone: sync.OnceFunc(func() { a.connections.Add(-1) })}, nil
	}
}

// counted is a connection that says when it is closed.
type counted struct {
	net.Conn
	gone func()
}

// Close may be called more than once, as that of every connection.
func (c *counted) Close() error {
	c.gone()
	return c.Conn.Close()
}

// newPool makes a transport that holds on to a bounded number of connections.
func newPool(connect dial, secure *tlsMaker, connections int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           connect,
		DialTLSContext:        secure.dial(connect),
		TLSClientConfig:       secure.current().Clone(), // where there is a proxy before Consul
		TLSHandshakeTimeout:   tlsTimeout,
		MaxConnsPerHost:       connections,
		MaxIdleConnsPerHost:   maxIdle,
		MaxIdleConns:          maxIdle,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}
