package web

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"argosy/demo/resp"
)

// pool keeps connections to Redis. The one used last is given out first, so that there are about as many as are in use
// at the same time, and none gets older than the lifetime.
type pool struct {
	config  Config
	stats   *stats
	mu      sync.Mutex
	idle    []*conn // the one used last is last
	closed  bool
	limit   chan struct{}
	sweeper sync.WaitGroup
	stop    context.CancelFunc
}

// conn is a connection that knows which Redis answers at its other end.
type conn struct {
	*resp.Conn
	backend string
	used    bool // has answered since it was taken from the pool's idle ones or dialed
	expires time.Time
	idle    time.Time // since when
}

func newPool(c Config, s *stats) *pool {
	ctx, stop := context.WithCancel(context.Background())
	p := &pool{config: c, stats: s, limit: make(chan struct{}, c.MaxConns), stop: stop}
	p.sweeper.Go(func() { p.sweep(ctx) })
	return p
}

// get returns an idle connection, or dials. Not fresh: it may have died while it was idle.
func (p *pool) get(ctx context.Context, fresh bool) (*conn, error) {
	select {
	case p.limit <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for one of %d connections: %w", p.config.MaxConns, ctx.Err())
	}
	if !fresh {
		if c := p.takeIdle(); c != nil {
			return c, nil
		}
	}
	c, err := p.dial(ctx)
	if err != nil {
		<-p.limit
		return nil, err
	}
	return c, nil
}

func (p *pool) takeIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if now.Before(c.expires) {
			c.used = false
			return c
		}
		p.discard(c)
	}
	return nil
}

// dial connects and asks who answers. A dial that fails is tried again: nothing has been sent that could be done twice.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	var err error
	for try := range p.config.Dials {
		if try > 0 {
			p.stats.redialed()
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(time.Duration(try) * 10 * time.Millisecond):
			}
		}
		var c *conn
		if c, err = p.dialOnce(ctx); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (p *pool) dialOnce(ctx context.Context) (*conn, error) {
	r, backend, err := connect(ctx, p.config.Redis, p.config.TLS, p.config.DialTimeout)
	if err != nil {
		return nil, err
	}
	life := p.config.Lifetime + time.Duration(rand.Int64N(int64(p.config.Jitter)+1))
	p.stats.opened(backend)
	return &conn{Conn: r, backend: backend, used: true, expires: time.Now().Add(life)}, nil
}

// put gives a connection back; bad: it cannot be used again.
func (p *pool) put(c *conn, bad bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { <-p.limit }()
	now := time.Now()
	if bad || p.closed || !now.Before(c.expires) {
		p.discard(c)
		return
	}
	c.idle = now
	p.idle = append(p.idle, c)
}

func (p *pool) discard(c *conn) {
	c.Close()
	p.stats.closed(c.backend)
}

// sweep closes what has been idle for too long or has got too old.
func (p *pool) sweep(ctx context.Context) {
	t := time.NewTicker(max(p.config.Idle/10, 10*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.mu.Lock()
			keep := p.idle[:0]
			for _, c := range p.idle {
				if now.Sub(c.idle) > p.config.Idle || now.After(c.expires) {
					p.discard(c)
				} else {
					keep = append(keep, c)
				}
			}
			clear(p.idle[len(keep):])
			p.idle = keep
			p.mu.Unlock()
		}
	}
}

func (p *pool) close() {
	p.stop()
	p.sweeper.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		p.discard(c)
	}
	p.idle = nil
}
