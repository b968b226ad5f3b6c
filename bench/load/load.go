//go:build linux

// Package load makes load for proxies, and has the servers behind them. What is measured in numbers per second runs on
// one thread with epoll, so that it costs little beside the proxy.
package load

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"
)

// Result is what a load came to. Elapsed is from its first connection to its last answer.
type Result struct {
	Count   int64 // requests, connections or handshakes that succeeded
	Bytes   int64 // received
	Errors  int64
	Elapsed time.Duration
	Err     error // the first one
}

// Rate is Count per second.
func (r Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Count) / r.Elapsed.Seconds()
}

// Dial opens a connection to what is measured, with its handshake. It may be called from any goroutine.
type Dial func(context.Context) (net.Conn, error)

// dialLimit is how long one connection may take to stand.
const dialLimit = 10 * time.Second

// Plain dials TCP.
func Plain(addr string) Dial {
	d := net.Dialer{Timeout: dialLimit, KeepAlive: -1}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

// TLS dials TLS; each connection has its handshake behind it.
func TLS(addr string, config *tls.Config) Dial {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialLimit, KeepAlive: -1}, Config: config}
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialLimit)
		defer cancel()
		return d.DialContext(ctx, "tcp", addr)
	}
}

// Percentile is the value below which a share of the sorted values lies, by the nearest rank; 0 of none.
func Percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// merge puts the values of all together, sorted.
func merge(all [][]time.Duration) []time.Duration {
	values := slices.Concat(all...)
	slices.Sort(values)
	return values
}
