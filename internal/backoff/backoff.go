// Package backoff spaces out retries: exponentially, jittered, and bounded.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff yields the pauses between the attempts at one thing, with decorrelated jitter: each pause is drawn evenly
// between the shortest one and three times the one before, and never exceeds the longest. Clients that failed together
// so come back apart. It is used by one goroutine at a time.
type Backoff struct {
	min, max time.Duration
	previous time.Duration
	random   func() float64 // in [0, 1)
}

// New makes a backoff whose pauses lie between min and max. A min below 1 ms counts as 1 ms, a max below min as min.
func New(min, max time.Duration) *Backoff { return NewRand(min, max, rand.Float64) }

// NewRand is New with a source of random numbers in [0, 1).
func NewRand(min, max time.Duration, random func() float64) *Backoff {
	if min < time.Millisecond {
		min = time.Millisecond
	}
	if max < min {
		max = min
	}
	return &Backoff{min: min, max: max, random: random}
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	widest := 3 * b.previous // previous is at most max; no overflow for any pause below 97 years
	if widest < b.min {
		widest = 3 * b.min
	}
	pause := b.min + time.Duration(b.random()*float64(widest-b.min))
	if pause > b.max {
		pause = b.max
	}
	b.previous = pause
	return pause
}

// Reset starts over, after a success.
func (b *Backoff) Reset() { b.previous = 0 }

// Sleep waits for the next pause. It returns ctx's error as soon as ctx ends.
func (b *Backoff) Sleep(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d. It returns ctx's error as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
