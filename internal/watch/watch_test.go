package watch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

func TestSetWakesReadersOfTheOldValueOnly(t *testing.T) {
	c := New(1, func(a, b int) bool { return a == b })
	v, superseded := c.Load()
	if v != 1 {
		t.Fatalf("got %d, want 1", v)
	}
	if c.Set(1) {
		t.Error("an equal value counted as a change")
	}
	select {
	case <-superseded:
		t.Fatal("an equal value woke a reader")
	default:
	}
	if !c.Set(2) {
		t.Error("a new value did not count as a change")
	}
	<-superseded
	if v, next := c.Load(); v != 2 {
		t.Errorf("woken before the value was there: got %d", v)
	} else {
		select {
		case <-next:
			t.Error("the new generation is superseded already")
		default:
		}
	}
}

// A reader that is woken must find a newer value than the one it had, or it spins.
func TestWokenReaderSeesProgress(t *testing.T) {
	c := New(0, nil)
	const n = 10_000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			wakes, last := 0, -1
			for last != n {
				v, superseded := c.Load()
				if v <= last {
					t.Errorf("woken with %d after %d", v, last)
					return
				}
				last = v
				wakes++
				if v != n {
					<-superseded
				}
			}
			if wakes > n+1 {
				t.Errorf("woken %d times for %d changes", wakes, n)
			}
		})
	}
	for i := 1; i <= n; i++ {
		c.Set(i)
	}
	wg.Wait()
}

func TestUpdateIsAtomic(t *testing.T) {
	c := New(0, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Update(func(v int) int { return v + 1 })
			}
		})
	}
	wg.Wait()
	if v := c.Value(); v != 8000 {
		t.Errorf("got %d, want 8000", v)
	}
}

func TestValuesCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := New(0, nil)
		var got []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for v := range Values(ctx, c) {
				got = append(got, v)
			}
		}()
		synctest.Wait()
		c.Set(1)
		synctest.Wait()
		c.Set(2)
		synctest.Wait()
		cancel()
		<-done
		if want := []int{0, 1, 2}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestSetWaitsForAnyOfWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, unread := New(1, nil), New(2, nil), New(3, nil)
		var s Set
		if sum := Read(&s, Reader[int](a)) + Read(&s, Reader[int](b)) + Read(&s, Fixed(10)); sum != 13 {
			t.Fatalf("got %d", sum)
		}
		done := make(chan error)
		go func() { done <- s.Wait(t.Context()) }()
		unread.Set(4)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("woken by a cell that was not read")
		default:
		}
		b.Set(5)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Reset()
		if s.Wait(ctx) == nil {
			t.Error("an empty set did not wait for its context")
		}
	})
}
