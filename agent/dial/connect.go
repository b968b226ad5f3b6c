package dial

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"argosy/agent/balance"
	"argosy/agent/outcome"
)

// Attempt is one endpoint that was tried.
type Attempt struct {
	Lease *balance.Lease
	Took  time.Duration
	Err   error // nil for the one that answered
}

// fairChance is how long an endpoint must have had to answer before it is blamed that a connection's time has run out.
// A client that is slow with its TLS handshake uses up the same time.
const fairChance = 100 * time.Millisecond

// Connect picks an endpoint and connects it, and another one when that fails: as often as the policy of the endpoint
// that failed first allows, and never the same one twice. A server that refuses us is not tried elsewhere, for the
// refusal is the same there. note, where not nil, gets every attempt.
//
// An error of pick for the first endpoint is returned as it is; when there is no other endpoint left, the error is that
// of the last attempt. The lease is the caller's to end.
func Connect(
	ctx context.Context,
	pick func(tried func(addr string) bool) (*balance.Lease, error),
	policyOf func(*balance.Lease) *Policy,
	note func(Attempt),
) (net.Conn, *balance.Lease, error) {
	var failed []string
	var last error
	retries := 0
	tried := func(addr string) bool {
		for _, f := range failed {
			if f == addr {
				return true
			}
		}
		return false
	}
	for {
		lease, err := pick(tried)
		if err != nil {
			if last != nil {
				return nil, nil, last
			}
			return nil, nil, err
		}
		policy := policyOf(lease)
		if len(failed) == 0 {
			retries = policy.Retries
		}
		began := time.Now()
		conn, err := policy.Dial(ctx, lease.Endpoint)
		took := time.Since(began)
		if note != nil {
			note(Attempt{Lease: lease, Took: took, Err: err})
		}
		if err == nil {
			lease.Connected()
			return conn, lease, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) || Blameless(ctx.Err() != nil, took, err) {
			lease.Done()
		} else {
			lease.Fail()
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, nil, err
		}
		last = err
		failed = append(failed, lease.Endpoint.Addr)
		if ctx.Err() != nil || len(failed) > retries || outcome.Of(err, outcome.Dial) == outcome.Denied {
			return nil, nil, last
		}
	}
}

// Blameless reports whether a failed attempt says nothing about its endpoint. late says that the connection's time had run
// out, took is how long the endpoint had.
func Blameless(late bool, took time.Duration, err error) bool {
	return late && took < fairChance ||
		errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) // ours are used up
}
