package identity

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
)

// fromAgent gets certificate and roots from the HTTP API of Consul's agent, which makes the key and keeps a copy.
type fromAgent struct{ client *api.Client }

func (s fromAgent) follow(ctx context.Context, c *Connect) error {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context, *Connect){s.watchLeaf, s.renewLeaf, s.watchRoots} {
		wg.Go(func() { f(ctx, c) })
	}
	wg.Wait()
	return nil
}

// watchLeaf holds one blocking query open: Consul's agent renews a certificate only while somebody waits for it.
func (s fromAgent) watchLeaf(ctx context.Context, c *Connect) {
	report := c.reporter("leaf", func() bool { return c.leaf.Value() != nil })
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*leaf, *api.QueryMeta, error) {
		return s.askLeaf(c.service, q)
	}, func(l *leaf, _ *api.QueryMeta, err error) {
		report(err)
		if err == nil {
			c.setLeaf(l)
		}
	})
}

func (s fromAgent) askLeaf(service string, q *api.QueryOptions) (*leaf, *api.QueryMeta, error) {
	got, meta, err := s.client.Agent().ConnectCALeaf(service, q)
	var refused api.StatusError
	if errors.As(err, &refused) && refused.Code == http.StatusTooManyRequests {
		err = &busyError{err, busyPause + rand.N(busyPause)}
	}
	if err != nil {
		return nil, nil, err
	}
	l, err := parseLeaf([]byte(got.CertPEM), []byte(got.PrivateKeyPEM), service)
	return l, meta, err
}

// renewLeaf asks plainly when two thirds of the certificate's life are over, in case the blocking query sleeps.
func (s fromAgent) renewLeaf(ctx context.Context, c *Connect) {
	pause := backoff.New(5*time.Second, 5*time.Minute)
	for ctx.Err() == nil {
		l, superseded := c.leaf.Load()
		if l == nil {
			waitFor(ctx, superseded, -1)
			continue
		}
		if wait := l.at(renewAt).Sub(c.now()); wait > 0 {
			pause.Reset()
			waitFor(ctx, superseded, min(wait, clockEvery))
			continue
		}
		ask := func() (*leaf, error) {
			ctx, cancel := context.WithTimeout(ctx, signTimeout)
			defer cancel()
			l, _, err := s.askLeaf(c.service, (&api.QueryOptions{}).WithContext(ctx))
			return l, err
		}
		next, err := ask()
		if err == nil && !next.equal(l) {
			c.setLeaf(next)
			continue
		}
		waitFor(ctx, superseded, max(pause.Next(), blockq.RetryAfter(err)))
	}
}

func (s fromAgent) watchRoots(ctx context.Context, c *Connect) {
	report := c.reporter("roots", func() bool { return c.trust.Value() != nil })
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*trust, *api.QueryMeta, error) {
		list, meta, err := s.client.Agent().ConnectCARoots(q)
		if err != nil {
			return nil, nil, err
		}
		t, err := parseRoots(list)
		return t, meta, err
	}, func(t *trust, _ *api.QueryMeta, err error) {
		report(err)
		if err == nil {
			c.setTrust(t)
		}
	})
}
