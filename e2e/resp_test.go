//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/demo/resp"
	"argosy/e2e/stack"
)

// benchmark loads a Redis with commands until it is stopped: half of the clients keep their connections, half connect
// anew for every command. It is redis-benchmark where that is installed, else clients of our own. No command may fail.
type benchmark struct {
	stop func()
	wg   sync.WaitGroup

	mu       sync.Mutex
	commands int
	errs     []error
}

func startBenchmark(t *testing.T, s *stack.Stack, addr string) *benchmark {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &benchmark{stop: cancel}
	round := ownRound
	if path, err := exec.LookPath("redis-benchmark"); err == nil {
		round = func(ctx context.Context, addr string, keep bool, clients, n int) error {
			return redisBenchmark(ctx, s, path, addr, keep, clients, n)
		}
	}
	for _, keep := range []bool{true, false} {
		b.wg.Go(func() {
			const n = 2000
			for ctx.Err() == nil {
				// A round that has begun is finished, so that its end tells nothing but how it went.
				err := round(context.WithoutCancel(ctx), addr, keep, 10, n)
				b.mu.Lock()
				b.commands += n
				if err != nil {
					b.errs = append(b.errs, fmt.Errorf("keep=%v: %w", keep, err))
				}
				failed := len(b.errs) > 2
				b.mu.Unlock()
				if failed {
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); b.wg.Wait() })
	return b
}

// finish ends the load and returns how many commands there were, all of which must have been answered.
func (b *benchmark) finish(t *testing.T) int {
	t.Helper()
	b.stop()
	b.wg.Wait()
	if err := errors.Join(b.errs...); err != nil {
		t.Errorf("commands failed: %v", err)
	}
	return b.commands
}

// done is how many commands have been answered so far.
func (b *benchmark) done() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commands
}

// redisBenchmark ends with an error at the first connection that breaks and the first reply that is an error.
func redisBenchmark(ctx context.Context, s *stack.Stack, program, addr string, keep bool, clients, n int) error {
	host, port, _ := strings.Cut(addr, ":")
	alive := "0"
	if keep {
		alive = "1"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := s.Run(ctx, program, "-h", host, "-p", port, "-c", fmt.Sprint(clients), "-n", fmt.Sprint(n), "-k", alive,
		"-q", "SET", "key", "value")
	if err == nil && strings.Contains(out, "rror") {
		err = errors.New(out)
	}
	return err
}

// ownRound does the same with our own client.
func ownRound(ctx context.Context, addr string, keep bool, clients, n int) error {
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		wg.Go(func() { errs[i] = ownClient(ctx, addr, keep, n/clients) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func ownClient(ctx context.Context, addr string, keep bool, n int) error {
	var c *resp.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for range n {
		if c == nil {
			var err error
			if c, err = dialRedis(ctx, addr); err != nil {
				return err
			}
		}
		if _, _, err := c.Do(10*time.Second, "SET", "key", "value"); err != nil {
			return err
		}
		if !keep {
			c.Close()
			c = nil
		}
	}
	return nil
}

func dialRedis(ctx context.Context, addr string) (*resp.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return resp.NewConn(c), nil
}

// startRedis starts a Redis whose key "whoami" is its name, and puts it into Consul's catalog.
func startRedis(t *testing.T, s *stack.Stack, name string) *stack.Redis {
	t.Helper()
	r, err := s.StartRedis(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialRedis(t.Context(), r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.Do(patience, "SET", "whoami", name); err != nil {
		t.Fatal(err)
	}
	register(t, s, name, name, r.Addr, map[string]any{
		"Check": map[string]any{"TCP": r.Addr, "Interval": "1s", "Timeout": "1s", "Status": "passing"},
	})
	return r
}

// whichRedis asks on a new connection.
func whichRedis(ctx context.Context, addr string) (string, error) {
	c, err := dialRedis(ctx, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	name, _, err := c.Do(5*time.Second, "GET", "whoami")
	return name, err
}

// redisIs is nil when a new connection reaches the Redis of that name.
func redisIs(ctx context.Context, addr, name string) error {
	got, err := whichRedis(ctx, addr)
	if err == nil && got != name {
		err = fmt.Errorf("reached %q, not %q", got, name)
	}
	return err
}
