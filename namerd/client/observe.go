package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"argosy/internal/backoff"
	"argosy/namerd/store"
)

const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 2 * time.Second
)

// Observe publishes the namespace now and at every change, until ctx ends; then it returns.
//
// A stream (?watch=true) tells that something has changed; what there is now is then read by a plain request, since the
// stream has no versions, and in Namerd 1.x no deletions. The plain request is also made after every refresh interval,
// which finds what a broken stream has missed. While namerd is in trouble the last good entry stays and Err says why.
func (c *Client) Observe(ctx context.Context, ns string, publish func(store.Observation)) {
	if err := store.CheckName(ns); err != nil {
		publish(store.Observation{Err: err})
		<-ctx.Done()
		return
	}
	changed := make(chan struct{}, 1)
	restart := make(chan struct{}, 1)
	recovered := make(chan struct{}, 1)
	var streaming sync.WaitGroup
	defer streaming.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streaming.Go(func() { c.follow(ctx, ns, changed, restart, recovered) })

	var last store.Observation
	pause := backoff.New(shortestPause, longestPause)
	first, asked := true, true
	for ctx.Err() == nil {
		o := c.observe(ctx, ns, last)
		if ctx.Err() != nil {
			return
		}
		if first || !o.Equal(last) {
			c.log(ns, o, last)
			publish(o)
			if !asked { // the stream should have told
				ring(restart)
			}
		}
		if last.Err != nil && o.Err == nil {
			ring(recovered)
		}
		first, last = false, o
		wait := c.refresh
		if o.Err != nil {
			wait = min(pause.Next(), c.refresh)
		} else {
			pause.Reset()
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
			asked = true
		case <-timer.C:
			asked = o.Err != nil // then the stream is likely to be broken as well, and knows
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// observe reads the namespace once.
func (c *Client) observe(ctx context.Context, ns string, last store.Observation) store.Observation {
	entry, err := c.Get(ctx, ns)
	switch {
	case err == nil:
		return store.Observation{Known: true, Exists: true, Entry: entry}
	case errors.Is(err, store.ErrMissing):
		return store.Observation{Known: true}
	}
	last.Err = err
	return last
}

func (c *Client) log(ns string, o, last store.Observation) {
	switch {
	case o.Err != nil:
		c.logger.Warn("no good table from namerd: what is known stays in use", "namespace", ns, "known", o.Known, "error", o.Err)
	case last.Err != nil:
		c.logger.Info("namerd gives a good table again", "namespace", ns)
	}
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// follow keeps a stream open and rings changed for everything that comes, and when a stream begins or ends: what was
// before it may have been missed. It does not wait with the next stream once a plain request has recovered.
func (c *Client) follow(ctx context.Context, ns string, changed chan<- struct{}, restart, recovered <-chan struct{}) {
	pause := backoff.New(shortestPause, longestPause)
	for ctx.Err() == nil {
		begun := time.Now()
		err := c.stream(ctx, ns, changed, restart)
		if ctx.Err() != nil {
			return
		}
		ring(changed) // whether namerd is in trouble as a whole, a plain request tells
		c.logger.Debug("stream of namerd ended", "namespace", ns, "after", time.Since(begun), "error", err)
		if time.Since(begun) > longestPause {
			pause.Reset()
		}
		// Also after a clean end: a server that ends every stream is not to be hammered.
		timer := time.NewTimer(pause.Next())
		select {
		case <-timer.C:
		case <-recovered:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (c *Client) stream(ctx context.Context, ns string, changed chan<- struct{}, restart <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-restart: // for an earlier stream
	default:
	}
	r, err := c.peer.Do(ctx, http.MethodGet, "dtabs/"+ns+"?watch=true&absent=true", map[string]string{"Accept": "application/json"}, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("the stream is refused: %s", r.Status)
	}
	ring(changed)

	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		select {
		case <-restart:
			cancel()
		case <-ctx.Done():
		}
	})
	documents := json.NewDecoder(r.Body)
	for {
		var document json.RawMessage
		if err := documents.Decode(&document); err != nil {
			return err
		}
		ring(changed)
	}
}
