// Package share lets any number of readers follow the same thing at the cost of one.
package share

import (
	"context"
	"sync"

	"argosy/internal/watch"
)

// Share follows things by key while somebody reads them. Its methods may be called from any goroutine.
type Share[T any] struct {
	stopping context.Context
	zero     T // before the first answer
	equal    func(a, b T) bool
	follow   func(ctx context.Context, key string, set func(T)) // sets the value now and at every change, until ctx ends

	mu      sync.Mutex
	live    map[string]*followed[T]
	running sync.WaitGroup
}

type followed[T any] struct {
	cell    *watch.Cell[T]
	readers int
	cancel  context.CancelFunc
}

// New makes a Share. follow sets the value of a key now and at every change, until its context ends, which is that of
// stopping or ends with the last reader; then it returns. Before it has set any the value is zero. Readers are not woken
// by a value that equals the one before.
func New[T any](stopping context.Context, zero T, equal func(a, b T) bool, follow func(context.Context, string, func(T))) *Share[T] {
	return &Share[T]{stopping: stopping, zero: zero, equal: equal, follow: follow, live: map[string]*followed[T]{}}
}

// Read returns the live value of key, and release, which is to be called once when it is not read any more.
func (s *Share[T]) Read(key string) (value watch.Reader[T], release func()) {
	return s.ReadBy(key, func(ctx context.Context, set func(T)) { s.follow(ctx, key, set) })
}

// ReadBy is Read where the key does not say all of what is to be followed: the first reader says how. A Share that is
// only read this way needs no follow of its own.
func (s *Share[T]) ReadBy(key string, follow func(ctx context.Context, set func(T))) (value watch.Reader[T], release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.live[key]
	if f == nil {
		f = &followed[T]{cell: watch.New(s.zero, s.equal)}
		s.live[key] = f
		if s.stopping.Err() == nil {
			var ctx context.Context
			ctx, f.cancel = context.WithCancel(s.stopping)
			s.running.Go(func() { follow(ctx, func(v T) { f.cell.Set(v) }) })
		}
	}
	f.readers++
	return f.cell, func() { s.release(key, f) }
}

func (s *Share[T]) release(key string, f *followed[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.readers--
	if f.readers > 0 {
		return
	}
	delete(s.live, key)
	if f.cancel != nil {
		f.cancel()
	}
}

// Wait returns when nothing is watched any more. The context that was handed in has to end first.
func (s *Share[T]) Wait() {
	s.mu.Lock() // whoever is just starting to watch has then finished starting
	running := &s.running
	s.mu.Unlock()
	running.Wait()
}
