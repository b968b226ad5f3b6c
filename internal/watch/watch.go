// Package watch holds live values as snapshots.
//
// A Cell keeps the newest value of something that changes. Readers load it without a lock, together with a channel
// that is closed once a newer value is there, so any number of them can wait without having to unsubscribe:
//
//	for {
//		v, superseded := cell.Load()
//		use(v)
//		select {
//		case <-superseded:
//		case <-ctx.Done():
//			return
//		}
//	}
//
// Values must not be changed once they have been set. What derives from several cells reads them through a Set and is
// simply run again when Set.Wait returns.
package watch

import (
	"context"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
)

// Reader is the reading side of a live value. Load may be called from any goroutine and never blocks.
type Reader[T any] interface {
	// Load returns the newest value and a channel that is closed when a newer one exists.
	Load() (value T, superseded <-chan struct{})
}

type generation[T any] struct {
	value      T
	superseded chan struct{}
}

// Cell is a live value with any number of readers and writers.
type Cell[T any] struct {
	current atomic.Pointer[generation[T]]
	writing sync.Mutex
	equal   func(a, b T) bool
}

// New makes a cell that holds v. Setting a value that equal calls the same as the one held wakes nobody; a nil equal
// means that every Set is a change.
func New[T any](v T, equal func(a, b T) bool) *Cell[T] {
	c := &Cell[T]{equal: equal}
	c.current.Store(&generation[T]{value: v, superseded: make(chan struct{})})
	return c
}

// Load returns the newest value and a channel that is closed when a newer one exists.
func (c *Cell[T]) Load() (T, <-chan struct{}) {
	g := c.current.Load()
	return g.value, g.superseded
}

// Value returns the newest value.
func (c *Cell[T]) Value() T { return c.current.Load().value }

// Set publishes v and then wakes the readers of the value before it. It reports whether v was a change.
func (c *Cell[T]) Set(v T) bool {
	return c.Update(func(T) T { return v })
}

// Update publishes what f makes of the newest value, with no other writer in between. f must not use the cell.
func (c *Cell[T]) Update(f func(T) T) bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	old := c.current.Load()
	v := f(old.value)
	if c.equal != nil && c.equal(old.value, v) {
		return false
	}
	c.current.Store(&generation[T]{value: v, superseded: make(chan struct{})})
	close(old.superseded)
	return true
}

// Fixed is a live value that never changes.
func Fixed[T any](v T) Reader[T] { return fixed[T]{v} }

type fixed[T any] struct{ value T }

func (f fixed[T]) Load() (T, <-chan struct{}) { return f.value, nil }

// Values yields the value of r now and after every change, until ctx ends. A slow consumer misses what came and went
// while it was busy, and always gets the newest.
func Values[T any](ctx context.Context, r Reader[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for ctx.Err() == nil {
			v, superseded := r.Load()
			if !yield(v) {
				return
			}
			select {
			case <-superseded:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Set collects what one evaluation has read. It is used by one goroutine at a time.
type Set struct{ superseded []<-chan struct{} }

// Read loads r and records it in s.
func Read[T any](s *Set, r Reader[T]) T {
	v, superseded := r.Load()
	if superseded != nil {
		s.superseded = append(s.superseded, superseded)
	}
	return v
}

// Reset forgets what has been read, for the next evaluation.
func (s *Set) Reset() { s.superseded = s.superseded[:0] }

// Wait returns nil as soon as anything that was read has changed, and ctx's error when ctx ends first. A set that has
// read nothing, or only fixed values, waits for ctx.
func (s *Set) Wait(ctx context.Context) error {
	cases := make([]reflect.SelectCase, 0, len(s.superseded)+1)
	cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())})
	for _, c := range s.superseded {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	if chosen, _, _ := reflect.Select(cases); chosen == 0 {
		return ctx.Err()
	}
	return nil
}
