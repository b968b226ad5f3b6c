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
	// OverBudget says that another endpoint would have been tried after this one, had the budget for retries allowed it.
	OverBudget bool
}

// fairChance is how long an endpoint must have had to answer before it is blamed that a connection's time has run out.
// A client that is slow with its TLS handshake uses up the same time.
const fairChance = 100 * time.Millisecond

// Connect picks an endpoint and connects it, and another one when that fails: as often as the policy of the endpoint
// that failed first allows, and never the same one twice. A server that refuses us is not tried elsewhere, for the
// refusal is the same there. note, where not nil, gets every attempt.
//
// A retry also needs room in the budget of r, which counts new connections elsewhere; without, the connection ends with the error that it has.
//
// An error of pick for the first endpoint is returned as it is; when there is no other endpoint left, the error is that
// of the last attempt. The lease is the caller's to end.
func Connect(
	ctx context.Context,
	r Request,
	pick func(tried func(addr string) bool) (*balance.Lease, error),
	policyOf func(*balance.Lease) *Policy,
	note func(Attempt),
) (net.Conn, *balance.Lease, error) {
	var failed []string
	var last error
	retries, share := 0, 0.0
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
			retries, share = policy.Retries, policy.RetryShare
		}
		began := time.Now()
		conn, err := policy.Dial(ctx, r, lease.Endpoint)
		attempt := Attempt{Lease: lease, Took: time.Since(began), Err: err}
		failed = append(failed, lease.Endpoint.Addr)
		last = err
		again := err != nil && ctx.Err() == nil && len(failed) <= retries && outcome.Of(err, outcome.Dial) != outcome.Denied
		if again && !r.Budget.Retry(time.Now(), share) {
			again, attempt.OverBudget = false, true
		}
		if note != nil {
			note(attempt)
		}
		switch {
		case err == nil:
			lease.Connected()
			return conn, lease, nil
		case errors.Is(ctx.Err(), context.Canceled), Blameless(ctx.Err() != nil, attempt.Took, err),
			outcome.Of(err, outcome.Dial) == outcome.Denied: // who refuses us is well
			lease.Done()
		default:
			lease.Fail()
		}
		if !again {
			return nil, nil, last
		}
	}
}

// Blameless reports whether a failed attempt says nothing about its endpoint. late says that the connection's time had run
// out, took is how long the endpoint had.
func Blameless(late bool, took time.Duration, err error) bool {
	return late && took < fairChance ||
		errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || // ours are used up
		errors.Is(err, errOurs)
}
