//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Held are connections that do nothing. Its methods are for one goroutine.
type Held struct{ conns []net.Conn }

// openers is how many connections are made at a time.
const openers = 8

// Hold opens n connections to an echo server and has each carry a few bytes once, so that it leads through to the server.
func Hold(ctx context.Context, dial Dial, n int) (*Held, error) {
	h := &Held{conns: make([]net.Conn, n)}
	errs := make([]error, openers)
	var wg sync.WaitGroup
	for w := range openers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += openers {
				c, err := dial(ctx)
				if err == nil {
					h.conns[i] = c
					err = once(c)
				}
				if err != nil {
					errs[w] = fmt.Errorf("connection %d: %w", i, err)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Check has every connection carry bytes again.
func (h *Held) Check() error {
	for i, c := range h.conns {
		if err := once(c); err != nil {
			return fmt.Errorf("connection %d is lost: %w", i, err)
		}
	}
	return nil
}

// Close closes them.
func (h *Held) Close() {
	for _, c := range h.conns {
		if c != nil {
			c.Close()
		}
	}
}

func once(c net.Conn) error {
	const text = "are you there?\n"
	c.SetDeadline(time.Now().Add(dialLimit))
	defer c.SetDeadline(time.Time{})
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	var b [len(text)]byte
	_, err := io.ReadFull(c, b[:])
	return err
}

// Dials opens connections one after the other on several workers, uses each once and closes it.
func Dials(ctx context.Context, dial Dial, workers int, d time.Duration) Result {
	results := make([]Result, workers)
	began := time.Now()
	var wg sync.WaitGroup
	for w := range results {
		wg.Go(func() {
			r := &results[w]
			for time.Since(began) < d && ctx.Err() == nil && r.Errors < mostFailures {
				c, err := dial(ctx)
				if err == nil {
					err = once(c)
					c.Close()
				}
				if err != nil {
					r.Errors++
					r.Err = err
					continue
				}
				r.Count++
			}
		})
	}
	wg.Wait()
	total := Result{Elapsed: time.Since(began)}
	for _, r := range results {
		total.Count += r.Count
		total.Errors += r.Errors
		if r.Err != nil {
			total.Err = r.Err
		}
	}
	return total
}
