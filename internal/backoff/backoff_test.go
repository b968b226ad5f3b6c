package backoff

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesStayInTheirBounds(t *testing.T) {
	const min, max = 10 * time.Millisecond, 5 * time.Second
	r := rand.New(rand.NewPCG(1, 2))
	b := NewRand(min, max, r.Float64)
	longest := time.Duration(0)
	for range 10_000 {
		previous := b.previous
		d := b.Next()
		if d < min || d > max {
			t.Fatalf("pause %v is not within %v and %v", d, min, max)
		}
		if previous > 0 && d > 3*previous {
			t.Fatalf("pause %v after %v", d, previous)
		}
		if d > longest {
			longest = d
		}
	}
	if longest != max {
		t.Errorf("the longest of many pauses is %v, not %v", longest, max)
	}
	b.Reset()
	if d := b.Next(); d >= 3*min {
		t.Errorf("first pause after a reset is %v", d)
	}
}

func TestPausesGrow(t *testing.T) {
	b := NewRand(time.Second, time.Minute, func() float64 { return 1 })
	var got []time.Duration
	for range 5 {
		got = append(got, b.Next())
	}
	want := []time.Duration{3, 9, 27, 60, 60}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Fatalf("got %v", got)
		}
	}
}

func TestSillyBoundsAreMended(t *testing.T) {
	for _, b := range []*Backoff{New(0, 0), New(-1, -1), New(time.Second, 0)} {
		if d := b.Next(); d < time.Millisecond || d > time.Second {
			t.Errorf("got %v", d)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewRand(time.Hour, time.Hour, rand.Float64)
		start := time.Now()
		if err := b.Sleep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Hour {
			t.Errorf("slept for %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if err := b.Sleep(ctx); err == nil {
			t.Error("no error from a sleep that was cut short")
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("slept for %v after the context had ended", d)
		}
		if b.Sleep(ctx) == nil {
			t.Error("slept with an ended context")
		}
	})
}
