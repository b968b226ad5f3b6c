package web

import (
	"context"
	"fmt"
	"net"
	"time"

	"argosy/demo/redisd"
	"argosy/demo/resp"
)

// connect opens a connection to Redis and asks who answers. t may be nil.
func connect(ctx context.Context, address string, t *TLS, timeout time.Duration) (c *resp.Conn, backend string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("connect to %s: %w", address, err)
	}
	if t != nil {
		secured := t.client(raw)
		if err := secured.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, "", fmt.Errorf("TLS to %s: %w", address, err)
		}
		raw = secured
	}
	c = resp.NewConn(raw)
	backend, ok, err := c.Do(timeout, "GET", redisd.Marker)
	if err != nil {
		c.Close()
		return nil, "", fmt.Errorf("first answer from %s: %w", address, err)
	}
	if !ok {
		backend = "unknown"
	}
	return c, backend, nil
}

// Open is a connection that was opened.
type Open struct {
	Backend string    // the name that the Redis has answered with
	Began   time.Time // when the dial began
	Arrived time.Time // when the Redis had answered
}

// Whoami opens a connection to Redis, which is closed again, and returns what it found there.
func Whoami(ctx context.Context, address string, t *TLS, timeout time.Duration) (Open, error) {
	began := time.Now()
	c, backend, err := connect(ctx, address, t, timeout)
	if err != nil {
		return Open{}, err
	}
	defer c.Close()
	return Open{Backend: backend, Began: began, Arrived: time.Now()}, nil
}
