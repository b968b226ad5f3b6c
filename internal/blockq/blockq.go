// Package blockq runs Consul's blocking queries: one request at a time that Consul holds back until its answer
// changes, repeated for ever. It knows what can go wrong with the index that ties one request to the next
// (https://developer.hashicorp.com/consul/api-docs/features/blocking) and what a Consul in trouble answers.
package blockq

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/time/rate"

	"argosy/internal/backoff"
)

// Query asks Consul once. It must pass q on as it is, with more set if need be: q carries the context, the index and
// the wait. The metadata may be nil only with an error.
type Query[T any] func(q *api.QueryOptions) (T, *api.QueryMeta, error)

// Options tune a loop. The zero value is what nearly everybody wants.
type Options struct {
	// Wait is how long Consul may hold a request back; 60s unless set. It bounds for how long a loop can be stuck on
	// an index from a Consul that has since lost its data.
	Wait time.Duration
	// Timeout is for requests that do not block, and what a blocking one may take beyond Wait; 15s unless set.
	Timeout time.Duration
	// Backoff spaces out the attempts after errors; 100ms to 2s unless set: what has healed is to be known soon.
	Backoff *backoff.Backoff
	// Rate bounds the requests per second of this loop, so that something that changes all the time cannot keep it
	// spinning; 5 unless set. Burst is 3 unless set.
	Rate  float64
	Burst int
	// Turn, unless nil, is asked before every request, and returns when it is this loop's turn; an error ends the loop.
	// It is told whether the request can block. So very many loops can share few connections.
	Turn func(ctx context.Context, blockable bool) (Turn, error)
}

// Turn is leave to make one request.
type Turn struct {
	Wait time.Duration // how long Consul may hold the request back; 0: it is to be a plain one
	Done func()        // called once it has been answered; may be nil
}

func (o Options) turn(ctx context.Context, blockable bool) (Turn, error) {
	if o.Turn == nil {
		return Turn{Wait: o.Wait}, nil
	}
	return o.Turn(ctx, blockable)
}

func (o Options) withDefaults() Options {
	if o.Wait <= 0 {
		o.Wait = time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Backoff == nil {
		o.Backoff = backoff.New(100*time.Millisecond, 2*time.Second)
	}
	if o.Rate <= 0 {
		o.Rate = 5
	}
	if o.Burst <= 0 {
		o.Burst = 3
	}
	return o
}

// Run asks again and again until ctx ends, and calls handle with every answer and every error, one at a time. Answers
// may repeat: it is for handle to see whether one differs from the one before.
//
// An answer without an index counts as index 1. An index that went backwards means that Consul was restarted, restored
// or has no leader, and then the body is not to be trusted (a leaderless Consul answers a blocked health query with an
// empty list and index 1): it is dropped and asked for plainly. After an error the next request is a plain one, too.
func Run[T any](ctx context.Context, o Options, query Query[T], handle func(T, *api.QueryMeta, error)) {
	o = o.withDefaults()
	limiter := rate.NewLimiter(rate.Limit(o.Rate), o.Burst)
	var index uint64
	for {
		if limiter.Wait(ctx) != nil {
			return
		}
		turn, err := o.turn(ctx, index > 0)
		if err != nil {
			return
		}
		after := index
		if turn.Wait <= 0 {
			after = 0
		}
		answer, meta, err := ask(ctx, o.Timeout, turn.Wait, query, after)
		if turn.Done != nil {
			turn.Done()
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil && meta == nil {
			err = errors.New("answer without metadata")
		}
		if err != nil {
			index = 0
			var none T
			handle(none, nil, err)
			if backoff.Sleep(ctx, max(o.Backoff.Next(), RetryAfter(err))) != nil {
				return
			}
			continue
		}
		next := max(meta.LastIndex, 1)
		if next < after {
			index = 0
			continue
		}
		index = next
		o.Backoff.Reset()
		handle(answer, meta, nil)
	}
}

// ask does one request under a deadline of its own: a peer that is gone without a trace must not hold the loop up.
func ask[T any](ctx context.Context, limit, wait time.Duration, query Query[T], index uint64) (T, *api.QueryMeta, error) {
	q := &api.QueryOptions{}
	if index > 0 {
		q.WaitIndex, q.WaitTime = index, wait
		limit += wait + wait/16 // Consul adds up to a sixteenth of jitter
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return query(q.WithContext(ctx))
}

const (
	longestRetryAfter = 2 * time.Minute // what a server can make us wait
	busyPause         = 3 * time.Second // for one that has too much to do and does not say for how long
)

// RetryAfter returns for how long the server asked to be left alone, if it did, within reason. Consul answers 429 without saying so where
// one address has too many connections, and where its requests are limited.
func RetryAfter(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		return min(asked.RetryAfter(), longestRetryAfter)
	}
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusTooManyRequests {
		return busyPause
	}
	return 0
}
